from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType, OptTensor, SparseTensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._csr import csr, csr_entries, csr_from_sorted
from pyg_mtrec.nn.conv._normalize import power, scale_rows
from pyg_mtrec.nn.conv.adjacency import Adjacency

_MAIN = ("user", "interacts", "item")


class Incidence:
    r"""The incidence matrix of one hypergraph, ready to be multiplied in both directions.

    .. math::
        \mathbf{E} = \mathbf{B}^{q} \mathbf{H}^{\top} \mathbf{X}, \qquad
        \mathbf{Z} = \mathbf{D}^{p} \mathbf{H} \mathbf{W} \mathbf{E}

    :math:`\mathbf{H}` has a row for each of :math:`N` vertices and a column for each of :math:`M`
    hyperedges; :math:`\mathbf{B}` and :math:`\mathbf{D}` hold the degrees of the hyperedges and of
    the vertices. A degree of zero gives zero for every exponent. Both directions are products with
    CSR matrices, forwards and backwards; the degrees are folded into their values, once for each
    exponent, at its first use. Never forms vertices times vertices.

    Args:
        hyperedge_index: The incidences :math:`[2, E]`, vertices over hyperedges, as in PyG.
            Repeated ones add up.
        num_vertices: Number of vertices :math:`N`.
        num_hyperedges: Number of hyperedges :math:`M`.

    Raises:
        InputError: If ``hyperedge_index`` is no list of pairs of ids, or names ids out of range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import Incidence
        >>> hyperedge_index = torch.tensor([[0, 1, 2, 2], [0, 0, 0, 1]])  # {0, 1, 2} and {2}
        >>> incidence = Incidence(hyperedge_index, num_vertices=3, num_hyperedges=2)
        >>> incidence
        Incidence(num_vertices=3, num_hyperedges=2, nnz=4)
        >>> mean = incidence.to_hyperedges(torch.tensor([[3.0], [6.0], [9.0]]))
        >>> mean
        tensor([[6.],
                [9.]])
        >>> incidence.to_vertices(mean)
        tensor([[6.0000],
                [6.0000],
                [7.5000]])
    """

    def __init__(self, hyperedge_index: Tensor, num_vertices: int, num_hyperedges: int) -> None:
        adj_t = _merged(hyperedge_index.as_subclass(Tensor), num_vertices, num_hyperedges)
        self._set(Adjacency(adj_t))

    def _set(self, adjacency: Adjacency) -> None:
        self.adjacency = adjacency  # [M, N]
        self._operators: dict[tuple[str, float, torch.dtype], Adjacency] = {}

    @classmethod
    def from_adjacency(cls, adj_t: Adjacency | Tensor | SparseTensor) -> Incidence:
        r"""Takes a matrix as it is; its values are the weights of the incidences.

        Args:
            adj_t: The matrix :math:`\mathbf{H}^{\top}` of shape :math:`[M, N]`: hyperedges are
                the destinations, as in PyG's ``adj_t``.

        Returns:
            The incidence matrix; memory is shared.
        """
        out = cls.__new__(cls)
        out._set(adj_t if isinstance(adj_t, Adjacency) else Adjacency.deferred(adj_t))
        return out

    @classmethod
    def dict_from(
        cls, data: HeteroData, main: EdgeType | None = _MAIN
    ) -> dict[EdgeType, Incidence]:
        r"""Collects the task hypergraphs of a graph, and its interactions in both readings.

        Args:
            data: A graph; every edge type marked with ``task`` is a task hypergraph, from vertices
                to hyperedges.
            main: The main relation, in which destinations are hyperedges over sources; its
                reverse ``(dst, 'rev_name', src)`` counts too. Either may be absent; :obj:`None`
                for the task hypergraphs alone.

        Returns:
            Edge type to incidence matrix.
        """
        own = [] if main is None else [main, (main[2], f"rev_{main[1]}", main[0])]
        return {
            edge_type: cls(
                data[edge_type].edge_index,
                data[edge_type[0]].num_nodes,
                data[edge_type[2]].num_nodes,
            )
            for edge_type in data.edge_types
            if "task" in data[edge_type] or edge_type in own
        }

    @property
    def num_vertices(self) -> int:
        r"""The number of vertices :math:`N`."""
        return self.adjacency.size()[1]

    @property
    def num_hyperedges(self) -> int:
        r"""The number of hyperedges :math:`M`."""
        return self.adjacency.size()[0]

    @property
    def dtype(self) -> torch.dtype:
        r"""The type of the weights of the incidences."""
        return self.adjacency.dtype

    @property
    def device(self) -> torch.device:
        r"""The device that holds the matrix."""
        return self.adjacency.device

    @cached_property
    def vertex_degree(self) -> Tensor:
        r"""The weight of every vertex's incidences :math:`[N]`."""
        return _row_sum(self.adjacency.t())

    @cached_property
    def hyperedge_degree(self) -> Tensor:
        r"""The weight of every hyperedge's incidences :math:`[M]`."""
        return _row_sum(self.adjacency)

    def size(self) -> tuple[int, int]:
        r"""Returns the numbers of hyperedges and vertices: rows are destinations."""
        return self.adjacency.size()

    def t(self) -> Incidence:
        r"""Returns the dual hypergraph, in which hyperedges are vertices; memory is shared."""
        return Incidence.from_adjacency(self.adjacency.t())

    def to(self, *args: Any, **kwargs: Any) -> Incidence:
        r"""Returns the matrix on another device or with values of another type.

        Args:
            *args: As in :meth:`torch.Tensor.to`.
            **kwargs: As in :meth:`torch.Tensor.to`.
        """
        return Incidence.from_adjacency(self.adjacency.to(*args, **kwargs))

    def hyperedge_operator(
        self, exponent: float = -1.0, dtype: torch.dtype = torch.float32
    ) -> Adjacency:
        r"""Returns :math:`\mathbf{B}^{q} \mathbf{H}^{\top}`, made once for each exponent and type.

        Args:
            exponent: The exponent :math:`q`; -1 for means, 0 for sums.
            dtype: The type of what is to be multiplied.
        """
        return self._operator("hyperedge", exponent, dtype)

    def vertex_operator(
        self, exponent: float = -1.0, dtype: torch.dtype = torch.float32
    ) -> Adjacency:
        r"""Returns :math:`\mathbf{D}^{p} \mathbf{H}`, made once for each exponent and type.

        Args:
            exponent: The exponent :math:`p`; -1 for means, 0 for sums.
            dtype: The type of what is to be multiplied.
        """
        return self._operator("vertex", exponent, dtype)

    def to_hyperedges(self, x: Tensor, exponent: float = -1.0) -> Tensor:
        r"""Sends rows of vertices to hyperedges.

        Args:
            x: Rows of vertices :math:`[N, d]`.
            exponent: The exponent :math:`q` of the hyperedges' degrees.

        Returns:
            Rows of hyperedges :math:`[M, d]`.
        """
        return self.hyperedge_operator(exponent, x.dtype).matmul(x)

    def to_vertices(
        self, e: Tensor, exponent: float = -1.0, hyperedge_weight: OptTensor = None
    ) -> Tensor:
        r"""Sends rows of hyperedges to vertices.

        Args:
            e: Rows of hyperedges :math:`[M, d]`.
            exponent: The exponent :math:`p` of the vertices' degrees.
            hyperedge_weight: Weights :math:`[M]` of the hyperedges (default: one), not negative.
                Gradients flow to them, and they count in the degrees.

        Returns:
            Rows of vertices :math:`[N, d]`.
        """
        if hyperedge_weight is None:
            return self.vertex_operator(exponent, e.dtype).matmul(e)
        e = hyperedge_weight.view(-1, 1).to(e.dtype) * e
        out = self.vertex_operator(0.0, e.dtype).matmul(e)
        return scale_rows(out, self.weighted_vertex_degree(hyperedge_weight), exponent)

    def weighted_vertex_degree(self, hyperedge_weight: Tensor) -> Tensor:
        r"""Returns the degrees of the vertices :math:`[N]` under weights of the hyperedges.

        Args:
            hyperedge_weight: Weights :math:`[M]` of the hyperedges.
        """
        operator = self.vertex_operator(0.0, hyperedge_weight.dtype)
        return operator.matmul(hyperedge_weight.view(-1, 1)).squeeze(1)

    def _operator(self, rows: str, exponent: float, dtype: torch.dtype) -> Adjacency:
        dtype = torch.promote_types(torch.promote_types(dtype, self.dtype), torch.float32)
        key = (rows, float(exponent), dtype)
        if key not in self._operators:
            plain = self.adjacency if rows == "hyperedge" else self.adjacency.t()
            self._operators[key] = _folded(plain.promote(dtype), exponent)
        return self._operators[key]

    def __repr__(self) -> str:
        return (
            f"Incidence(num_vertices={self.num_vertices}, num_hyperedges={self.num_hyperedges},"
            f" nnz={self.adjacency.adj_t._nnz()})"
        )


