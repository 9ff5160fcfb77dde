import time

import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Epinions
from pyg_mtrec.datasets._raw_ids import decode, lookup

INTERACTS, TRUSTS, IN = (
    ("user", "interacts", "item"),
    ("user", "trusts", "user"),
    ("item", "in", "category"),
)
NAMES = "1 Books\r\n2 Home and Garden\r\n4 Games"
RATING = [[1, 1, 1, 5], [1, 3, 2, 4], [1, 1, 4, 2], [7, 3, 2, 1], [7, 3, 2, 1], [7, 1, 1, 3]]
TRUST = [[7, 1], [1, 9], [7, 1], [9, 9], [1, 7]]


def files(rating=RATING, trust=TRUST, names=NAMES):
    return {
        "rating.mat": np.array(rating, dtype=np.int32),
        "trustnetwork.mat": np.array(trust, dtype=np.uint16),
        "category.txt": names,
    }


def test_small_files(raw_root):
    dataset = Epinions(raw_root(files()))
    data = dataset[0]
    assert data["user"].raw_id.tolist() == [1, 7, 9]
    assert data["item"].raw_id.tolist() == [1, 3]
    assert data["category"].raw_id.tolist() == [1, 2, 4]
    assert [data[name].num_nodes for name in ("user", "item", "category")] == [3, 2, 3]
    store = data[INTERACTS]
    assert store.edge_index.t().tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]
    assert store.rating.tolist() == [5, 4, 1, 3]  # the first row of a pair is kept
    assert (store.edge_index.dtype, store.rating.dtype) == (torch.int64, torch.float32)
    assert data[TRUSTS].edge_index.t().tolist() == [[1, 0], [0, 2], [0, 1]]
    assert data[IN].edge_index.t().tolist() == [[0, 0], [1, 1], [0, 2]]
    assert decode(data, "category", torch.tensor([0, 1, 2])) == [
        "Books",
        "Home and Garden",
        "Games",
    ]
    assert lookup(data, "category", "Games") == 2
    assert dataset.report == {
        "layout": "mat",
        "rows_read": 6,
        "duplicates_dropped": 2,
        "trust_rows_read": 5,
        "trust_self_loops_dropped": 1,
        "trust_duplicates_dropped": 1,
        "users_without_interactions": 1,
        "items_with_several_categories": 1,
        "ratings_of_zero": 0,
    }
    assert not dataset.known
    assert data.validate()


rows = st.lists(
    st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5)),
    min_size=1,
    max_size=20,
)
trust_rows = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 7)), min_size=1, max_size=20)


@given(rows, trust_rows)
def test_any_rows_equal_a_loop(tmp_path_factory, rating, trust):
    raw = tmp_path_factory.mktemp("epinions") / "raw"
    raw.mkdir()
    scipy.io.savemat(raw / "rating.mat", {"rating": rating})
    scipy.io.savemat(raw / "trustnetwork.mat", {"trustnetwork": np.array(trust, dtype=np.uint16)})
    (raw / "category.txt").write_text("1 a\n2 b\n3 c\n")
    data = Epinions(raw.parent)[0]
    first = {}
    for user, item, _, value in rating:
        first.setdefault((user, item), value)
    src, dst = data[INTERACTS].edge_index
    found = zip(data["user"].raw_id[src].tolist(), data["item"].raw_id[dst].tolist(), strict=True)
    assert dict(zip(found, data[INTERACTS].rating.tolist(), strict=True)) == first
    src, dst = data["user"].raw_id[data[TRUSTS].edge_index].tolist()
    expected = list(dict.fromkeys(pair for pair in trust if pair[0] != pair[1]))
    assert list(zip(src, dst, strict=True)) == expected
    users = {user for user, *_ in rating} | {user for pair in trust for user in pair}
    assert data["user"].raw_id.tolist() == sorted(users)
    assert data[IN].edge_index.size(1) == len({row[1:3] for row in rating})


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"rating": [[1, 1, 1]]}, r"needs the 4 columns user, item, category, rating \(got 3\)"),
        ({"rating": [[1, 1, 1, 5], [0, 1, 1, 5]]}, "rating.mat', row 2: 'user' needs to be"),
        ({"rating": [[1, -3, 1, 5]]}, "rating.mat', row 1: 'item' needs to be"),
        ({"rating": [[1, 1, 1, 5], [1, 2, 1, 0]]}, r"row 2: 'rating' needs to lie in 1..5 .got 0"),
        ({"rating": [[1, 1, 1, 6]]}, r"row 1: 'rating' needs to lie in 1..5 \(got 6\)"),
        ({"rating": np.zeros((0, 4))}, "'rating' in .* has no rows"),
        ({"trust": [[1, 0]]}, "trustnetwork.mat', row 1: 'trustee' needs to be"),
        ({"trust": [[1, 2, 3]]}, "needs the 2 columns truster, trustee"),
        ({"trust": np.zeros((0, 2))}, "'trustnetwork' in .* has no rows"),
        ({"names": "1 Books\n2 Home"}, "category.txt' has no name for category 4"),
        ({"names": "1 Books\nGames\n"}, r"line 2: needs a new category id and its name"),
        ({"names": "1 Books\n1 Games\n"}, r"line 2: needs a new category id and its name"),
        ({"names": ""}, "has no name for category 1"),
    ],
)
def test_bad_files(raw_root, changed, match):
    root = raw_root(files(**changed))
    with pytest.raises(InputError, match=match) as info:
        Epinions(root)
    assert "\n" not in str(info.value)
    assert not (root / "processed").exists()


