"""Columns of a table as labels and as features: an empty cell is missing, the rest is checked."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._user_table import Integers, UserTable

Floats = NDArray[np.float64]


def integers(table: UserTable, name: str, minimum: int = 0) -> Integers:
    r"""Returns a column of integers of at least ``minimum``, none missing."""
    value = _numbers(table, name)
    good = (value == np.floor(value)) & (value >= minimum) & (value <= 2.0**53)
    table.check(name, good, f"an integer >= {minimum}")
    return value.astype(np.int64)


def amounts(table: UserTable, name: str) -> Floats:
    r"""Returns a column of finite numbers that are not negative, none missing."""
    value = _numbers(table, name)
    table.check(name, np.isfinite(value) & (value >= 0), "a number >= 0")
    return value


def numbers(table: UserTable, name: str) -> Floats:
    r"""Returns a column of finite numbers, NaN where it is empty."""
    value = _numbers(table, name)
    with np.errstate(over="ignore"):
        finite = np.isfinite(value.astype(np.float32))
    table.check(name, finite | _empty(table, name), "a number or empty")
    return value


def labels(table: UserTable, name: str, kind: str, missing: bool = True) -> Floats:
    r"""Returns the labels of a target, NaN where it is empty and may be.

    Args:
        table: The table.
        name: The column.
        kind: ``"binary"`` or ``"continuous"``.
        missing: Whether rows may be unlabelled.
    """
    value = _numbers(table, name)
    if kind == "binary":
        good, need = (value == 0) | (value == 1), "0 or 1"
    else:
        with np.errstate(over="ignore"):
            good, need = np.isfinite(value.astype(np.float32)), "a finite number"
    if missing:
        good, need = good | _empty(table, name), f"{need}, or empty"
    table.check(name, good, need)
    return value


def refuse_constant(label: str, name: str, value: Floats) -> None:
    r"""Refuses a target that says the same of every row of the table called ``label``."""
    known = value[~np.isnan(value)]
    if len(known) == 0 or (known == known[0]).all():
        same = f"is {known[0]:g} in every labelled row" if len(known) else "is empty in every row"
        raise InputError(f"{label}: the target '{name}' {same}: leave it out")


def levels(table: UserTable, name: str) -> tuple[Integers, list[str]]:
    r"""Returns a column of categories: the level of every row, -1 where empty, and the levels.

    Numbers are in their own order, everything else in that of its text.
    """
    column = table.frame[name]
    if pd.api.types.is_numeric_dtype(column):
        codes, found = pd.factorize(column, sort=True)
        names = [_text(value) for value in np.asarray(found).tolist()]
        return codes.astype(np.int64), names
    codes, found = pd.factorize(column)
    texts = [str(value).strip() for value in np.asarray(found, dtype=object).tolist()]
    names = sorted(set(texts) - {""})
    place = {text: position for position, text in enumerate(names)}
    # The last entry stands for code -1, which is missing.
    by_code = np.array([*(place.get(text, -1) for text in texts), -1], np.int64)
    return by_code[codes], names


def is_numeric(table: UserTable, name: str) -> bool:
    r"""Whether a column holds numbers, and not truth values, texts or dates."""
    column = table.frame[name]
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return bool(number)


def _numbers(table: UserTable, name: str) -> Floats:
    column = table.frame[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    out: Floats = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return out


def _empty(table: UserTable, name: str) -> NDArray[np.bool_]:
    column = table.frame[name]
    empty: NDArray[np.bool_] = column.isna().to_numpy(bool)
    if not pd.api.types.is_numeric_dtype(column):
        empty = empty | (column.astype(str).str.strip() == "").to_numpy(bool)
    return empty


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
