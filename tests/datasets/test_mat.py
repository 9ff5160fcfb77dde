import numpy as np
import pytest
import scipy.io

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._mat import read_mat


def read(tmp_path, content, key="rating", **saved):
    path = tmp_path / "rating.mat"
    scipy.io.savemat(path, saved or {key: content}, do_compression=True)
    return read_mat(path, "rating", ("user", "item", "rating"))


def test_small_integer_types_are_widened(tmp_path):
    content = np.array([[60_000, 65_535, 1], [1, 2, 3]], dtype=np.uint16)
    found = read(tmp_path, content)
    assert found.dtype == np.int64
    assert (found[:, 0] * found[:, 1]).tolist() == [60_000 * 65_535, 2]  # uint16 would wrap
    assert read(tmp_path, content.astype(np.float64)).tolist() == content.tolist()


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ([[1, 2, 3], [0, 2, 3]], r"row 2: 'user' needs to be an integer >= 1 \(got 0\)"),
        ([[1, 2, 3], [1, -2, 3]], r"row 2: 'item' needs to be an integer >= 1 \(got -2\)"),
        ([[1, 2, -3]], r"row 1: 'rating' needs to be an integer >= 0 \(got -3\)"),
        ([[1, np.nan, 3]], r"row 1: 'item' needs to be an integer >= 1 \(got nan\)"),
        ([[1.5, 2, 3]], "row 1: 'user' needs to be an integer"),
        ([[np.inf, 2, 3]], "row 1: 'user' needs to be an integer"),
        ([[1, 2]], r"needs the 3 columns user, item, rating \(got 2\)"),
        (np.zeros((0, 3)), "has no rows"),
        ("text", "needs to be a matrix of numbers"),
        (np.array([["a", 1]], dtype=object), "needs to be a matrix of numbers"),
    ],
)
def test_bad_matrices(tmp_path, bad, match):
    with pytest.raises(InputError, match=match) as info:
        read(tmp_path, bad)
    assert "rating.mat" in str(info.value)


def test_bad_files(tmp_path):
    with pytest.raises(InputError, match="needs a matrix 'rating'"):
        read(tmp_path, [[1, 2, 3]], key="other")
    path = tmp_path / "rating.mat"
    scipy.io.savemat(path, {"rating": np.arange(3000).reshape(-1, 3) + 1}, do_compression=True)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:200], whole[:50], b"", b"1 2 3\n" * 100):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"rating.mat'? ") as info:
            read_mat(path, "rating", ("user", "item", "rating"))
        assert "\n" not in str(info.value)
