from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter, ParameterDict
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.embedding._init import xavier_uniform_


class NodeEmbedding(torch.nn.Module):
    r"""One table of learned rows per node type.

    Args:
        num_nodes_dict: Node type to number of rows :math:`N`.
        dim: Width :math:`d` of every table.
        generator: Source of the first values, drawn from Xavier's uniform law
            :math:`\pm \sqrt{6 / (N + d)}` table by table (default: a generator seeded with 0).

    Raises:
        InputError: If ``dim`` is not positive, if a number of rows is negative or if a node type
            cannot be the name of a parameter.

    Example:
        >>> from pyg_mtrec.nn import NodeEmbedding
        >>> embedding = NodeEmbedding({"user": 3, "item": 5}, dim=8)
        >>> embedding
        NodeEmbedding({'user': 3, 'item': 5}, dim=8)
        >>> embedding()["item"].shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        num_nodes_dict: Mapping[str, int],
        dim: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise InputError(f"'dim' needs to be positive in 'NodeEmbedding' (got {dim})")
        for node_type, num_nodes in num_nodes_dict.items():
            if num_nodes < 0:
                raise InputError(
                    f"'num_nodes' of '{node_type}' needs to be at least 0 in 'NodeEmbedding'"
                    f" (got {num_nodes})"
                )
            if not node_type.isidentifier() or hasattr(ParameterDict, node_type):
                raise InputError(
                    f"a node type needs to be an identifier other than a dict's methods in"
                    f" 'NodeEmbedding' (got '{node_type}'): rename it"
                )
        self.dim = dim
        self.weight_dict = ParameterDict()
        for node_type, num_nodes in num_nodes_dict.items():  # a dict given at once gets sorted
            self.weight_dict[node_type] = Parameter(torch.empty(num_nodes, dim))
        self.reset_parameters(generator)

    @classmethod
    def from_data(
        cls,
        data: HeteroData,
        dim: int,
        node_types: Sequence[str] = ("user", "item"),
        seed: int = 0,
    ) -> NodeEmbedding:
        r"""Makes the tables of a graph's nodes.

        Args:
            data: The graph.
            dim: Width :math:`d` of every table.
            node_types: The node types that get a table.
            seed: Seed of the first values.

        Raises:
            InputError: If the graph lacks a node type.
        """
        for node_type in node_types:
            if node_type not in data.node_types:
                raise InputError(
                    f"'node_types' needs to name node types of the graph in 'NodeEmbedding'"
                    f" (got '{node_type}', the graph has {', '.join(data.node_types) or 'none'})"
                )
        num_nodes_dict = {node_type: int(data[node_type].num_nodes) for node_type in node_types}
        return cls(num_nodes_dict, dim, torch.Generator().manual_seed(seed))

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        r"""Draws all tables anew.

        Args:
            generator: Source of randomness (default: a generator seeded with 0).
        """
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        for weight in self.weight_dict.values():
            xavier_uniform_(weight, generator)

    def forward(self) -> dict[str, Tensor]:
        r"""Returns node type to table :math:`[N, d]`, the parameters themselves."""
        return dict(self.weight_dict.items())

    def __repr__(self) -> str:
        sizes = {node_type: weight.size(0) for node_type, weight in self.weight_dict.items()}
        return f"NodeEmbedding({sizes}, dim={self.dim})"
