import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import LastFM

INTERACTS, BEFRIENDS = ("user", "interacts", "item"), ("user", "befriends", "user")
FILES = {
    "data1.txt": "4\t10\t3\r\n2\t10\t3.2466e+05\r\n4\t10\t7\r\n",
    "test1.txt": "4\t10\t9\r\n2\t12\t1\r\n7\t10\t2\r\n",
    "trustnetwork.txt": "2\t4\r\n4\t2\r\n2\t9\r\n9\t9\r\n2\t4\r\n",
}


def test_small_files(raw_root):
    dataset = LastFM(raw_root(FILES))
    data = dataset[0]
    assert data["user"].raw_id.tolist() == [2, 4, 7, 9]
    assert data["item"].raw_id.tolist() == [10, 12]
    store = data[INTERACTS]
    assert store.edge_index.t().tolist() == [[1, 0], [0, 0], [0, 1], [2, 0]]
    assert store.rating.tolist() == [3, 324_660, 1, 2]
    assert store.split.tolist() == [0, 0, 2, 2]
    assert (store.rating.dtype, store.split.dtype) == (torch.float32, torch.int8)
    assert data[BEFRIENDS].edge_index.t().tolist() == [[0, 1], [1, 0], [0, 3]]
    assert dataset.report == {
        "layout": "split",
        "rows_read": 6,
        "duplicates_dropped": 1,
        "test_pairs_in_training_dropped": 1,
        "users_without_training": 1,
        "items_without_training": 1,
        "friend_rows_read": 5,
        "friend_self_loops_dropped": 1,
        "friend_duplicates_dropped": 1,
        "users_without_interactions": 1,
    }
    assert data.validate()


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"data1.txt": "4\t10\n"}, r"data1.txt' needs the columns user, item, count \(got 2 col"),
        ({"data1.txt": ""}, "data1.txt' is empty"),
        ({"test1.txt": "4\t10\t3\n0\t10\t3\n"}, "test1.txt', line 2: 'user' needs to be"),
        ({"data1.txt": "4\tnan\t3\n"}, "line 1: 'item' needs to be an integer >= 1"),
        ({"data1.txt": "4\t10\t-3\n"}, "line 1: 'count' needs to be a number >= 0"),
        ({"data1.txt": "4\t10\t3\n4\t11"}, r"line 2: 'count' needs to be .* \(got ''\)"),
        ({"trustnetwork.txt": "4\t-2\n"}, "trustnetwork.txt', line 1: 'friend' needs to be"),
        ({"trustnetwork.txt": ""}, "trustnetwork.txt' is empty"),
    ],
)
def test_bad_files(raw_root, changed, match):
    root = raw_root({**FILES, **changed})
    with pytest.raises(InputError, match=match) as info:
        LastFM(root)
    assert "\n" not in str(info.value)
    assert not (root / "processed").exists()


def test_real_files(real_root):
    dataset = LastFM(real_root("lastfm"))
    assert dataset.known
    data = dataset[0]
    assert [data["user"].num_nodes, data["item"].num_nodes] == [1_892, 4_489]
    store = data[INTERACTS]
    assert torch.bincount(store.split.long()).tolist() == [42_135, 0, 10_533]
    assert len(store.edge_index[0].unique()) == 1_880
    assert int(store.rating.max()) == 324_660
    friends = data[BEFRIENDS].edge_index
    assert friends.size(1) == 25_434
    assert len(friends.unique()) == 1_892
    pairs = set(map(tuple, friends.t().tolist()))
    assert pairs == {(dst, src) for src, dst in pairs}
    expected = {
        "duplicates_dropped": 0,
        "test_pairs_in_training_dropped": 0,
        "users_without_training": 2,
        "items_without_training": 13,
        "friend_self_loops_dropped": 0,
        "friend_duplicates_dropped": 0,
        "users_without_interactions": 12,
    }
    assert expected.items() <= dataset.report.items()
