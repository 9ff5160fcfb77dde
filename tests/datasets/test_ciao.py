import numpy as np
import pytest

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Ciao


def files(rating, trust=((1, 2),)):
    return {"rating.mat": np.array(rating), "trustnetwork.mat": np.array(trust, dtype=np.uint16)}


def test_small_files(raw_root):
    dataset = Ciao(raw_root(files([[2, 9, 3, 0, 7], [1, 9, 3, 4, 1], [2, 9, 1, 5, 1]])))
    data = dataset[0]
    store = data["user", "interacts", "item"]
    assert store.edge_index.t().tolist() == [[1, 0], [0, 0]]
    assert store.rating.tolist() == [0, 4]
    assert list(store.keys()) == ["edge_index", "rating"]  # the fifth column stays outside
    assert data["user", "trusts", "user"].edge_index.tolist() == [[0], [1]]
    assert data["item", "in", "category"].edge_index.t().tolist() == [[0, 1], [0, 0]]
    assert data["category"].raw_id.tolist() == [1, 3]
    assert dataset.report["ratings_of_zero"] == 1
    assert dataset.report["duplicates_dropped"] == 1
    assert data.validate()


@pytest.mark.parametrize(
    ("rating", "match"),
    [
        ([[1, 1, 1, 5]], r"needs the 5 columns user, item, category, rating, code \(got 4\)"),
        ([[1, 1, 1, 6, 1]], r"row 1: 'rating' needs to lie in 0..5 \(got 6\)"),
        ([[1, 1, 1, 5, 1], [1, np.nan, 1, 5, 1]], "row 2: 'item' needs to be an integer"),
        (np.zeros((0, 5)), "has no rows"),
    ],
)
def test_bad_files(raw_root, rating, match):
    with pytest.raises(InputError, match=match):
        Ciao(raw_root(files(rating)))


def test_real_files(real_root):
    dataset = Ciao(real_root("ciao"))
    assert dataset.known
    data = dataset[0]
    assert [data[name].num_nodes for name in ("user", "item", "category")] == [7_375, 105_114, 28]
    assert int(data["item"].raw_id[-1]) == 106_797
    assert data["user", "interacts", "item"].num_edges == 284_086 - 1_436
    assert data["user", "trusts", "user"].num_edges == 111_781
    expected = {"rows_read": 284_086, "duplicates_dropped": 1_436, "ratings_of_zero": 34}
    assert expected.items() <= dataset.report.items()
