from collections.abc import Mapping

from torch import Tensor
from torch_geometric.typing import Adj, EdgeType
from torch_geometric.utils import is_sparse

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.conv.hypergraph_conv import HypergraphConv
from pyg_mtrec.nn.conv.incidence import Incidence
from pyg_mtrec.nn.conv.transitional_attention import TransitionalAttention
from pyg_mtrec.nn.encoders.encoder import Encoder
from pyg_mtrec.nn.encoders.representations import Representations

FUSIONS = ("attention", "sum", "none")


class TaskHypergraphEncoder(Encoder):
    r"""The encoder of `UPRTH <https://arxiv.org/abs/2310.13286>`_: one convolution a hypergraph.

    Interactions are two hypergraphs, whose hyperedges are each other's vertices: an item joins its
    users, and a user the items. Every other relation from users or items to a third node type is
    the hypergraph of an auxiliary task. With :class:`~pyg_mtrec.nn.HypergraphConv`, without
    weights,

    .. math::
        h_u = \mathrm{conv}_{ui}(E_u), \qquad h_i = \mathrm{conv}_{iu}(E_i), \qquad
        (z_t, e_t) = \mathrm{conv}_t(E_{u}) \text{ or } \mathrm{conv}_t(E_{i})

    and :class:`~pyg_mtrec.nn.TransitionalAttention` adds to :math:`h_u` what the items, as
    hyperedges of users, take from their tasks' :math:`z_t`, and to :math:`h_i` what the users take
    from theirs. A side without tasks is left as it is. The representations of users and items are
    :math:`h`; each auxiliary task reads its own view, named ``" ".join(edge_type)``, of vertices
    :math:`z_t` and hyperedges :math:`e_t`.

    The graph comes as edge type to hypergraph: an :class:`~pyg_mtrec.nn.Incidence`
    (:meth:`Incidence.dict_from` collects those of a graph), or a matrix or edge list that
    :class:`~pyg_mtrec.nn.HypergraphConv` takes. Of an edge list the largest id says how many
    hyperedges there are, unless they have a table. Relations without edges take no part.

    Args:
        fusion: ``"attention"``; ``"sum"``, the plain sum :math:`\sum_t z_t` in place of the
            attended one; ``"none"`` for the first convolution alone.
        main: The main relation.
        vertex_exponent: Exponent of the vertices' degrees in every first convolution.
        keep_empty: Whether a relation without edges enters the attention as a zero feature, which
            takes its share of the softmax, as in the authors' code.
        query_exponent: As the following ones an argument of the attention, described there.
        scale: Divisor of its inner products (default: :math:`\sqrt{d}`; the authors' is 8).
        alpha: Strength of what hyperedges take from tasks.
        beta: Weight of the second hop.
        stop_gradient: Treats the tasks' features as constants.
        activation: ``"tanh"`` or :obj:`None`.

    Raises:
        InputError: If ``fusion`` or an argument of the attention is not among its choices.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import Incidence, NodeEmbedding, TaskHypergraphEncoder
        >>> x_dict = NodeEmbedding({"user": 2, "item": 3}, dim=8)()
        >>> edge_index = torch.tensor([[0, 0, 1], [0, 1, 1]])
        >>> adj_dict = {
        ...     ("user", "interacts", "item"): Incidence(edge_index, 2, 3),
        ...     ("item", "rev_interacts", "user"): Incidence(edge_index.flip(0), 3, 2),
        ...     ("item", "in", "category"): Incidence(torch.tensor([[0, 1, 2], [0, 0, 1]]), 3, 2),
        ... }
        >>> representations = TaskHypergraphEncoder()(x_dict, adj_dict)
        >>> representations.x_dict["user"].shape
        torch.Size([2, 8])
        >>> representations.views["item in category"]["category"].shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        fusion: str = "attention",
        main: EdgeType = ("user", "interacts", "item"),
        vertex_exponent: float = -1.0,
        keep_empty: bool = False,
        query_exponent: float = 0.0,
        scale: float | None = None,
        alpha: float = 10.0,
        beta: float = 0.1,
        stop_gradient: bool = True,
        activation: str | None = "tanh",
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise InputError(
                f"'fusion' needs to be one of {FUSIONS} in 'TaskHypergraphEncoder' (got {fusion!r})"
            )
        src, relation, dst = main
        self.fusion, self.keep_empty = fusion, keep_empty
        self.main: EdgeType = (src, relation, dst)
        self.conv = HypergraphConv(vertex_exponent=vertex_exponent)  # type: ignore[abstract]  # without weights, so one serves all
        self.attention = TransitionalAttention(  # type: ignore[abstract]
            query_exponent, scale, alpha, beta, stop_gradient, activation
        )

    @property
    def reverse(self) -> EdgeType:
        r"""The reverse of the main relation."""
        src, relation, dst = self.main
        return (dst, f"rev_{relation}", src)

    def forward(
        self,
        x_dict: Mapping[str, Tensor],
        adj_dict: Mapping[EdgeType, Adj | Adjacency | Incidence],
    ) -> Representations:
        out, views, keys = self._first_hop(x_dict, adj_dict)
        for vertex, relation, hyperedge in (self.main, self.reverse):
            # The hyperedges of one side are the vertices of the other, which its tasks describe.
            tasks = list(keys[hyperedge].values())
            if self.fusion == "none" or not tasks:
                continue
            if self.fusion == "sum":
                tasks = [sum(tasks[1:], start=tasks[0])]
            graph = adj_dict[vertex, relation, hyperedge]
            out[vertex] = self.attention(out[vertex], graph, tasks)  # [N, d]
        return Representations(out, views)

    def attention_weights(
        self,
        x_dict: Mapping[str, Tensor],
        adj_dict: Mapping[EdgeType, Adj | Adjacency | Incidence],
    ) -> dict[str, tuple[list[str], Tensor]]:
        r"""Returns how much each node, as a hyperedge, takes from the tasks of its type.

        Args:
            x_dict: Node type to table :math:`[N, d]`.
            adj_dict: As in :meth:`forward`.

        Returns:
            Node type to the names of its tasks' views and the attention :math:`[N, T]`; a type
            without tasks is left out.

        Raises:
            InputError: If the encoder has another fusion than ``"attention"``.
        """
        if self.fusion != "attention":
            raise InputError(
                "'attention_weights' needs fusion='attention' in 'TaskHypergraphEncoder' (got"
                f" {self.fusion!r})"
            )
        h, _, keys = self._first_hop(x_dict, adj_dict)
        found = {}
        for edge_type in (self.main, self.reverse):
            vertex, _, hyperedge = edge_type
            tasks = keys[hyperedge]
            if tasks:
                _, weights = self.attention(
                    h[vertex], adj_dict[edge_type], list(tasks.values()), True
                )
                found[hyperedge] = list(tasks), weights
        return found

    def _first_hop(
        self,
        x_dict: Mapping[str, Tensor],
        adj_dict: Mapping[EdgeType, Adj | Adjacency | Incidence],
    ) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]], dict[str, dict[str, Tensor]]]:
        r"""Returns what :math:`h` and the tables are, the views, and each side's :math:`z_t`."""
        for edge_type in (self.main, self.reverse):
            if edge_type not in adj_dict:
                raise InputError(
                    f"'adj_dict' needs to hold {edge_type} in 'TaskHypergraphEncoder' (found"
                    f" {list(adj_dict)}): apply AddTaskHypergraphs and pass"
                    " Incidence.dict_from(data)"
                )
        out = dict(x_dict)
        views: dict[str, dict[str, Tensor]] = {}
        keys: dict[str, dict[str, Tensor]] = {end: {} for end in self.main[::2]}
        for edge_type, hypergraph in adj_dict.items():
            vertex, _, hyperedge = edge_type
            own = edge_type in (self.main, self.reverse)
            self._check(edge_type, x_dict)
            if not own and not self.keep_empty and _is_empty(hypergraph):
                continue
            num_edges = x_dict[hyperedge].size(0) if hyperedge in x_dict else None
            z, e = self.conv(
                x_dict[vertex], hypergraph, num_edges=num_edges, return_hyperedges=True
            )  # [N, d], [M, d]
            if own:
                out[vertex] = z
                continue
            name = " ".join(edge_type)
            views[name] = {vertex: z, hyperedge: e}
            if vertex in keys:
                keys[vertex][name] = z
        return out, views, keys

    def _check(self, edge_type: EdgeType, x_dict: Mapping[str, Tensor]) -> None:
        vertex, _, hyperedge = edge_type
        if vertex not in x_dict:
            raise InputError(
                f"the vertices of {edge_type} need a table in 'TaskHypergraphEncoder'"
                f" (found those of {', '.join(x_dict)})"
            )
        if vertex == hyperedge:
            raise InputError(
                f"the hyperedges of {edge_type} need a node type of their own in"
                " 'TaskHypergraphEncoder': apply AddTaskHypergraphs"
            )

    def __repr__(self) -> str:
        return f"TaskHypergraphEncoder(fusion={self.fusion!r})"


def _is_empty(hypergraph: Adj | Adjacency | Incidence) -> bool:
    if isinstance(hypergraph, Incidence):
        hypergraph = hypergraph.adjacency
    if isinstance(hypergraph, Adjacency):
        hypergraph = hypergraph.adj_t
    if not is_sparse(hypergraph):
        return hypergraph.size(1) == 0
    number: int = hypergraph._nnz() if isinstance(hypergraph, Tensor) else hypergraph.nnz()
    return number == 0
