import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.loader._relation import count_nodes
from pyg_mtrec.loader.batch import Batch
from pyg_mtrec.loader.edge_sampler import EdgeSampler
from pyg_mtrec.loader.sampler import Sampler


class SharedNegativeSampler(EdgeSampler):
    r"""Supervised edges of one relation, with uniform destinations that all edges share.

    They are drawn once a step, with replacement and whoever links to them.

    Args:
        data: The graph, as a rule the training graph of a split.
        edge_type: The relation ``(source, name, destination)``.
        generator: Source of all randomness, on the device of the data.
        num_shared: Shared destinations per step; none leaves ``dst_neg_index`` out.
        log_q: Whether batches hold ``dst_log_q``.
        anchored: Whether, as an auxiliary task, it takes the main batch's edges.

    Raises:
        InputError: If the relation is missing or an id is out of range.
    """

    def __init__(
        self,
        data: HeteroData,
        edge_type: EdgeType,
        generator: torch.Generator,
        num_shared: int,
        log_q: bool = False,
        anchored: bool = True,
    ) -> None:
        super().__init__(data, edge_type, generator, num_negatives=0, anchored=anchored)
        self.num_shared, self._num_dst = num_shared, count_nodes(data, edge_type[2])
        self._log_q: Tensor | None = None
        if log_q:
            degree = torch.bincount(self._dst, minlength=self._num_dst)
            # Another pair of the batch is one of the other edges.
            self._log_q = (degree / max(1, self.num_edges - 1)).log()

    def sample(self, index: Tensor, size: int) -> Batch:
        batch = super().sample(index, size)
        if self.num_shared:
            batch.dst_neg_index = torch.randint(
                self._num_dst,
                (1, self.num_shared),
                generator=self.generator,
                device=self.generator.device,
            )
        if self._log_q is not None:
            batch.dst_log_q = self._log_q[batch.dst_pos_index]
        return batch

    def full(self) -> Batch:
        return Sampler.full(self)  # shared destinations make no triplets to sort
