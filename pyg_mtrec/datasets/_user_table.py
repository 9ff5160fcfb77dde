"""One table of the user's: read strictly, and blamed with its name and row."""

import csv
import difflib
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pyg_mtrec._errors import InputError

Table: TypeAlias = pd.DataFrame | str | os.PathLike[str]
Integers: TypeAlias = NDArray[np.int64]

# Zeros in front make an id a string: "007" is not 7. "7.0" is what a column with gaps is saved as.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.0*)?")


@dataclass
class IdColumn:
    r"""The ids of one column: distinct values, and which of them every row holds."""

    table: "UserTable"
    name: str
    node_type: str
    codes: Integers
    values: Integers | list[str]

    def __post_init__(self) -> None:
        #: The node of every row; its code until nodes are numbered.
        self.nodes = self.codes

    def blame(self, bad: NDArray[np.bool_], message: str) -> NoReturn:
        r"""Raises for the first row with one of the values marked in ``bad``."""
        row = int(np.argmax(bad[self.codes]))
        value = self.values[int(self.codes[row])]
        self.table.blame(row, f"'{self.name}' {message} (got {value})")


class UserTable:
    r"""A DataFrame, or a CSV or TSV file.

    Args:
        source: The table or its path.
        label: What to call a DataFrame in messages.
        ids: Names of the columns of ids; all are needed.
        needed: Names of further columns that are needed.
        optional: Names of columns that are read if they are there, :obj:`None` for all.
        sep: Separator of a file (default: tab if its name says TSV, else comma).
    """

    def __init__(
        self,
        source: Table,
        label: str,
        ids: Sequence[str],
        needed: Sequence[str] = (),
        optional: Sequence[str] | None = (),
        sep: str | None = None,
    ) -> None:
        wanted = [*ids, *needed]
        if isinstance(source, pd.DataFrame):
            self.label = f"table '{label}'"
            self._need(wanted, [str(name) for name in source.columns])
            self.frame = source
        elif isinstance(source, str | os.PathLike):
            self.label = f"'{os.fspath(source)}'"
            useful = None if optional is None else {*wanted, *optional}
            self.frame = self._read(Path(source), wanted, useful, ids, label, sep)
        else:
            raise InputError(
                f"'{label}' needs to be a DataFrame or the path of a CSV or TSV file"
                f" (got {type(source).__name__})"
            )
        if not len(self.frame):
            raise InputError(f"{self.label} has no rows: give at least one, or leave it out")

    def __contains__(self, name: str) -> bool:
        return name in self.frame.columns

    def __len__(self) -> int:
        return len(self.frame)

    def blame(self, row: int, message: str) -> NoReturn:
        r"""Raises an error that names the table and the row, counted from 1 below the header."""
        raise InputError(f"{self.label}, row {row + 1}: {_line(message)}")

    def ids(self, name: str, node_type: str) -> IdColumn:
        r"""Returns a column of ids: all integers, or else all strings."""
        codes, distinct = pd.factorize(self.frame[name])
        codes = codes.astype(np.int64)
        if (codes < 0).any():
            self.blame(int(np.argmax(codes < 0)), f"'{name}' is missing")
        values: Any = np.asarray(distinct)
        if values.dtype.kind in "iu" and (values <= np.iinfo(np.int64).max).all():
            return IdColumn(self, name, node_type, codes, values.astype(np.int64))
        texts = [str(value).strip() for value in values.tolist()]
        column = IdColumn(self, name, node_type, codes, texts)
        if values.dtype.kind == "f":  # integers of a column with gaps: exact up to 2^53
            bad = ~((values == np.floor(values)) & (np.abs(values) <= 2.0**53))
            if bad.any():
                column.blame(bad, "is no integer that a float holds exactly")
            column.values = values.astype(np.int64)
        elif "" in texts:
            column.blame(np.array([not text for text in texts]), "is missing")
        elif all(_INTEGER.fullmatch(text) for text in texts):
            column.values = np.array([int(text.partition(".")[0]) for text in texts], np.int64)
        return column

    def ratings(self, name: str) -> NDArray[np.float32]:
        r"""Returns a column of finite numbers."""
        with np.errstate(over="ignore"):
            numbers = pd.to_numeric(self.frame[name], errors="coerce")
            out: NDArray[np.float32] = numbers.to_numpy(np.float64, na_value=np.nan).astype("f4")
        self.check(name, np.isfinite(out), "a number")
        return out

    def times(self, name: str) -> Integers:
        r"""Returns a column of times: numbers as they are, dates in seconds since 1970."""
        column = self.frame[name]
        out: Integers
        if not pd.api.types.is_datetime64_any_dtype(column):
            numbers = pd.to_numeric(column, errors="coerce")
            if numbers.notna().any():
                value = numbers.to_numpy(np.float64, na_value=np.nan)
                self.check(name, np.abs(value) < 2.0**63, "a number")
                out = numbers.to_numpy().astype(np.int64)  # not through floats: all digits count
                return out
            column = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
        self.check(name, column.notna().to_numpy(bool), "a number or an ISO 8601 date")
        if column.dt.tz is not None:
            column = column.dt.tz_convert(None)
        out = column.to_numpy("datetime64[s]").astype(np.int64)
        return out

    def check(self, name: str, good: NDArray[np.bool_], need: str) -> None:
        r"""Raises for the first row of a column that is not marked in ``good``."""
        if not good.all():
            row = int(np.argmin(good))
            self.blame(row, f"'{name}' needs to be {need} (got {self.frame[name].iloc[row]})")

    def _need(self, wanted: Sequence[str], found: list[str]) -> None:
        for name in wanted:
            if found.count(name) > 1 or wanted.count(name) > 1:
                raise InputError(f"{self.label} needs one column '{name}' for one purpose")
            if name not in found:
                near = difflib.get_close_matches(name.lower(), found, 1, 0.5)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                raise InputError(
                    f"{self.label} needs a column '{name}' (found {_line(', '.join(found))}{hint})"
                )

    def _read(
        self,
        path: Path,
        wanted: Sequence[str],
        useful: set[str] | None,
        ids: Sequence[str],
        argument: str,
        sep: str | None,
    ) -> pd.DataFrame:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"{self.label} {what}: '{argument}' needs a CSV or TSV file")
        tabs = {".tsv", ".tab"} & {suffix.lower() for suffix in path.suffixes}
        options: dict[str, Any] = {
            "sep": sep or ("\t" if tabs else ","),
            "skipinitialspace": True,
            "encoding": "utf-8-sig",
            "index_col": False,
        }
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # surplus cells
                found = [str(name) for name in pd.read_csv(path, nrows=0, **options).columns]
                self._need(wanted, found)
                # All columns are read: with `usecols` pandas drops surplus cells in silence.
                frame = pd.read_csv(
                    path,
                    dtype=dict.fromkeys(ids, str),  # "007" stays what it is
                    low_memory=False,
                    **options,
                )
                return frame[[name for name in found if useful is None or name in useful]]
        except pd.errors.EmptyDataError:
            raise InputError(f"{self.label} is empty: it needs a line of column names") from None
        except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
            raise InputError(f"{self.label} has lines of unequal length ({_line(error)})") from None
        except (OSError, EOFError, UnicodeError) as error:
            raise InputError(f"{self.label} cannot be read as text ({_line(error)})") from None


def _line(text: object) -> str:
    return " ".join(str(text).split())[:150]
