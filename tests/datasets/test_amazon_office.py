import numpy as np
import pandas as pd
import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import AmazonOffice

EDGE_TYPE = ("user", "interacts", "item")
HEADER = "user\titem\trating\tpos\n"


def test_ordered_files(raw_root):
    rows = "4\t0\t5\t0\n4\t3\t4\t1\n9\t0\t1\t0\n4\t0\t2\t2\n"
    dataset = AmazonOffice(raw_root({"office.tsv": HEADER + rows}))
    data = dataset[0]
    assert data["user"].raw_id.tolist() == [4, 9]
    assert data["item"].raw_id.tolist() == [0, 3]
    store = data[EDGE_TYPE]
    assert store.edge_index.t().tolist() == [[0, 0], [0, 1], [1, 0]]
    assert store.rating.tolist() == [5, 4, 1]
    assert store.time.tolist() == [0, 1, 0]
    assert (store.rating.dtype, store.time.dtype) == (torch.float32, torch.int64)
    assert dataset.report == {"layout": "ordered", "rows_read": 4, "duplicates_dropped": 1}
    assert data.validate()


def test_unordered_files(raw_root):
    files = {
        "train.txt": "0\t1\t2.0\n1\t1\t5.0\n",
        "val.txt": "0\t0\t3.0\n",
        "test.txt": "1\t0\t4.0\n0\t1\t1.0\n",
    }
    dataset = AmazonOffice(raw_root(files))
    store = dataset[0][EDGE_TYPE]
    assert store.edge_index.t().tolist() == [[0, 1], [1, 1], [0, 0], [1, 0]]
    assert store.rating.tolist() == [2, 5, 3, 4]
    assert list(store.keys()) == ["edge_index", "rating"]
    assert dataset.report == {"layout": "unordered", "rows_read": 5, "duplicates_dropped": 1}


def test_the_ordered_file_goes_first(raw_root):
    row = {"office.tsv": HEADER + "0\t0\t5\t0\n"}
    parts = {name: "0\t1\t2.0\n" for name in ("train.txt", "val.txt", "test.txt")}
    assert AmazonOffice(raw_root({**row, **parts})).layout == "ordered"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("user\titem\trating\n0\t0\t5\n", r"columns user, item, rating, pos \(got user, item, r"),
        (HEADER, "has no rows"),
        ("", "is empty"),
        (HEADER + "0\t0\t5\t0\n-1\t0\t5\t0\n", r"line 3: 'user' needs to be .* \(got '-1'\)"),
        (HEADER + "0\tnan\t5\t0\n", r"line 2: 'item' needs to be .* \(got 'nan'\)"),
        (HEADER + "0\t0\t6\t0\n", r"line 2: 'rating' needs to lie in 1..5 \(got 6\)"),
        (HEADER + "0\t0\t0\t0\n", r"line 2: 'rating' needs to be a number >= 1 \(got '0'\)"),
        (HEADER + "0\t0\t5\t0\n0\t1\t5", r"line 3: 'pos' needs to be .* \(got ''\)"),
    ],
)
def test_bad_files(raw_root, text, match):
    root = raw_root({"office.tsv": text})
    with pytest.raises(InputError, match=match) as info:
        AmazonOffice(root)
    assert "\n" not in str(info.value)
    assert not (root / "processed").exists()


def test_real_files(real_root):
    root = real_root("amazon_office")
    dataset = AmazonOffice(root)
    assert dataset.known
    data = dataset[0]
    assert [data["user"].num_nodes, data["item"].num_nodes] == [4_905, 2_420]
    store = data[EDGE_TYPE]
    assert store.num_edges == dataset.report["rows_read"] == 53_258
    assert dataset.report["duplicates_dropped"] == 0
    assert min(int(torch.bincount(index).min()) for index in store.edge_index) == 5
    counts = torch.bincount(store.rating.long()).tolist()
    assert counts == [0, 1_130, 1_726, 5_060, 15_015, 30_327]
    # `pos` counts 0, 1, 2, ... within every user
    order = torch.argsort(store.edge_index[0] * 53_258 + store.time)
    user, time = store.edge_index[0][order], store.time[order]
    start = torch.cumsum(torch.bincount(user), 0) - torch.bincount(user)
    assert torch.equal(time, torch.arange(53_258) - start[user])
    raw = pd.read_csv(root / "raw" / "office.tsv", sep="\t")
    assert np.array_equal(store.edge_index.numpy(), raw[["user", "item"]].to_numpy().T)
    assert np.array_equal(store.time.numpy(), raw["pos"].to_numpy())
