"""Columns of features that lie on users, on items and on the impressions themselves."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError


class FeatureColumns:
    r"""Features of one kind, gathered for the rows of a batch.

    Args:
        kind: ``"categorical"`` or ``"numeric"``.
        sides: Label, store, attribute and number of rows of every part, in order. The label comes
            before the columns' names; that of the impressions is empty.
    """

    def __init__(self, kind: str, sides: Sequence[tuple[str, Any, str, int]]) -> None:
        self.names: list[str] = []
        self.parts: list[tuple[str, Tensor]] = []
        for label, store, attribute, size in sides:
            if attribute not in store:
                continue
            column, names = store[attribute], list(store.get(f"{kind}_names") or ())
            floating = kind == "numeric"
            if (
                not isinstance(column, Tensor)
                or column.shape != (size, len(names))
                or column.is_floating_point() != floating
            ):
                found = list(column.shape) if isinstance(column, Tensor) else type(column).__name__
                raise InputError(
                    f"{attribute!r} of {label or 'the impressions'} needs to be"
                    f" {'float32' if floating else 'int64'} of shape [{size}, {len(names)}], one"
                    f" column for each of '{kind}_names' (got {found})"
                )
            if names:
                self.names += [f"{label}.{name}" if label else name for name in names]
                self.parts.append((label, column))

    def gather(self, rows: dict[str, Tensor]) -> Tensor | None:
        r"""Returns the columns :math:`[B, F]`, given the rows of every side.

        A side without rows is missing: negative, or NaN.
        """
        size = next(iter(rows.values())).numel()
        found = [
            column.index_select(0, rows[label])
            if label in rows
            else column.new_full(
                (size, column.size(1)), float("nan") if column.is_floating_point() else -1
            )
            for label, column in self.parts
        ]
        return torch.cat(found, dim=1) if found else None
