import numpy as np
import pandas as pd
import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import AmazonVideoGames

INTERACTS, BOUGHT, VIEWED, IN = (
    ("user", "interacts", "item"),
    ("item", "also_bought", "item"),
    ("item", "also_viewed", "item"),
    ("item", "in", "category"),
)
REVIEWS = "user\titem\tpos\ttime\n"
META = "item\tcategory\talso_bought\talso_viewed\tambiguous\n"
GOOD_REVIEWS = REVIEWS + "1\t2\t0\t1000\n1\t5\t1\t\n3\t2\t0\t\n1\t2\t2\t3000\n"
GOOD_META = META + "5\t8\t2 5 2\t\t0\n2\t0\t\t5\t1\n"


def edges(data, edge_type):
    return data[edge_type].edge_index.t().tolist()


def test_merged_files(raw_root):
    dataset = AmazonVideoGames(
        raw_root({"interactions_merged.tsv": GOOD_REVIEWS, "item_meta_merged.tsv": GOOD_META})
    )
    data = dataset[0]
    assert data["user"].raw_id.tolist() == [1, 3]
    assert data["item"].raw_id.tolist() == [2, 5]
    assert data["category"].raw_id.tolist() == [0, 8]
    assert edges(data, INTERACTS) == [[0, 0], [0, 1], [1, 0]]
    assert data[INTERACTS].time.tolist() == [0, 1, 0]
    assert data[INTERACTS].timestamp.tolist() == [1000, -1, -1]
    assert data[INTERACTS].time.dtype == data[INTERACTS].timestamp.dtype == torch.int64
    assert edges(data, BOUGHT) == [[1, 0]]
    assert edges(data, VIEWED) == [[0, 1]]
    assert edges(data, IN) == [[1, 1], [0, 0]]
    assert dataset.report == {
        "layout": "merged",
        "rows_read": 4,
        "duplicates_dropped": 1,
        "reviews_without_timestamp": 2,
        "also_bought_self_loops_dropped": 1,
        "also_bought_duplicates_dropped": 1,
        "also_viewed_self_loops_dropped": 0,
        "also_viewed_duplicates_dropped": 0,
        "items_without_interactions": 0,
        "items_without_category": 0,
        "ambiguous_items": 1,
    }
    assert data.validate()


PUBLIC = {
    "train.csv": "user_id\titem_id\ttime\n2\t1\t50\n1\t1\t40\n2\t3\t10\n2\t4\t50\n1\t3\t40\n",
    "item_meta.csv": (
        "item_id\ti_category\tr_complement\tr_substitute\n1\t7\t[3, 9]\t[]\n3\t7\t[]\t[1, 1]\n"
    ),
}


def test_public_files(raw_root):
    dataset = AmazonVideoGames(raw_root(PUBLIC))
    data = dataset[0]
    # item 4 has no meta data, item 9 no interaction: both are nodes
    assert data["item"].raw_id.tolist() == [1, 3, 4, 9]
    assert edges(data, INTERACTS) == [[1, 0], [0, 0], [1, 1], [1, 2], [0, 1]]
    # positions follow the time, and the file where times are equal
    assert data[INTERACTS].time.tolist() == [1, 0, 0, 2, 1]
    assert data[INTERACTS].timestamp.tolist() == [50, 40, 10, 50, 40]
    assert edges(data, BOUGHT) == [[0, 1], [0, 3]]
    assert edges(data, VIEWED) == [[1, 0]]
    assert edges(data, IN) == [[0, 0], [1, 0]]
    assert dataset.report["also_viewed_duplicates_dropped"] == 1
    assert dataset.report["items_without_interactions"] == 1
    assert dataset.report["items_without_category"] == 2


@pytest.mark.parametrize(
    "lists",
    ["open('x')", "[1, 'a']", "[1,", "[-3]", "[1.5]", "(1, 2)", "", "[True]", "[" * 500],
)
def test_public_lists_are_literals(raw_root, lists):
    meta = f"item_id\ti_category\tr_complement\tr_substitute\n1\t7\t[]\t[]\n3\t7\t{lists}\t[]\n"
    with pytest.raises(InputError, match=r"item_meta.csv', line 3: 'r_complement' needs to be a"):
        AmazonVideoGames(raw_root({**PUBLIC, "item_meta.csv": meta}))


