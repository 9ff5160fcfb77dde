from pathlib import Path

import numpy as np
import scipy.io

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._tables import Integers, is_integer


def read_mat(path: Path, key: str, columns: tuple[str, ...], minimum: int = 1) -> Integers:
    r"""Reads the integer matrix ``key`` of a MATLAB file.

    Args:
        path: The file.
        key: Name of the matrix in the file.
        columns: Names of its columns, for messages.
        minimum: Smallest value that the first two columns, which hold ids, may have.

    Returns:
        The matrix, :math:`[\text{rows}, \text{columns}]`, as int64 whatever the file's type: ids in
        uint16 would wrap around in arithmetic.

    Raises:
        InputError: If the file is not a whole MATLAB file or the matrix is not as described.
    """
    try:
        content = scipy.io.loadmat(path, variable_names=[key])
    except Exception as error:  # damaged bytes reach SciPy's parser as almost any exception
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise InputError(
            f"'{path}' cannot be read as a MATLAB file ({reason}): it may be truncated, place the"
            " whole file there"
        ) from error
    if key not in content:
        raise InputError(f"'{path}' needs a matrix '{key}', found none of that name")
    matrix = content[key]
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "iuf":
        raise InputError(f"'{key}' in '{path}' needs to be a matrix of numbers")
    if matrix.size == 0:
        raise InputError(f"'{key}' in '{path}' has no rows: place the whole file there")
    if matrix.shape[1] != len(columns):
        raise InputError(
            f"'{key}' in '{path}' needs the {len(columns)} columns {', '.join(columns)}"
            f" (got {matrix.shape[1]})"
        )
    for column, name in enumerate(columns):
        lowest = minimum if column < 2 else 0
        good = is_integer(matrix[:, column], lowest)
        if not good.all():
            row = int(np.argmin(good))
            raise InputError(
                f"'{path}', row {row + 1}: '{name}' needs to be an integer >= {lowest}"
                f" (got {matrix[row, column]})"
            )
    return matrix.astype(np.int64)
