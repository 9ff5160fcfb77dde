"""Strict reading of text tables: whatever is wrong is one line with the file and the line."""

import csv
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pyg_mtrec._errors import InputError

Integers = npt.NDArray[np.int64]
# Integers beyond 2^53 are not exact as floating-point numbers, and are no ids of a real table.
LARGEST_ID = 2**53


class Table:
    r"""A tab-separated file whose columns are converted on request.

    Args:
        path: The file.
        columns: Names of its columns.
        header: Whether the first line holds these names.

    Raises:
        InputError: If the file cannot be read, is empty, or has other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str], header: bool = True) -> None:
        self.path = path
        self.first_line = 2 if header else 1
        try:
            text = pd.read_csv(
                path,
                sep="\t",
                header=None,
                dtype=str,
                keep_default_na=False,
                skip_blank_lines=False,
                quoting=csv.QUOTE_NONE,
                encoding="utf-8",
            )
        except pd.errors.EmptyDataError:
            raise InputError(f"'{path}' is empty: place the whole file there") from None
        except pd.errors.ParserError as error:
            raise InputError(
                f"'{path}' has lines of unequal length ({_one_line(error)})"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"'{path}' cannot be read as text ({_one_line(error)})") from error
        found = [str(name) for name in text.iloc[0]] if header else list(columns)
        if text.shape[1] != len(columns) or found != list(columns):
            got = ", ".join(found) if header else f"{text.shape[1]} columns"
            raise InputError(f"'{path}' needs the columns {', '.join(columns)} (got {got})")
        if len(text) < self.first_line:
            raise InputError(f"'{path}' has no rows: place the whole file there")
        self._text = dict(
            zip(columns, (text[i].iloc[self.first_line - 1 :] for i in text), strict=True)
        )

    def strings(self, column: str) -> list[str]:
        r"""Returns a column as it stands, a missing cell as the empty string."""
        return [str(value) for value in self._text[column].fillna("")]

    def floats(self, column: str, minimum: float = 0.0) -> npt.NDArray[np.float64]:
        r"""Returns a column of finite numbers that are at least ``minimum``."""
        value = _numeric(self._text[column])
        self._check(column, np.isfinite(value) & (value >= minimum), f"a number >= {minimum:g}")
        return value

    def integers(self, column: str, minimum: int = 0, missing: int | None = None) -> Integers:
        r"""Returns a column of integers; empty cells become ``missing`` if that is given."""
        value = _numeric(self._text[column])
        good = is_integer(value, minimum)
        if missing is not None:
            empty = (self._text[column].fillna("") == "").to_numpy(bool)
            value[empty] = missing
            good |= empty
        self._check(column, good, f"an integer >= {minimum}")
        return value.astype(np.int64)

    def id_lists(self, column: str, minimum: int = 0) -> tuple[Integers, Integers]:
        r"""Returns the row and the value of every entry of space-separated lists of integers."""
        lists = [text.split() for text in self.strings(column)]
        row = np.repeat(np.arange(len(lists)), [len(entries) for entries in lists])
        value = _numeric(pd.Series(list(chain.from_iterable(lists)), dtype=object))
        good = np.ones(len(lists), dtype=bool)
        good[row[~is_integer(value, minimum)]] = False
        self._check(column, good, f"a list of integers >= {minimum}")
        return row, value.astype(np.int64)

    def error(self, row: int, problem: str) -> InputError:
        r"""Returns the error that names the line of ``row``."""
        return InputError(f"'{self.path}', line {row + self.first_line}: {problem}")

    def _check(self, column: str, good: npt.NDArray[np.bool_], need: str) -> None:
        if not good.all():
            row = int(np.argmin(good))
            got = self.strings(column)[row][:40]
            raise self.error(row, f"'{column}' needs to be {need} (got '{got}')")


def is_integer(value: npt.NDArray[Any], minimum: int = 0) -> npt.NDArray[np.bool_]:
    r"""Whether each number is an integer of at least ``minimum`` that can be an id."""
    good: npt.NDArray[np.bool_] = (
        (value == np.floor(value)) & (value >= minimum) & (value <= LARGEST_ID)
    )
    return good


def _numeric(column: Any) -> npt.NDArray[np.float64]:
    value: npt.NDArray[np.float64] = pd.to_numeric(column, errors="coerce").to_numpy(
        np.float64, na_value=np.nan, copy=True
    )
    return value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
