from collections.abc import Mapping, Sequence

from torch import Tensor
from torch_geometric.typing import Adj, EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.conv.lg_conv import LGConv
from pyg_mtrec.nn.encoders._propagate import named_types, operators, propagate
from pyg_mtrec.nn.encoders.encoder import Encoder
from pyg_mtrec.nn.encoders.representations import Representations


class LightGCN(Encoder):
    r"""`LightGCN <https://arxiv.org/abs/2002.02126>`_: a weighted mean of propagated tables.

    .. math::
        \mathbf{E}^{(l+1)} = \hat{\mathbf{A}} \mathbf{E}^{(l)}, \qquad
        \mathbf{E} = \sum_{l=0}^{L} \alpha_l \mathbf{E}^{(l)}

    :math:`\hat{\mathbf{A}}` is the symmetrically normalised adjacency without self-loops. The mean
    includes the tables themselves (layer 0). Where there is nothing to receive, a node without
    edges or a node type that only sends, :math:`\mathbf{E}^{(l)} = 0` for :math:`l \geq 1`.

    Args:
        num_layers: Number of hops :math:`L`; with 0 this is :class:`MF`.
        alpha: Weight of every layer, or weights :math:`[L + 1]` (default: :math:`1 / (L + 1)`).

    Raises:
        InputError: If ``num_layers`` is negative or ``alpha`` does not hold one weight a layer.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import LightGCN, NodeEmbedding
        >>> x_dict = NodeEmbedding({"user": 2, "item": 3}, dim=8)()
        >>> edge_index = torch.tensor([[0, 0, 1], [0, 1, 1]])
        >>> adj_dict = {
        ...     ("user", "interacts", "item"): edge_index,
        ...     ("item", "rev_interacts", "user"): edge_index.flip(0),
        ... }
        >>> representations = LightGCN(num_layers=2)(x_dict, adj_dict)
        >>> representations.rows("item", torch.tensor([0, 2])).shape
        torch.Size([2, 8])
    """

    def __init__(self, num_layers: int = 3, alpha: float | Sequence[float] | None = None) -> None:
        super().__init__()
        if num_layers < 0:
            raise InputError(
                f"'num_layers' needs to be at least 0 in 'LightGCN' (got {num_layers})"
            )
        if alpha is None:
            alpha = 1 / (num_layers + 1)
        if not isinstance(alpha, Sequence):
            alpha = [float(alpha)] * (num_layers + 1)
        if len(alpha) != num_layers + 1:
            raise InputError(
                f"'alpha' needs to hold {num_layers + 1} weights in 'LightGCN', layer 0 first"
                f" (got {len(alpha)})"
            )
        self.num_layers = num_layers
        self.alpha = tuple(float(weight) for weight in alpha)
        self.local = num_layers == 0
        self.conv = LGConv(normalize=False)  # type: ignore[abstract]  # without weights, so one serves all layers

    def forward(
        self, x_dict: Mapping[str, Tensor], adj_dict: Mapping[EdgeType, Adj | Adjacency]
    ) -> Representations:
        relations = operators("LightGCN", x_dict, adj_dict) if self.num_layers > 0 else {}
        layer = {node_type: x_dict[node_type] for node_type in named_types(adj_dict)}
        out = dict(x_dict)
        for node_type, x in layer.items():
            out[node_type] = self.alpha[0] * x  # [N, d]
        for alpha in self.alpha[1:]:
            layer = propagate(self.conv, layer, relations)
            for node_type, x in layer.items():
                out[node_type].add_(x, alpha=alpha)  # a sum keeps no operand for its backward
        return Representations(out)

    def __repr__(self) -> str:
        return f"LightGCN(num_layers={self.num_layers})"
