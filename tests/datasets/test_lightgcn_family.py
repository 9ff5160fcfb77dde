"""Gowalla, Yelp2018 and AmazonBook: one format, one reader, one set of tests."""

import pytest
import torch

from pyg_mtrec import InputError
from pyg_mtrec.datasets import AmazonBook, Gowalla, Yelp2018

EDGE_TYPE = ("user", "interacts", "item")
FAMILY = pytest.mark.parametrize("cls", [AmazonBook, Gowalla, Yelp2018])


@FAMILY
def test_small_files(cls, raw_root):
    # user 3 has no test item, item 9 no training row, and the pair (0, 5) lies in both files
    files = {"train.txt": "0 5 7 5\n3 7\n", "test.txt": "0 9 5\n3\n"}
    dataset = cls(raw_root(files))
    data = dataset[0]
    assert data["user"].raw_id.tolist() == [0, 3]
    assert data["item"].raw_id.tolist() == [5, 7, 9]
    store = data[EDGE_TYPE]
    assert store.edge_index.t().tolist() == [[0, 0], [0, 1], [1, 1], [0, 2]]
    assert store.split.tolist() == [0, 0, 0, 2]
    assert store.split.dtype == torch.int8
    assert dataset.report == {
        "layout": "split",
        "rows_read": 6,
        "duplicates_dropped": 1,
        "test_pairs_in_training_dropped": 1,
        "users_without_training": 0,
        "items_without_training": 1,
    }
    assert data.validate()


@FAMILY
def test_bad_files(cls, raw_root):
    root = raw_root({"train.txt": "0 1\n1 -1\n", "test.txt": "0 2\n"})
    with pytest.raises(InputError, match=r"train.txt', line 2: needs ids >= 0 only"):
        cls(root)
    raw_root({"train.txt": "0 1\n", "test.txt": ""})
    with pytest.raises(InputError, match=r"test.txt' has no rows"):
        cls(root)
    assert not (root / "processed").exists()


@pytest.mark.parametrize(
    ("cls", "users", "items", "train", "test"),
    [
        (AmazonBook, 52_643, 91_599, 2_380_730, 603_378),
        (Gowalla, 29_858, 40_981, 810_128, 217_242),
        (Yelp2018, 31_668, 38_048, 1_237_259, 324_147),
    ],
)
def test_real_files(cls, users, items, train, test, real_root):
    dataset = cls(real_root(cls.name))
    assert dataset.known
    data = dataset[0]
    assert [data["user"].num_nodes, data["item"].num_nodes] == [users, items]
    store = data[EDGE_TYPE]
    assert torch.bincount(store.split.long()).tolist() == [train, 0, test]
    assert dataset.report["duplicates_dropped"] == 0
    assert dataset.report["test_pairs_in_training_dropped"] == 0
    assert dataset.report["items_without_training"] == 0


def test_every_user_of_gowalla_has_eight_to_train_on_and_some_to_test(real_root):
    data = Gowalla(real_root("gowalla"))[0]
    store = data[EDGE_TYPE]
    train, test = (store.edge_index[:, store.split == part] for part in (0, 2))
    assert len(test[0].unique()) == 29_858
    assert int(torch.bincount(train[0], minlength=29_858).min()) == 8


@FAMILY
def test_the_order_of_items_carries_nothing(cls, raw_root):
    found = []
    for text in ("0 5 7 8\n3 7 5\n", "0 8 5 7\r\n3 5 7"):
        data = cls(raw_root({"train.txt": text, "test.txt": "0 9\n"}))[0]
        found.append(sorted(data[EDGE_TYPE].edge_index.t().tolist()))
    assert found[0] == found[1]
