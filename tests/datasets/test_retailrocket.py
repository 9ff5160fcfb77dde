import hashlib
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Retailrocket
from pyg_mtrec.datasets._download import RawFile
from pyg_mtrec.datasets._matrices import read_matrix

MAIN = ("user", "interacts", "item")
HEADER = "user\titem\tbehaviour\ttime\n"
TEST_HEADER = "user\titem\n"
NAMES = ("train_mat_view.pkl", "train_mat_cart.pkl", "train_mat_buy.pkl", "test_mat.pkl")


def tables(train, test):
    lines = ["".join("\t".join(map(str, row)) + "\n" for row in rows) for rows in (train, test)]
    return {"train.tsv": HEADER + lines[0], "test.tsv": TEST_HEADER + lines[1]}


def events(data, name):
    store = data["user", name, "item"]
    assert store.time.dtype == torch.int64
    return list(zip(*store.edge_index.tolist(), store.time.tolist(), strict=True))


def test_tables(raw_root):
    train = [
        (7, 2, 0, 50),
        (7, 2, 1, 60),
        (7, 2, 2, 70),
        (3, 9, 2, 20),  # bought without a view or a cart
        (3, 4, 0, 20),
        (3, 4, 0, 20),  # the very same row again
        (3, 4, 0, 10),  # another view of the pair
        (7, 4, 2, 80),
        (7, 4, 2, 75),  # bought twice: one pair
    ]
    test = [(3, 2), (7, 9), (3, 4), (3, 2), (7, 11)]
    dataset = Retailrocket(raw_root(tables(train, test)))
    data = dataset[0]
    assert data["user"].raw_id.tolist() == [3, 7]
    assert data["item"].raw_id.tolist() == [2, 4, 9, 11]
    assert events(data, "views") == [(0, 1, 10), (0, 1, 20), (1, 0, 50)]
    assert events(data, "carts") == [(1, 0, 60)]
    assert events(data, "buys") == [(0, 2, 20), (1, 0, 70), (1, 1, 75), (1, 1, 80)]
    store = data[MAIN]
    assert sorted(store.keys()) == ["edge_index", "split"]
    want = [[0, 2], [1, 0], [1, 1], [0, 0], [1, 2], [1, 3]]  # (3, 4) was viewed in training
    assert store.edge_index.t().tolist() == want
    assert store.split.tolist() == [0, 0, 0, 2, 2, 2]
    assert dataset.report == {
        "layout": "tables",
        "rows_read": 14,
        "duplicates_dropped": 2,
        "views": 3,
        "carts": 1,
        "buys": 4,
        "buys_without_view": 2,
        "buys_without_cart": 2,
        "test_pairs_in_training_dropped": 1,
        "test_pairs": 3,
        "test_items_without_training": 1,
    }
    assert data.validate()


def test_a_behaviour_may_have_no_events(raw_root):
    data = Retailrocket(raw_root(tables([(0, 0, 2, 5), (1, 1, 0, 6)], [(0, 1)])))[0]
    assert events(data, "carts") == []
    assert data["user", "carts", "item"].edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("train", "test", "match"),
    [
        (
            "user\titem\ttime\n0\t0\t1\n",
            TEST_HEADER + "0\t0\n",
            "needs the columns user, item, beh",
        ),
        (HEADER, TEST_HEADER + "0\t0\n", "'.*train.tsv' has no rows"),
        (HEADER + "0\t0\t0\t1\n", TEST_HEADER, "'.*test.tsv' has no rows"),
        (HEADER + "0\t0\t3\t1\n", TEST_HEADER + "0\t0\n", r"line 2: 'behaviour' .* \(got 3\)"),
        (HEADER + "0\t0\t0\t\n", TEST_HEADER + "0\t0\n", r"line 2: 'time' needs .* \(got ''\)"),
        (HEADER + "0\t-1\t0\t1\n", TEST_HEADER + "0\t0\n", r"line 2: 'item' .* \(got '-1'\)"),
        (HEADER + "0\t0\t0\t1\n", TEST_HEADER + "nan\t0\n", r"test.tsv', line 2: 'user' needs"),
    ],
)
def test_bad_files(raw_root, train, test, match):
    root = raw_root({"train.tsv": train, "test.tsv": test})
    with pytest.raises(InputError, match=match) as info:
        Retailrocket(root)
    assert "\n" not in str(info.value)
    assert not (root / "processed").exists()


def test_half_of_the_tables_is_not_enough(raw_root):
    root = raw_root({"train.tsv": HEADER + "0\t0\t0\t1\n"})
    with pytest.raises(InputError, match=r"'test.tsv' is missing in .* beside 'train.tsv'"):
        Retailrocket(root)


