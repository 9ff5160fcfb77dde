from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients._gathered import Gathered


class Direct(dict[str, Gathered | Tensor]):
    r"""What one task reads of the tables beside the encoder.

    A leaf is made when the task reads it, which few tasks do.

    Args:
        tables: Node type to table.
        ids: Node type to the rows that can be read, in the order of the task's slots, or
            :obj:`None` for all.
    """

    def __init__(self, tables: Mapping[str, Tensor], ids: Mapping[str, Tensor | None]) -> None:
        super().__init__()
        self._tables, self.ids = tables, ids
        self.sinks: dict[str, Tensor] = {}

    def __missing__(self, name: str) -> Gathered | Tensor:
        if name not in self._tables:
            raise InputError(
                f"a task reads rows of the table of {name!r}, but there is no table for node type"
                f" {name!r} (found {sorted(self._tables)})"
            )
        table, ids = self._tables[name].detach(), self.ids[name]
        if ids is None:
            self[name] = table.requires_grad_()
        else:
            rows = table.index_select(0, ids)
            self.sinks[name] = torch.zeros_like(rows)
            self[name] = Gathered(rows.requires_grad_(), self.sinks[name])
        return self[name]

    def leaves(self) -> list[tuple[Tensor, Callable[[Tensor], None]]]:
        r"""Returns every leaf that was made, and what takes its gradient."""
        return [
            (entry if isinstance(entry, Tensor) else entry.rows, partial(self._add, name))
            for name, entry in self.items()
        ]

    def _add(self, name: str, grad: Tensor) -> None:
        self.sinks[name] = self.sinks[name].add_(grad) if name in self.sinks else grad
