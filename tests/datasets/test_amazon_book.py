import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import AmazonBook

EDGE_TYPE = ("user", "interacts", "item")


def test_small_files(raw_root):
    # user 3 has no test item, item 9 no training row, and the pair (0, 5) lies in both files
    files = {"train.txt": "0 5 7 5\n3 7\n", "test.txt": "0 9 5\n3\n"}
    dataset = AmazonBook(raw_root(files))
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


def test_bad_files(raw_root):
    root = raw_root({"train.txt": "0 1\n1 -1\n", "test.txt": "0 2\n"})
    with pytest.raises(InputError, match=r"train.txt', line 2: needs ids >= 0 only"):
        AmazonBook(root)
    raw_root({"train.txt": "0 1\n", "test.txt": ""})
    with pytest.raises(InputError, match=r"test.txt' has no rows"):
        AmazonBook(root)
    assert not (root / "processed").exists()


def test_real_files(real_root):
    dataset = AmazonBook(real_root("amazon_book"))
    assert dataset.known
    data = dataset[0]
    assert [data["user"].num_nodes, data["item"].num_nodes] == [52_643, 91_599]
    store = data[EDGE_TYPE]
    assert torch.bincount(store.split.long()).tolist() == [2_380_730, 0, 603_378]
    assert dataset.report["duplicates_dropped"] == 0
    assert dataset.report["test_pairs_in_training_dropped"] == 0
    assert dataset.report["items_without_training"] == 0
