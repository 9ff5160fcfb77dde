from typing import Any

from torch import Tensor
from torch_geometric.typing import Adj, OptPairTensor, OptTensor

from pyg_mtrec.nn.conv._neighbor_sum import NeighborSum
from pyg_mtrec.nn.conv.adjacency import Adjacency


class LGConv(NeighborSum):
    r"""The propagation of `LightGCN <https://arxiv.org/abs/2002.02126>`_.

    .. math::
        \mathbf{x}_i^{\prime} = \sum_{j \in \mathcal{N}(i)}
        \frac{e_{j,i}}{\sqrt{d_i d_j}} \mathbf{x}_j

    Takes the arguments of :class:`torch_geometric.nn.LGConv` and returns the same. Beyond it, it
    is bipartite, it takes an :class:`Adjacency`, and the backward pass of a matrix costs what its
    forward pass costs. The fast way is an :class:`Adjacency` normalised beforehand, with
    ``normalize=False``.

    Args:
        normalize: Divides by the roots of the degrees, which are sums of weights. In a bipartite
            graph sources count their outgoing edges; otherwise every degree is the incoming one,
            as in PyG. A node without edges gets zero.
        **kwargs: Arguments of :class:`torch_geometric.nn.MessagePassing`.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import LGConv
        >>> edge_index = torch.tensor([[0, 0, 1], [0, 1, 1]])  # users to items
        >>> x_user, x_item = torch.tensor([[1.0], [2.0]]), torch.zeros(3, 1)
        >>> LGConv()((x_user, x_item), edge_index)
        tensor([[0.7071],
                [1.9142],
                [0.0000]])
    """

    def __init__(self, normalize: bool = True, **kwargs: Any) -> None:
        super().__init__(normalize, **kwargs)

    def forward(
        self,
        x: Tensor | OptPairTensor,
        edge_index: Adj | Adjacency,
        edge_weight: OptTensor = None,
    ) -> Tensor:
        r"""Sums the neighbours.

        Args:
            x: Node rows :math:`[N, d]`, or those of sources and destinations
                :math:`([S, d], [D, d])`. Of destinations only the number counts; with a matrix
                they may be :obj:`None`.
            edge_index: The graph: an edge list :math:`[2, E]`, an
                :class:`~torch_geometric.EdgeIndex`, or a matrix :math:`[D, S]` whose rows are
                destinations (:class:`Adjacency`, :class:`torch.Tensor` in a sparse layout,
                :class:`torch_sparse.SparseTensor`).
            edge_weight: Weights :math:`[E]` of an edge list (default: one).

        Returns:
            Destination rows :math:`[D, d]`.

        Raises:
            InputError: If sizes do not fit, or if a matrix comes with ``edge_weight``.
        """
        pair = (x, x) if isinstance(x, Tensor) else x
        return self.sum_neighbors(pair, edge_index, edge_weight)  # [D, d]

    def __repr__(self) -> str:
        return f"LGConv(normalize={self.normalize})"