def matrices():
    """The events of `tables([...], [(0, 2), (2, 1)])` below as pickled matrices."""
    parts = [
        scipy.sparse.csr_matrix(([5, 6], ([0, 2], [1, 0])), shape=(3, 3), dtype=np.int64),
        scipy.sparse.csr_matrix((3, 3), dtype=np.int64),
        scipy.sparse.csr_matrix(([9, 8], ([1, 0], [1, 0])), shape=(3, 3), dtype=np.int64),
        scipy.sparse.coo_matrix((3, 3)),
    ]
    held = [np.array(ids, np.int32) for ids in ([0, 2], [2, 1])]
    vars(parts[-1]).clear()  # as versions of scipy wrote it that had no `coords`
    vars(parts[-1]).update(_shape=(3, 3), row=held[0], col=held[1], data=np.ones(2))
    return {name: pickle.dumps(part) for name, part in zip(NAMES, parts, strict=True)}


def published(files):
    """The class if these were the published files."""
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}

    class Published(Retailrocket):
        layouts = {  # noqa: RUF012
            "tables": Retailrocket.layouts["tables"],
            "matrices": tuple(RawFile(n, f"http://nowhere/{n}", (sha256[n],)) for n in NAMES),
        }

    return Published


def test_matrices_hold_what_the_tables_hold(raw_root, tmp_path):
    files = matrices()
    dataset = published(files)(raw_root(files))
    assert dataset.known and dataset.layout == "matrices"
    train = [(0, 1, 0, 5), (2, 0, 0, 6), (1, 1, 2, 9), (0, 0, 2, 8)]
    other = tmp_path / "other"
    (other / "raw").mkdir(parents=True)
    for name, text in tables(train, [(0, 2), (2, 1)]).items():
        (other / "raw" / name).write_text(text)
    want = Retailrocket(other)
    assert {**dataset.report, "layout": "tables"} == want.report
    left, right = dataset[0].to_dict(), want[0].to_dict()
    assert left.keys() == right.keys()
    for key, store in right.items():
        for name, value in store.items() if isinstance(store, dict) else ():
            same = left[key][name]
            assert torch.equal(same, value) if isinstance(value, torch.Tensor) else same == value


def test_only_published_pickles_are_read(raw_root):
    root = raw_root(matrices())
    with pytest.raises(InputError, match=r"'.*train_mat_view.pkl' has other bytes .* can run code"):
        Retailrocket(root)
    assert not (root / "processed").exists()


class Evil:
    """What runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (pickle.dumps(Evil()), r"it holds builtins.print"),
        (pickle.dumps({"data": [1]}), "cannot be read as a pickled matrix"),
        (pickle.dumps(scipy.sparse.csr_matrix([[0.5]])), "no matrix of integers"),
        (pickle.dumps(scipy.sparse.csr_matrix([[-1]])), "no matrix of integers"),
        (b"", "cannot be read as a pickled matrix"),
        (matrices()["test_mat.pkl"][:-20], "cannot be read as a pickled matrix"),
    ],
)
def test_bad_pickles(tmp_path, capsys, content, match):
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=match) as info:
        read_matrix(path)
    assert "\n" not in str(info.value)
    assert capsys.readouterr().out == ""


def test_a_missing_pickle(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_matrix(tmp_path / "a.pkl")


def test_real_files(real_root):
    root = real_root("retailrocket")
    dataset = Retailrocket(root)
    assert dataset.known
    data = dataset[0]
    assert [data["user"].num_nodes, data["item"].num_nodes] == [2_174, 30_113]
    raw = pd.read_csv(root / "raw" / "train.tsv", sep="\t")
    test = pd.read_csv(root / "raw" / "test.tsv", sep="\t")
    for code, (name, number) in enumerate(
        {"views": 75_374, "carts": 12_456, "buys": 9_551}.items()
    ):
        own = raw[raw.behaviour == code].sort_values(["time", "user", "item"])
        assert len(own) == number
        assert events(data, name) == list(zip(own.user, own.item, own.time, strict=True))
    store = data[MAIN]
    held = store.edge_index[:, store.split == 2]
    assert np.array_equal(held.numpy(), test.to_numpy().T)
    assert int((store.split == 0).sum()) == 9_551
    assert dataset.report == {
        "layout": "tables",
        "rows_read": 97_381 + 2_174,
        "duplicates_dropped": 0,
        "views": 75_374,
        "carts": 12_456,
        "buys": 9_551,
        "buys_without_view": 1_128,
        "buys_without_cart": 772,
        "test_pairs_in_training_dropped": 0,
        "test_pairs": 2_174,
        "test_items_without_training": 208,
    }