def _merged(hyperedge_index: Tensor, num_vertices: int, num_hyperedges: int) -> Tensor:
    if hyperedge_index.dim() != 2 or hyperedge_index.size(0) != 2:
        raise InputError(
            "'hyperedge_index' needs to have the shape [2, E] in 'Incidence' (got"
            f" {list(hyperedge_index.shape)})"
        )
    if hyperedge_index.is_floating_point() or hyperedge_index.dtype == torch.bool:
        raise InputError(
            "'hyperedge_index' needs to hold integer ids in 'Incidence' (got"
            f" {hyperedge_index.dtype})"
        )
    if hyperedge_index.numel() > 0:
        low, high = (bound.tolist() for bound in hyperedge_index.aminmax(dim=1))
        if min(low) < 0 or high[0] >= num_vertices or high[1] >= num_hyperedges:
            raise InputError(
                f"'hyperedge_index' names ids beyond {num_vertices} vertices and"
                f" {num_hyperedges} hyperedges in 'Incidence' (ids from {low} to {high})"
            )
    vertex, hyperedge = hyperedge_index.long()
    key, count = (hyperedge * num_vertices + vertex).unique(return_counts=True)
    small = max(num_vertices, num_hyperedges, key.numel()) < 2**31
    key, vertex = key // max(num_vertices, 1), key % max(num_vertices, 1)
    if small:  # half the memory traffic of the products' indices
        vertex = vertex.int()
    return csr_from_sorted(key, vertex, count.float(), (num_hyperedges, num_vertices))


def _row_sum(adjacency: Adjacency) -> Tensor:
    ones = torch.ones(adjacency.size()[1], 1, dtype=adjacency.dtype, device=adjacency.device)
    return adjacency.matmul(ones).squeeze(1)


def _folded(plain: Adjacency, exponent: float) -> Adjacency:
    if exponent == 0:
        return plain
    scale = power(_row_sum(plain), exponent)
    row, _, value = csr_entries(plain.adj_t)
    adj_t = _with_values(plain.adj_t, value * scale[row])
    _, col, value = csr_entries(plain.adj)
    return Adjacency(adj_t, _with_values(plain.adj, value * scale[col]))


def _with_values(matrix: Tensor, value: Tensor) -> Tensor:
    shape = (matrix.size(0), matrix.size(1))
    return csr(matrix.crow_indices(), matrix.col_indices(), value, shape)
