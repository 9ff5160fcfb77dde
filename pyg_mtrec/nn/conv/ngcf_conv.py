from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import leaky_relu
from torch_geometric.typing import Adj, OptPairTensor, OptTensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._neighbor_sum import NeighborSum
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.embedding._init import xavier_uniform_


class NGCFConv(NeighborSum):
    r"""The layer of `NGCF <https://arxiv.org/abs/1905.08108>`_.

    .. math::
        \mathbf{m}_i = \sum_{j \in \mathcal{N}(i)}
        \frac{e_{j,i}}{\sqrt{d_i d_j}} \mathbf{x}_j, \qquad
        \mathbf{x}_i^{\prime} = \mathrm{LeakyReLU} \left(
        (\mathbf{m}_i + s_i \mathbf{x}_i) \mathbf{W}_1
        + (\mathbf{m}_i \odot \mathbf{x}_i) \mathbf{W}_2 \right)

    The weight :math:`s_i` of a node's own message is 1. The product :math:`\odot` sees neighbours
    only, and the activation acts once, on the sum.

    Args:
        in_channels: Width of the input.
        out_channels: Width of the output.
        bias: Adds a bias before the activation; the paper has none.
        negative_slope: Slope of the activation below zero.
        normalize: Divides by the roots of the degrees, as in :class:`LGConv`.
        **kwargs: Arguments of :class:`torch_geometric.nn.MessagePassing`.

    Raises:
        InputError: If a width is not positive.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import NGCFConv
        >>> conv = NGCFConv(16, 32)
        >>> conv
        NGCFConv(16, 32)
        >>> edge_index = torch.tensor([[0, 0, 1], [0, 1, 1]])  # users to items
        >>> conv((torch.randn(2, 16), torch.randn(3, 16)), edge_index).shape
        torch.Size([3, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = False,
        negative_slope: float = 0.2,
        normalize: bool = True,
        **kwargs: Any,
    ) -> None:
        for name, width in (("in_channels", in_channels), ("out_channels", out_channels)):
            if width < 1:
                raise InputError(f"'{name}' needs to be positive in 'NGCFConv' (got {width})")
        super().__init__(normalize, **kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.negative_slope = negative_slope
        self.weight_sum = Parameter(torch.empty(in_channels, out_channels))
        self.weight_product = Parameter(torch.empty(in_channels, out_channels))
        self.bias = Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        r"""Draws the weights from Xavier's uniform law and sets the bias to zero.

        Args:
            generator: Source of randomness (default: torch's global one, as in PyG's layers).
        """
        super().reset_parameters()
        xavier_uniform_(self.weight_sum, generator)
        xavier_uniform_(self.weight_product, generator)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        edge_index: Adj | Adjacency,
        edge_weight: OptTensor = None,
        self_weight: OptTensor = None,
    ) -> Tensor:
        r"""Sums the neighbours and transforms the sum.

        Args:
            x: Node rows :math:`[N, d]`, or those of sources and destinations
                :math:`([S, d], [D, d])`.
            edge_index: The graph, in any of the forms that :class:`LGConv` takes.
            edge_weight: Weights :math:`[E]` of an edge list (default: one).
            self_weight: Weights :math:`[D, 1]` of the nodes' own messages (default: one).

        Returns:
            Destination rows :math:`[D, d^{\prime}]`.

        Raises:
            InputError: If sizes do not fit, or if a matrix comes with ``edge_weight``.
        """
        pair: OptPairTensor = (x, x) if isinstance(x, Tensor) else x
        if pair[1] is None:
            raise InputError("'x' of the destinations needs to be given in 'NGCFConv' (got None)")
        return self.transform(
            self.sum_neighbors(pair, edge_index, edge_weight), pair[1], self_weight
        )

    def transform(self, message: Tensor, x: Tensor, self_weight: OptTensor = None) -> Tensor:
        r"""Turns the sum over neighbours into the output, the second half of the layer.

        Args:
            message: Sums over neighbours :math:`[D, d]`.
            x: Destination rows :math:`[D, d]`.
            self_weight: Weights :math:`[D, 1]` of the nodes' own messages (default: one).

        Returns:
            Destination rows :math:`[D, d^{\prime}]`.
        """
        own = x if self_weight is None else self_weight * x  # [D, d]
        out = (message + own) @ self.weight_sum + (message * x) @ self.weight_product  # [D, d']
        if self.bias is not None:
            out = out + self.bias
        return leaky_relu(out, self.negative_slope)
