"""Pickled sparse matrices, read without running what a pickle may hold."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._tables import Integers, is_integer


class _Parts:
    r"""The attributes of a pickled matrix, without its class."""


def _empty_array(cls: type, shape: Any, dtype: Any) -> Any:
    return np.ndarray.__new__(np.ndarray, shape, dtype)


_KNOWN: dict[tuple[str, str], Any] = {
    ("scipy.sparse._csr", "csr_matrix"): _Parts,
    ("scipy.sparse._coo", "coo_matrix"): _Parts,
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        return _KNOWN[module, name]


def read_matrix(path: Path) -> tuple[Integers, Integers, Integers]:
    r"""Returns rows, columns and values of a pickled CSR or COO matrix of integers.

    Nothing but arrays and the two kinds of matrices is ever made from the file.

    Raises:
        InputError: If the file cannot be read or holds anything else.
    """
    try:
        with open(path, "rb") as stream:
            found = vars(_Unpickler(stream).load())
        column = found["indices" if "indptr" in found else "col"]
        row = found.get("row")
        if row is None:
            row = np.repeat(np.arange(len(found["indptr"]) - 1), np.diff(found["indptr"]))
        parts = [np.asarray(part) for part in (row, column, found["data"])]
        if len({part.shape for part in parts}) > 1 or not all(map(_are_integers, parts)):
            raise ValueError("it is no matrix of integers >= 0")
    except OSError as error:
        raise InputError(f"cannot read '{path}' ({error.strerror})") from error
    except Exception as error:  # a damaged pickle fails in any way
        text = " ".join(str(error).split())[:120]
        raise InputError(f"'{path}' cannot be read as a pickled matrix ({text})") from error
    user, item, value = (part.astype(np.int64) for part in parts)
    return user, item, value


def _are_integers(part: Any) -> bool:
    return part.ndim == 1 and part.dtype.kind in "iuf" and bool(is_integer(part).all())
