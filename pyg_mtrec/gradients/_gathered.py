from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.encoders import Representations


class Gathered:
    r"""The touched rows of one matrix, and where gradients of what is read from them add up.

    Autograd would return each look-up's gradient as a matrix of all rows and add those up; here
    every look-up adds its few rows to one buffer, which the caller clears and owns.

    Args:
        rows: The rows :math:`[R, d]`, a leaf.
        sink: Receives the gradient :math:`[R, d]`.
    """

    def __init__(self, rows: Tensor, sink: Tensor) -> None:
        self.rows, self.sink = rows, sink

    def __call__(self, slot: Tensor) -> Tensor:
        out: Tensor = _Read.apply(self.rows, slot, self.sink)  # type: ignore[no-untyped-call]
        return out


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, slot: Tensor, sink: Tensor) -> Tensor:
        ctx.slot, ctx.sink = slot, sink
        return rows.index_select(0, slot)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:
        ctx.sink.index_add_(0, ctx.slot, grad)
        return None, None, None


class GatheredRepresentations(Representations):
    r"""What one task sees of a step: its rows, cut off from the encoder, read by global node ids.

    Args:
        x_dict: Node type to gathered representations, or to all of them (a leaf).
        tables: Node type to gathered rows of the embedding tables, or to all of them.
        slots: Node type to the place :math:`[N]` of each touched row among the gathered ones;
            other entries are stale and must not be read (default: the rows are whole tables).
        whole: Node types whose gathered rows are all rows, in order.
    """

    def __init__(
        self,
        x_dict: Mapping[str, Gathered | Tensor],
        tables: Mapping[str, Gathered | Tensor],
        slots: Mapping[str, Tensor] | None = None,
        whole: Collection[str] = (),
    ) -> None:
        super().__init__({name: _tensor(entry) for name, entry in x_dict.items()})
        self._gathered, self._tables, self._slots = x_dict, tables, slots
        self._whole = whole

    def rows(self, node_type: str, index: Tensor, task: str | None = None) -> Tensor:
        return self._read(self._gathered[node_type], node_type, index)

    def matrix(self, node_type: str, task: str | None = None) -> Tensor:
        return self._matrix(self._gathered[node_type], node_type)

    def table_rows(self, node_type: str, index: Tensor) -> Tensor:
        r"""Returns rows of the embedding table, whatever the encoder makes of them.

        Args:
            node_type: The node type.
            index: Node ids of any shape :math:`(*)`.
        """
        return self._read(self._tables[node_type], node_type, index)

    def table(self, node_type: str) -> Tensor:
        r"""Returns the embedding table, for a task whose ``node_ids`` asked for all nodes.

        Args:
            node_type: The node type.
        """
        return self._matrix(self._tables[node_type], node_type)

    def _read(self, entry: Gathered | Tensor, node_type: str, index: Tensor) -> Tensor:
        slot = index.reshape(-1)
        if isinstance(entry, Tensor):
            return entry.index_select(0, slot).view(*index.shape, -1)
        if self._slots is not None:
            slot = self._slots[node_type].index_select(0, slot)
        return entry(slot).view(*index.shape, -1)

    def _matrix(self, entry: Gathered | Tensor, node_type: str) -> Tensor:
        if isinstance(entry, Gathered) and node_type not in self._whole:
            raise InputError(
                f"a task reads the matrix of {node_type!r}, of which its batch looks up some rows"
                " only: let its 'node_ids' return None for this node type"
            )
        return _tensor(entry)


def _tensor(entry: Gathered | Tensor) -> Tensor:
    return entry if isinstance(entry, Tensor) else entry.rows