def test_nan_ids(raw_root):
    root = raw_root({**files(), "rating.mat": np.array([[1, 1, 1, 5], [np.nan, 1, 1, 5]])})
    with pytest.raises(InputError, match=r"row 2: 'user' needs to be an integer >= 1 \(got nan\)"):
        Epinions(root)


def test_truncated_files(raw_root, tmp_path):
    root = raw_root(files(rating=[[i + 1, i + 1, 1, 5] for i in range(500)]))
    path = root / "raw" / "rating.mat"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"cannot be read as a MATLAB file .*truncated"):
        Epinions(root)


def test_names_that_are_no_text(raw_root):
    with pytest.raises(InputError, match=r"category.txt' cannot be read as text"):
        Epinions(raw_root({**files(), "category.txt": b"1 Caf\xe9\n"}))


def test_real_files(real_root):
    start = time.process_time()
    dataset = Epinions(real_root("epinions"), force_reload=True)
    assert time.process_time() - start < 5
    assert dataset.known
    data = dataset[0]
    assert [data[name].num_nodes for name in ("user", "item", "category")] == [22_165, 296_277, 27]
    store = data[INTERACTS]
    assert store.num_edges == 912_441
    assert data[TRUSTS].num_edges == 355_727 - 224
    # user 20819 is nowhere; 21354 has trust, but no rating
    assert sorted(set(range(1, 22_167)) - set(data["user"].raw_id.tolist())) == [20_819]
    degree = torch.bincount(store.edge_index[0], minlength=22_165)
    assert data["user"].raw_id[degree == 0].tolist() == [21_354]
    assert int(degree[degree > 0].median()) == 19
    assert int(degree.max()) == 5_337
    item_degree = torch.bincount(store.edge_index[1], minlength=296_277)
    assert int((item_degree == 1).sum()) == 194_947
    assert int((item_degree < 5).sum()) == 264_838
    members = torch.bincount(data[IN].edge_index[1])
    assert [int(members[i - 1]) for i in (4, 24, 26, 27)] == [59_129, 8, 8, 1]
    assert decode(data, "category", torch.tensor([0, 3])) == ["Online Stores & Services", "Books"]
    expected = {
        "rows_read": 922_267,
        "duplicates_dropped": 9_826,
        "trust_rows_read": 355_754,
        "trust_self_loops_dropped": 224,
        "trust_duplicates_dropped": 27,
        "users_without_interactions": 1,
        "items_with_several_categories": 577,
    }
    assert expected.items() <= dataset.report.items()
    src, dst = data[TRUSTS].edge_index
    assert int(torch.isin(src * 22_165 + dst, dst * 22_165 + src).sum()) == 136_942


def test_the_first_row_of_a_real_pair_is_kept(real_root):
    root = real_root("epinions")
    rows = pd.DataFrame(scipy.io.loadmat(root / "raw" / "rating.mat")["rating"])
    expected = rows.drop_duplicates([0, 1])[[0, 1, 3]].to_numpy()
    data = Epinions(root)[0]
    src, dst = data[INTERACTS].edge_index
    columns = data["user"].raw_id[src], data["item"].raw_id[dst], data[INTERACTS].rating.long()
    assert np.array_equal(torch.stack(columns, dim=1).numpy(), expected)
