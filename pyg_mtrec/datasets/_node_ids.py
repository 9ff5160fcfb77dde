"""Contiguous node ids for the raw ids of several columns."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._user_table import IdColumn, Integers


def number(
    columns: Sequence[IdColumn], size: int | None
) -> tuple[Integers | list[str], list[Integers]]:
    r"""Numbers the nodes of one type in the order of their raw ids.

    Args:
        columns: All columns that hold such nodes.
        size: If given, ids are node numbers below ``size`` already.

    Returns:
        The raw ids, integers if those of all columns are, and the nodes of each column's rows.
    """
    values = [column.values for column in columns]
    if any(isinstance(value, list) for value in values):
        if size is not None:
            column = next(column for column in columns if isinstance(column.values, list))
            raise InputError(
                f"'num_{column.node_type}s' needs integer ids (got strings in '{column.name}' of"
                f" {column.table.label}): leave it out"
            )
        texts = [[str(entry) for entry in value] for value in values]
        strings = sorted(set().union(*texts))
        index = pd.Index(strings)
        rows = [index.get_indexer(pd.Index(text)) for text in texts]
        return strings, [
            row.astype(np.int64)[column.codes] for row, column in zip(rows, columns, strict=True)
        ]
    integers = [np.asarray(value, np.int64) for value in values]
    for column, value in zip(columns, integers, strict=True):
        if (value < 0).any():
            column.blame(value < 0, "is negative")
        if size is not None and (value >= size).any():
            column.blame(value >= size, f"needs to be below {size}")
    raw = np.unique(np.concatenate(integers)) if size is None else np.arange(size)
    return raw, [
        np.searchsorted(raw, value)[column.codes]
        for column, value in zip(columns, integers, strict=True)
    ]
