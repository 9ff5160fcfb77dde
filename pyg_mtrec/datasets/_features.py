"""Features: columns of users, of items and of the moment, as raw as the tables have them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pyg_mtrec.datasets._columns import Floats, is_numeric, levels, numbers
from pyg_mtrec.datasets._user_table import Integers, UserTable


@dataclass
class Features:
    r"""Columns by name: categories with their levels (-1 missing), and numbers (NaN missing)."""

    categorical: dict[str, tuple[Integers, list[str]]] = field(default_factory=dict)
    numeric: dict[str, Floats] = field(default_factory=dict)

    @classmethod
    def read(cls, table: UserTable, columns: Iterable[str]) -> "Features":
        r"""Reads columns of a table: numbers as numbers, everything else as categories."""
        out = cls()
        for name in columns:
            if is_numeric(table, name):
                out.numeric[name] = numbers(table, name)
            else:
                out.categorical[name] = levels(table, name)
        return out

    def spread(self, rows: Integers, size: int) -> "Features":
        r"""Returns columns of ``size`` rows, in which row ``rows[i]`` is row ``i`` of these."""
        out = Features()
        for name, (codes, found) in self.categorical.items():
            wide = np.full(size, -1, np.int64)
            wide[rows] = codes
            out.categorical[name] = wide, found
        for name, value in self.numeric.items():
            out.numeric[name] = np.full(size, np.nan)
            out.numeric[name][rows] = value
        return out

    def take(self, rows: Integers) -> "Features":
        r"""Returns columns of the given rows."""
        return Features(
            {name: (codes[rows], found) for name, (codes, found) in self.categorical.items()},
            {name: value[rows] for name, value in self.numeric.items()},
        )

    def write(self, store: Any) -> None:
        r"""Puts the columns side by side on a store; nothing where there are none."""
        if self.categorical:
            codes = [codes for codes, _ in self.categorical.values()]
            store.categorical = torch.from_numpy(np.stack(codes, axis=1))  # [n, F]
            store.categorical_names = list(self.categorical)
            store.categorical_levels = {
                name: found for name, (_, found) in self.categorical.items()
            }
        if self.numeric:
            value = np.stack(list(self.numeric.values()), axis=1).astype(np.float32)
            store.numeric = torch.from_numpy(value)  # [n, F]
            store.numeric_names = list(self.numeric)
