import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch_geometric.typing import Adj

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._attend import attend
from pyg_mtrec.nn.conv._hypergraph_sum import HypergraphSum
from pyg_mtrec.nn.conv._normalize import scale_rows
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.conv.incidence import Incidence


class TransitionalAttention(HypergraphSum):
    r"""The transitional attention of `UPRTH <https://arxiv.org/abs/2310.13286>`_.

    .. math::
        \mathbf{S} = \mathbf{H}^{\top} \mathbf{X}, \qquad
        a_{et} = \operatorname{softmax}_t \left(
        \frac{\langle b_e^{r} \mathbf{s}_e, \mathbf{k}_{et} \rangle}{\sqrt{d}} \right), \qquad
        \mathbf{c}_e = \sum_{t=1}^{T} a_{et} \mathbf{k}_{et}

    .. math::
        \mathbf{X}^{\prime} = \mathbf{X} + \beta \, \mathbf{D}^{p} \mathbf{H} \mathbf{B}^{-1}
        (\mathbf{S} + \alpha \tanh \mathbf{C})

    The hyperedges of one hypergraph (items over users, say) are nodes that :math:`T` auxiliary
    tasks have features of. Each hyperedge weighs the tasks by how well their features
    :math:`\mathbf{k}_{et}` fit what its vertices say, and passes the mixture on to its vertices.
    The layer has no parameters. Without a task (:math:`T = 0`) the term :math:`\mathbf{C}` is
    absent, and what remains is a second hop of :class:`HypergraphConv` with the weight
    :math:`\beta`. A vertex without hyperedges keeps its row.

    Args:
        query_exponent: The exponent :math:`r` of the hyperedges' degrees in the query: 0 for the
            sum over vertices, which the authors take, -1 for their mean. The sum grows with the
            degree, so that the softmax of a popular item is nearly hard.
        scale: Divisor of the inner products (default: :math:`\sqrt{d}`; the authors' is 8).
        alpha: Strength :math:`\alpha` of the attended features, inside the degree division.
        beta: Weight :math:`\beta` of the result beside the input.
        stop_gradient: Treats the tasks' features as constants.
        activation: ``"tanh"`` or :obj:`None`, on the attended features.
        vertex_exponent: The exponent :math:`p`.
        **kwargs: Arguments of :class:`torch_geometric.nn.MessagePassing`.

    Raises:
        InputError: If ``scale`` is not positive or ``activation`` is unknown.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import TransitionalAttention
        >>> hyperedge_index = torch.tensor([[0, 1, 1], [0, 0, 1]])  # two users, two items
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> category, also_bought = torch.eye(2), torch.zeros(2, 2)
        >>> conv = TransitionalAttention(scale=1.0)
        >>> out, attention = conv(x, hyperedge_index, (category, also_bought), True)
        >>> attention  # of items to tasks
        tensor([[0.7311, 0.2689],
                [0.7311, 0.2689]])
        >>> out.shape
        torch.Size([2, 2])
    """

    def __init__(
        self,
        query_exponent: float = 0.0,
        scale: float | None = None,
        alpha: float = 10.0,
        beta: float = 0.1,
        stop_gradient: bool = True,
        activation: str | None = "tanh",
        vertex_exponent: float = -1.0,
        **kwargs: Any,
    ) -> None:
        if scale is not None and not scale > 0:
            raise InputError(
                f"'scale' needs to be positive in 'TransitionalAttention' (got {scale})"
            )
        if activation not in ("tanh", None):
            raise InputError(
                "'activation' needs to be 'tanh' or None in 'TransitionalAttention' (got"
                f" {activation!r})"
            )
        super().__init__(**kwargs)
        self.query_exponent = query_exponent
        self.scale = scale
        self.alpha = alpha
        self.beta = beta
        self.stop_gradient = stop_gradient
        self.activation = activation
        self.vertex_exponent = vertex_exponent

    def forward(
        self,
        x: Tensor,
        hyperedge_index: Adj | Adjacency | Incidence,
        keys: Sequence[Tensor] | Tensor,
        return_attention_weights: bool | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        r"""Adds what the hyperedges take from the tasks.

        Args:
            x: Rows of vertices :math:`[N, d]`.
            hyperedge_index: The hypergraph, in any of the forms that :class:`HypergraphConv` takes.
            keys: The tasks' features of the hyperedges: a sequence of :math:`T` tensors
                :math:`[M, d]`, or a tensor :math:`[M, T, d]`. Neither is copied.
            return_attention_weights: Returns the attention as well.

        Returns:
            Rows of vertices :math:`[N, d]`; with ``return_attention_weights`` also the attention
            :math:`[M, T]`, whose rows sum to one.

        Raises:
            InputError: If sizes do not fit.
        """
        num_hyperedges = keys.size(0) if isinstance(keys, Tensor) else None
        keys = keys.unbind(1) if isinstance(keys, Tensor) else keys
        if num_hyperedges is None and len(keys) > 0:
            num_hyperedges = keys[0].size(0)
        graph = self.hypergraph(hyperedge_index, x.size(0), num_hyperedges)
        for key in keys:
            self.check_rows("keys", key.size(0), graph.num_hyperedges)
            if key.shape[1:] != x.shape[1:]:
                raise InputError(
                    "'keys' need to be as wide as 'x' in 'TransitionalAttention' (got"
                    f" {list(key.shape[1:])} and {list(x.shape[1:])})"
                )
        if self.stop_gradient:
            keys = [key.detach() for key in keys]

        e = self.to_hyperedges(x, graph, -1.0)  # [M, d], the sum over its degree
        degree = graph.hyperedge_degree  # [M]
        if len(keys) == 0:
            attention, e = e.new_empty(e.size(0), 0), self.beta * e
        else:
            scale = math.sqrt(max(e.size(1), 1)) if self.scale is None else self.scale
            ones = e.new_ones(e.size(0), 1)
            sharpness = scale_rows(ones / scale, degree, self.query_exponent + 1)  # [M, 1]
            strength = scale_rows(ones * self.alpha, degree, -1.0)  # [M, 1]
            tanh = self.activation == "tanh"
            e, attention = attend(e, keys, sharpness, strength, self.beta, tanh)
        out = self.to_vertices(e, graph, self.vertex_exponent).add_(x)  # [N, d]
        return (out, attention) if return_attention_weights else out

    def __repr__(self) -> str:
        return (
            f"TransitionalAttention(query_exponent={self.query_exponent}, scale={self.scale},"
            f" alpha={self.alpha}, beta={self.beta})"
        )
