from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import dropout, leaky_relu
from torch_geometric.nn.dense import Linear
from torch_geometric.typing import Adj, OptPairTensor, OptTensor
from torch_geometric.utils import softmax

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._hypergraph_sum import HypergraphSum, IncidenceList
from pyg_mtrec.nn.conv._normalize import power
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.conv.incidence import Incidence
from pyg_mtrec.nn.embedding._init import xavier_uniform_


class HypergraphConv(HypergraphSum):
    r"""The `hypergraph convolution <https://arxiv.org/abs/1901.08150>`_ and its attention.

    .. math::
        \mathbf{X}^{\prime} = \mathbf{D}^{p} \mathbf{H} \mathbf{W}
        \mathbf{B}^{q} \mathbf{H}^{\top} \mathbf{X} \mathbf{\Theta}

    :math:`\mathbf{H}` is the incidence matrix of :math:`N` vertices and :math:`M` hyperedges,
    :math:`\mathbf{B}` and :math:`\mathbf{D}` are the degrees :math:`b_e = \sum_v H_{ve}` and
    :math:`d_v = \sum_e w_e H_{ve}`. A degree of zero gives zero for every exponent.

    Takes the arguments of :class:`torch_geometric.nn.HypergraphConv` and returns the same; its
    parameters have the same names. Beyond it, hyperedge weights weigh the messages (PyG's change
    the degrees only), the linear map is optional, the exponents are free, and the hyperedges'
    rows can be had as well. The fast way is an :class:`Incidence` without attention: two products
    with a sparse matrix forwards and two backwards, and no message is ever stored.

    Args:
        in_channels: Width of the input, or -1 to take it from the first input (default: no linear
            map and no bias; the width stays).
        out_channels: Width of the output; of one head with attention.
        use_attention: Weighs the incidences by attention between the rows of vertices and
            ``hyperedge_attr``.
        attention_mode: ``"node"`` for a softmax over the vertices of a hyperedge, ``"edge"`` over
            the hyperedges of a vertex.
        heads: Number of attention heads.
        concat: Joins the heads instead of taking their mean.
        negative_slope: Slope of the attention's LeakyReLU below zero.
        dropout: Probability to drop an attention weight in training.
        bias: Adds a bias to the output, if there is a linear map.
        vertex_exponent: The exponent :math:`p`.
        hyperedge_exponent: The exponent :math:`q`.
        **kwargs: Arguments of :class:`torch_geometric.nn.MessagePassing`.

    Raises:
        InputError: If only one width is given, if there is attention without widths, or if
            ``attention_mode`` is unknown.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import HypergraphConv
        >>> hyperedge_index = torch.tensor([[0, 1, 2, 2], [0, 0, 0, 1]])  # {0, 1, 2} and {2}
        >>> x = torch.tensor([[3.0], [6.0], [9.0]])
        >>> HypergraphConv()(x, hyperedge_index)
        tensor([[6.0000],
                [6.0000],
                [7.5000]])
        >>> HypergraphConv(1, 16)(x, hyperedge_index, torch.tensor([1.0, 0.5])).shape
        torch.Size([3, 16])
    """

    def __init__(
        self,
        in_channels: int | None = None,
        out_channels: int | None = None,
        use_attention: bool = False,
        attention_mode: str = "node",
        heads: int = 1,
        concat: bool = True,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        bias: bool = True,
        *,
        vertex_exponent: float = -1.0,
        hyperedge_exponent: float = -1.0,
        **kwargs: Any,
    ) -> None:
        if (in_channels is None) != (out_channels is None):
            raise InputError(
                "'in_channels' and 'out_channels' need to be given both or not at all in"
                f" 'HypergraphConv' (got {in_channels} and {out_channels})"
            )
        if use_attention and out_channels is None:
            raise InputError("'use_attention' needs 'in_channels' and 'out_channels'")
        if attention_mode not in ("node", "edge"):
            raise InputError(
                "'attention_mode' needs to be 'node' or 'edge' in 'HypergraphConv' (got"
                f" {attention_mode!r})"
            )
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.use_attention = use_attention
        self.attention_mode = attention_mode
        self.heads = heads if use_attention else 1
        self.concat = concat or not use_attention
        self.negative_slope = negative_slope
        self.dropout = dropout
        self.vertex_exponent = vertex_exponent
        self.hyperedge_exponent = hyperedge_exponent
        self.lin: Linear | None = None
        self.att: Parameter | None = None
        self.bias: Parameter | None = None
        if in_channels is not None and out_channels is not None:
            width = self.heads * out_channels
            self.lin = Linear(in_channels, width, bias=False, weight_initializer="glorot")
            if use_attention:
                self.att = Parameter(torch.empty(1, heads, 2 * out_channels))
            if bias:
                self.bias = Parameter(torch.empty(width if self.concat else out_channels))
        self.reset_parameters()

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        r"""Draws the weights from Xavier's uniform law and sets the bias to zero.

        Args:
            generator: Source of randomness (default: torch's global one, as in PyG's layers).

        Raises:
            InputError: If a generator is given while the width of the input is not known yet.
        """
        super().reset_parameters()
        if self.lin is not None:
            if self.lin.in_channels > 0:
                xavier_uniform_(self.lin.weight, generator)
            elif generator is not None:
                raise InputError(
                    "'in_channels' needs to be known in 'HypergraphConv' to draw from a generator"
                    " (got -1)"
                )
        if self.att is not None:
            xavier_uniform_(self.att.detach()[0], generator)
        if self.bias is not None:
            torch.nn.init.zeros_(self.bias)

    def forward(
        self,
        x: Tensor | OptPairTensor,
        hyperedge_index: Adj | Adjacency | Incidence,
        hyperedge_weight: OptTensor = None,
        hyperedge_attr: OptTensor = None,
        num_edges: int | None = None,
        return_hyperedges: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        r"""Sends the vertices' rows to the hyperedges and back.

        Args:
            x: Rows of vertices :math:`[N, d]`. Given a pair :math:`([N, d], [M, d])` of vertices
                and hyperedges, as by :class:`~torch_geometric.nn.HeteroConv` for an edge type
                between two node types, the layer returns the rows of the second, the hyperedges;
                of these only the number counts.
            hyperedge_index: The hypergraph: incidences :math:`[2, E]`, vertices over hyperedges,
                an :class:`~torch_geometric.EdgeIndex` of them, or a matrix :math:`[M, N]` whose
                rows are hyperedges (:class:`Incidence`, :class:`Adjacency`, :class:`torch.Tensor`
                in a sparse layout, :class:`torch_sparse.SparseTensor`).
            hyperedge_weight: Weights :math:`[M]` of the hyperedges (default: one), not negative.
            hyperedge_attr: Rows of hyperedges :math:`[M, d]`, for the attention only.
            num_edges: Number of hyperedges :math:`M` (default: that of the matrix, of the weights
                or of the attributes; otherwise the largest id is read, which waits for a GPU).
            return_hyperedges: Returns the hyperedges' rows as well.

        Returns:
            Rows of vertices :math:`[N, d^{\prime}]`; with ``return_hyperedges`` also the rows
            :math:`\mathbf{B}^{q} \mathbf{H}^{\top} \mathbf{X} \mathbf{\Theta}` of hyperedges
            :math:`[M, d^{\prime}]`, before weights and bias.

        Raises:
            InputError: If sizes do not fit, or if the attention has no ``hyperedge_attr``.
        """
        vertices, hyperedges = (x, None) if isinstance(x, Tensor) else x
        named = {
            "hyperedge_weight": hyperedge_weight,
            "hyperedge_attr": hyperedge_attr,
            "x[1]": hyperedges,
        }
        found = {name: rows.size(0) for name, rows in named.items() if rows is not None}
        if num_edges is not None:
            found = {"num_edges": num_edges, **found}
        graph = self.hypergraph(
            hyperedge_index,
            vertices.size(0),
            next(iter(found.values()), None),
            as_list=self.use_attention,
        )
        for name, number in found.items():
            self.check_rows(name, number, graph.num_hyperedges)

        out = vertices if self.lin is None else self.lin(vertices)  # [N, heads * d']
        alpha = None
        if self.use_attention:
            assert isinstance(graph, IncidenceList)
            alpha = self._attention(out, hyperedge_attr, graph)  # [E, heads]
        e = self.to_hyperedges(out, graph, self.hyperedge_exponent, alpha)  # [M, heads * d']
        if not isinstance(x, Tensor) and not return_hyperedges:
            return self._join_heads(e)  # [M, d']
        out = self.to_vertices(e, graph, self.vertex_exponent, hyperedge_weight, alpha)
        out = self._join_heads(out)  # [N, d']
        if self.bias is not None:
            out = out + self.bias
        return (out, self._join_heads(e)) if return_hyperedges else out

    def _attention(self, x: Tensor, attr: OptTensor, graph: IncidenceList) -> Tensor:
        assert self.att is not None and self.lin is not None and self.out_channels is not None
        if attr is None:
            raise InputError(
                "'hyperedge_attr' needs to be given in 'HypergraphConv' with 'use_attention' (got"
                " None)"
            )
        shape = (-1, self.heads, self.out_channels)
        own, other = self.att.split(self.out_channels, dim=-1)
        vertex, hyperedge = graph.index
        by_vertex = (x.view(shape) * own).sum(-1)  # [N, heads]
        by_hyperedge = (self.lin(attr).view(shape) * other).sum(-1)  # [M, heads]
        alpha = leaky_relu(by_vertex[vertex] + by_hyperedge[hyperedge], self.negative_slope)
        node = self.attention_mode == "node"
        group = hyperedge if node else vertex
        size = graph.num_hyperedges if node else graph.num_vertices
        alpha = softmax(alpha, group, num_nodes=size)  # [E, heads]
        if graph.value is not None:  # an incidence that counts twice has twice the mass
            alpha = graph.value.view(-1, 1).to(alpha.dtype) * alpha
            mass = alpha.new_zeros(size, self.heads).index_add(0, group, alpha)
            alpha = alpha * power(mass, -1.0)[group]
        return dropout(alpha, self.dropout, self.training)

    def _join_heads(self, rows: Tensor) -> Tensor:
        return rows if self.concat else rows.unflatten(1, (self.heads, -1)).mean(1)

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:  # type: ignore[override]
        r"""Returns rows times their weights, which may differ between heads."""
        if edge_weight is None or edge_weight.dim() == 1:
            return super().message(x_j, edge_weight)
        by_head = x_j.view(-1, self.heads, x_j.size(1) // self.heads)
        return (edge_weight.unsqueeze(-1) * by_head).flatten(1)

    def __repr__(self) -> str:
        if self.lin is None:
            return "HypergraphConv()"
        return f"HypergraphConv({self.in_channels}, {self.out_channels})"
