from dataclasses import dataclass

from torch import Tensor
from torch_geometric.index import index2ptr
from torch_geometric.typing import EdgeType

from pyg_mtrec.loader.batch import Batch


@dataclass
class FullBatch(Batch):
    r"""All edges of a relation in one batch, sorted by source, for losses over whole matrices.

    A loss over hundreds of thousands of edges would copy a row for every end of every edge. In
    this order it is a few sparse products instead: the edges are the entries of a CSR matrix
    :math:`[S, D]`, and ``by_dst`` makes its transpose of it.

    Args:
        src_ptr: Where each source's edges begin :math:`[S + 1]`.
        by_dst: Positions :math:`[E]` of the edges in the order of their positive destinations.
        dst_ptr: Where each destination's edges begin in that order :math:`[D + 1]`.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import FullBatch
        >>> src, dst = torch.tensor([0, 0, 2]), torch.tensor([1, 0, 1])
        >>> batch = FullBatch.from_edges(("user", "likes", "item"), src, dst, 3, 2)
        >>> batch.src_ptr, batch.by_dst, batch.dst_ptr
        (tensor([0, 2, 2, 3]), tensor([1, 0, 2]), tensor([0, 1, 3]))
        >>> batch.node_ids()  # all of them
        {'user': None, 'item': None}
    """

    src_ptr: Tensor | None = None
    by_dst: Tensor | None = None
    dst_ptr: Tensor | None = None

    @classmethod
    def from_edges(
        cls, edge_type: EdgeType, src: Tensor, dst: Tensor, num_src: int, num_dst: int
    ) -> "FullBatch":
        r"""Makes the batch of positives, without negatives.

        Args:
            edge_type: The relation ``(source, name, destination)``.
            src: Sources :math:`[E]` in any order.
            dst: Destinations :math:`[E]`.
            num_src: Number of source nodes :math:`S`.
            num_dst: Number of destination nodes :math:`D`.
        """
        order = src.argsort(stable=True)
        src, dst = src[order], dst[order]
        by_dst = dst.argsort(stable=True)
        return cls(
            edge_type,
            max(1, src.numel()),
            src,
            dst,
            edge_id=order,
            src_ptr=index2ptr(src, num_src),
            by_dst=by_dst,
            dst_ptr=index2ptr(dst[by_dst], num_dst),
        )

    def node_ids(self) -> dict[str, Tensor | None]:
        r"""Returns both node types with :obj:`None`, which stands for all nodes."""
        src, _, dst = self.edge_type
        return {src: None, dst: None}
