from collections.abc import Mapping

import torch
from torch import Tensor

from pyg_mtrec.nn.encoders import Representations


class GatheredRepresentations(Representations):
    r"""Representations of the touched rows only, read by global node ids.

    Args:
        x_dict: Node type to gathered rows :math:`[R, d]`.
        slots: Node type to the position :math:`[N]` of each touched row in ``x_dict``; other
            entries are stale and must not be read.
        tables: Node type to the gathered rows :math:`[R, d]` of the embedding tables.
    """

    def __init__(
        self,
        x_dict: Mapping[str, Tensor],
        slots: Mapping[str, Tensor],
        tables: Mapping[str, Tensor],
    ) -> None:
        super().__init__(x_dict)
        self.slots = slots
        self.gathered_tables = tables

    def rows(self, node_type: str, index: Tensor, task: str | None = None) -> Tensor:
        return self._read(self.x_dict, node_type, index)

    def table_rows(self, node_type: str, index: Tensor) -> Tensor:
        return self._read(self.gathered_tables, node_type, index)

    def _read(self, x_dict: Mapping[str, Tensor], node_type: str, index: Tensor) -> Tensor:
        slot = self.slots[node_type][index]
        # index_select's backward is an index_add, several times faster than advanced indexing's.
        out = torch.index_select(x_dict[node_type], 0, slot.reshape(-1))
        return out.view(*index.shape, -1)
