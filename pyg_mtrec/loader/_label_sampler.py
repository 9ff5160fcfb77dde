import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader.batch import Batch
from pyg_mtrec.loader.edge_sampler import EdgeSampler

# Entries of the table of what is known, a byte each.
MOST_PAIRS = 1 << 29


class LabelSampler(EdgeSampler):
    r"""Edges of a relation to few destinations, all of which are scored: no negatives are drawn.

    Args:
        data: The graph.
        edge_type: The relation ``(node, name, label)``.
        generator: Of the loader's other samplers; nothing is drawn from it.

    Raises:
        InputError: If the relation is missing, an id is out of range, or there are too many labels
            for a table of all pairs.
    """

    def __init__(self, data: HeteroData, edge_type: EdgeType, generator: torch.Generator) -> None:
        super().__init__(data, edge_type, generator, num_negatives=0)
        num_src, num_dst = self._sizes
        if num_src * num_dst > MOST_PAIRS:
            raise InputError(
                f"{edge_type} has {num_src} x {num_dst} possible pairs, too many to score all"
                " labels: draw vertices instead (negatives='vertices')"
            )
        self._known = torch.zeros(num_src, num_dst, dtype=torch.bool, device=self._src.device)
        self._known[self._src, self._dst] = True

    def sample(self, index: Tensor, size: int) -> Batch:
        batch = super().sample(index, size)
        batch.src_known = self._known
        return batch

    def full(self) -> Batch:
        batch = super().full()
        batch.src_known = self._known
        return batch