@pytest.mark.parametrize(
    ("reviews", "meta", "match"),
    [
        ("user\titem\n1\t1\n", GOOD_META, "interactions_merged.tsv' needs the columns"),
        (REVIEWS, GOOD_META, "has no rows"),
        (GOOD_REVIEWS, META, "has no rows"),
        (REVIEWS + "1\t\t0\t5\n", GOOD_META, r"line 2: 'item' needs to be .* \(got ''\)"),
        (REVIEWS + "1\t-2\t0\t5\n", GOOD_META, "line 2: 'item' needs to be an integer >= 1"),
        (REVIEWS + "0\t2\t0\t5\n", GOOD_META, "line 2: 'user' needs to be an integer >= 1"),
        (REVIEWS + "1\t2\t0\tlate\n", GOOD_META, "line 2: 'time' needs to be an integer"),
        (REVIEWS + "1\t2\t0\t-1\n", GOOD_META, r"line 2: 'time' needs .* \(got '-1'\)"),
        (GOOD_REVIEWS, META + "5\t8\t2 x\t\t0\n", "line 2: 'also_bought' needs to be a list"),
        (
            GOOD_REVIEWS,
            META + "5\t8\t2\t\t0\n2\t8\t\t5 99\t0\n",
            "item_meta_merged.tsv', line 3: 'also_viewed' names item 99, which has no interaction",
        ),
        (GOOD_REVIEWS, META + "77\t8\t2\t\t0\n", "line 2: 'item' names item 77"),
    ],
)
def test_bad_files(raw_root, reviews, meta, match):
    root = raw_root({"interactions_merged.tsv": reviews, "item_meta_merged.tsv": meta})
    with pytest.raises(InputError, match=match) as info:
        AmazonVideoGames(root)
    assert "\n" not in str(info.value)
    assert not (root / "processed").exists()


def test_real_files(real_root):
    root = real_root("amazon_video_games_2014")
    dataset = AmazonVideoGames(root)
    assert dataset.known
    data = dataset[0]
    assert [data[name].num_nodes for name in ("user", "item", "category")] == [24_303, 10_672, 72]
    assert data[INTERACTS].num_edges == dataset.report["rows_read"] == 231_780
    assert data[BOUGHT].num_edges == 488_929
    assert data[VIEWED].num_edges == 10_503
    assert data[IN].num_edges == 10_639
    assert len(data[BOUGHT].edge_index[0].unique()) == 9_793
    assert len(data[VIEWED].edge_index[0].unique()) == 700
    src, dst = data[BOUGHT].edge_index
    assert int(torch.isin(src * 10_672 + dst, dst * 10_672 + src).sum()) == 238_638
    members = torch.bincount(data[IN].edge_index[1])
    assert int(members[data["category"].raw_id == 28]) == 3_388
    assert min(int(torch.bincount(index).min()) for index in data[INTERACTS].edge_index) == 5
    known = data[INTERACTS].timestamp[data[INTERACTS].timestamp >= 0]
    assert (int(known.min()), int(known.max())) == (939_859_200, 1_405_987_200)
    expected = {
        "duplicates_dropped": 0,
        "reviews_without_timestamp": 48_606,
        "items_without_category": 33,
        "ambiguous_items": 9,
    }
    assert expected.items() <= dataset.report.items()
    # the last two reviews of every user are those without a timestamp
    user, time = data[INTERACTS].edge_index[0], data[INTERACTS].time
    length = torch.bincount(user)
    assert torch.equal(data[INTERACTS].timestamp < 0, time >= length[user] - 2)
    raw = pd.read_csv(root / "raw" / "interactions_merged.tsv", sep="\t")
    assert np.array_equal(data["item"].raw_id[data[INTERACTS].edge_index[1]], raw["item"])
