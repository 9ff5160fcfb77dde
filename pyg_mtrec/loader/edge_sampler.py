from dataclasses import replace

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._relation import Positives, count_nodes, positives_of
from pyg_mtrec.loader.batch import Batch
from pyg_mtrec.loader.full_batch import FullBatch
from pyg_mtrec.loader.negative_sampler import NegativeSampler
from pyg_mtrec.loader.sampler import Sampler


class EdgeSampler(Sampler):
    r"""Supervised edges of one relation, with uniform negatives outside of them.

    What supervises are the positive pairs of ``edge_label_index`` where a split made one, else
    ``edge_index``; links of a node to itself are left out. Negatives avoid these pairs only (and
    the source itself, if both ends have one type): held-out pairs can be drawn like any other.

    As an anchored auxiliary sampler it takes the very edges of the main task's batch, which must
    be of the same relation.

    Args:
        data: The graph, as a rule the training graph of a split.
        edge_type: The relation ``(source, name, destination)``.
        generator: Source of all randomness, on the device of the data.
        num_negatives: Independent negatives per edge; none leaves ``dst_neg_index`` out.
        avoid_positives: Whether negatives avoid the positives; otherwise they are uniform over all
            destinations.
        reverse: Whether batches hold the edges from destination to source, as
            ``(destination, rev_name, source)``.
        attrs: Edge attributes (``"rating"``, ``"time"``) for ``edge_label``. The pairs are then
            found in ``edge_label_index``, and without negatives nowhere else.
        anchored: Whether, as an auxiliary task, it takes the main batch's edges.

    Raises:
        InputError: If the relation or an attribute is missing, or an id is out of range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.loader import EdgeSampler
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 2, 3
        >>> main = ("user", "interacts", "item")
        >>> data[main].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
        >>> sampler = EdgeSampler(data, main, torch.Generator().manual_seed(0))
        >>> batch = sampler.sample(torch.tensor([1, 0]), size=2)
        >>> batch.src_index, batch.dst_pos_index, batch.dst_neg_index
        (tensor([0, 0]), tensor([1, 0]), tensor([2, 2]))
    """

    def __init__(
        self,
        data: HeteroData,
        edge_type: EdgeType,
        generator: torch.Generator,
        num_negatives: int = 1,
        attrs: tuple[str, ...] = (),
        anchored: bool = False,
        avoid_positives: bool = True,
        reverse: bool = False,
    ) -> None:
        if num_negatives < 0:
            raise InputError(
                f"'num_negatives' needs to be at least 0 in {type(self).__name__!r}"
                f" (got {num_negatives})"
            )
        found: Positives = positives_of(data, edge_type, attrs)
        src, dst = found.edge_index.long().flip(0) if reverse else found.edge_index.long()
        if reverse:
            edge_type = (edge_type[2], f"rev_{edge_type[1]}", edge_type[0])
        super().__init__(edge_type, src.numel(), generator, anchored, src.device)
        self.num_negatives = num_negatives
        self._src, self._dst = src.contiguous(), dst.contiguous()
        self._labels = [found.attrs[name].float() for name in attrs]
        self._sizes = count_nodes(data, edge_type[0]), count_nodes(data, edge_type[2])
        self._full: FullBatch | None = None
        self.negatives: NegativeSampler | None = None
        if num_negatives:
            seen = torch.stack([src, dst])[:, : None if avoid_positives else 0]
            if edge_type[0] == edge_type[2]:
                itself = torch.arange(self._sizes[0], device=src.device).expand(2, -1)
                seen = torch.cat([seen, itself], dim=1)
            self.negatives = NegativeSampler(seen, *self._sizes)

    def sample(self, index: Tensor, size: int) -> Batch:
        src, dst = self._src[index], self._dst[index]  # [b]
        batch = self.triplets(src, dst, size)
        batch.edge_id = index
        if self._labels:
            labels = [label[index] for label in self._labels]
            batch.edge_label_index = torch.stack([src, dst])
            batch.edge_label = labels[0] if len(labels) == 1 else torch.stack(labels, dim=1)
            if self.negatives is None:
                batch.src_index = batch.dst_pos_index = None
        return batch

    def full(self) -> Batch:
        if self._labels:
            return super().full()
        if self._full is None:
            self._full = FullBatch.from_edges(self.edge_type, self._src, self._dst, *self._sizes)
        batch = replace(self._full)
        self._add_negatives(batch)
        return batch

    def sample_anchored(self, main: Batch, size: int) -> Batch:
        if main.edge_id is None:
            raise InputError(
                f"the main batch of {main.edge_type} needs 'edge_id' to share its edges"
                " (use anchored=False)"
            )
        return self.full() if isinstance(main, FullBatch) else self.sample(main.edge_id, size)

    def check_main(self, main: Sampler) -> None:
        if main.edge_type != self.edge_type or main.num_edges != self.num_edges:
            raise InputError(
                f"{type(self).__name__!r} shares the main task's edges, which need to be the"
                f" {self.num_edges} of {self.edge_type} (got {main.num_edges} of {main.edge_type});"
                " use anchored=False"
            )

    def triplets(self, src: Tensor, dst: Tensor, size: int, weight: Tensor | None = None) -> Batch:
        r"""Adds negatives to positive pairs.

        Args:
            src: Sources :math:`[b]`.
            dst: Positive destinations :math:`[b]`.
            size: The nominal batch size.
            weight: Weights :math:`[b]` of the pairs (default: all one).

        Returns:
            The batch, with weight 0 also where the source has no negative.
        """
        batch = Batch(self.edge_type, size, src, dst, weight=weight)
        self._add_negatives(batch)
        return batch

    def _add_negatives(self, batch: Batch) -> None:
        if self.negatives is not None:
            assert batch.src_index is not None
            batch.dst_neg_index, drawn = self.negatives.sample(
                batch.src_index, self.generator, self.num_negatives
            )
            batch.weight = drawn if batch.weight is None else batch.weight * drawn
