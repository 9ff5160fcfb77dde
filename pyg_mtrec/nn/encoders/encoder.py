from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor
from torch_geometric.typing import Adj, EdgeType

from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.encoders.representations import Representations


class Encoder(torch.nn.Module, ABC):
    r"""Propagates tables along relations; owns weights of layers, never tables.

    The graph comes as edge type to operator. A matrix (:class:`~pyg_mtrec.nn.Adjacency`, CSR,
    :class:`torch_sparse.SparseTensor`; rows are destinations) is used as it is, so it has to be
    normalised: :class:`~pyg_mtrec.transforms.NormalizedAdjacency` does that once, and
    :meth:`Adjacency.dict_from` collects the result. An edge list (``edge_index``,
    :class:`~torch_geometric.EdgeIndex`) is normalised in every forward pass.
    Messages of several relations with the same destination add up. A node type that no relation
    names keeps its table unchanged.
    """

    local: bool = False
    r"""Whether a node's representation depends on no other node's row."""

    def out_dim(self, dim: int) -> int:
        r"""Returns the width of the representations of tables of some width.

        Args:
            dim: Width of the tables.
        """
        return dim

    @abstractmethod
    def forward(
        self, x_dict: Mapping[str, Tensor], adj_dict: Mapping[EdgeType, Adj | Adjacency]
    ) -> Representations:
        r"""Propagates.

        Args:
            x_dict: Node type to table :math:`[N, d]`.
            adj_dict: Edge type to operator :math:`[D, S]` or edge list :math:`[2, E]`.

        Returns:
            Node type to representations :math:`[N, d^{\prime}]`.
        """
