from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.typing import Adj, OptTensor
from torch_geometric.utils import is_sparse

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._csr import (
    csr_entries,
    csr_from_sorted,
    edges_with_gradient,
    values_require_grad,
)
from pyg_mtrec.nn.conv._neighbor_sum import NeighborSum
from pyg_mtrec.nn.conv._normalize import scale_rows
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.conv.incidence import Incidence


@dataclass
class IncidenceList:
    r"""A hypergraph as a list of incidences, whose messages can be seen one by one."""

    index: Tensor  # [2, E], vertices over hyperedges
    value: OptTensor  # [E], what an incidence counts in the degrees; None for one
    num_vertices: int
    num_hyperedges: int

    def weight(self, dtype: torch.dtype) -> OptTensor:
        return None if self.value is None else self.value.to(dtype)

    @property
    def hyperedge_degree(self) -> Tensor:
        return self._degree(1, self._values())

    @property
    def vertex_degree(self) -> Tensor:
        return self._degree(0, self._values())

    def weighted_vertex_degree(self, hyperedge_weight: Tensor) -> Tensor:
        return self._degree(0, self._values() * hyperedge_weight[self.index[1]])

    def _values(self) -> Tensor:
        ones = torch.ones(self.index.size(1), device=self.index.device)
        return ones if self.value is None else self.value

    def _degree(self, end: int, value: Tensor) -> Tensor:
        size = self.num_hyperedges if end else self.num_vertices
        return value.new_zeros(size).index_add(0, self.index[end], value)


Hypergraph = Incidence | IncidenceList


class HypergraphSum(NeighborSum):
    r"""What the hypergraph layers share: both directions of an incidence matrix.

    A list of incidences is gathered and scattered (``message``); an :class:`Incidence`, a matrix
    and an :class:`~torch_geometric.EdgeIndex` sorted by column are multiplied
    (``message_and_aggregate``), unless single messages are asked for.
    """

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("flow", "source_to_target") != "source_to_target":
            raise InputError(
                f"'flow' needs to be 'source_to_target' in '{type(self).__name__}', which goes both"
                f" ways (got '{kwargs['flow']}'): flip 'hyperedge_index' for the dual hypergraph"
            )
        super().__init__(normalize=False, **kwargs)

    def hypergraph(
        self,
        hyperedge_index: Adj | Adjacency | Incidence,
        num_vertices: int,
        num_hyperedges: int | None,
        as_list: bool = False,
    ) -> Hypergraph:
        fused = self.fuse and not self.explain and not as_list
        known_vertices, known_hyperedges = _size(hyperedge_index)
        if known_vertices is not None:
            self.check_rows("x", num_vertices, known_vertices, "vertex")
        if isinstance(hyperedge_index, Incidence | Adjacency) or is_sparse(hyperedge_index):
            return _from_matrix(hyperedge_index, fused)
        index = hyperedge_index.as_subclass(Tensor)
        if known_hyperedges is not None:
            num_hyperedges = known_hyperedges
        elif num_hyperedges is None:
            num_hyperedges = int(index[1].max()) + 1 if index.numel() > 0 else 0
        if fused and isinstance(hyperedge_index, EdgeIndex) and hyperedge_index.is_sorted_by_col:
            self._check_bounds(index, (num_vertices, num_hyperedges))
            ones = torch.ones(index.size(1), device=index.device)
            adj_t = csr_from_sorted(index[1], index[0], ones, (num_hyperedges, num_vertices))
            return Incidence.from_adjacency(adj_t)
        return IncidenceList(index, None, num_vertices, num_hyperedges)

    def to_hyperedges(
        self, x: Tensor, graph: Hypergraph, exponent: float, weight: OptTensor = None
    ) -> Tensor:
        if isinstance(graph, Incidence):
            operator = graph.hyperedge_operator(exponent, x.dtype)
            return self._sum_matrix((x, None), operator)  # [M, d]
        size = (graph.num_vertices, graph.num_hyperedges)
        weight = graph.weight(x.dtype) if weight is None else weight
        out = self.propagate(
            graph.index, x=(x, None), edge_weight=weight, adjacency=None, size=size
        )
        return scale_rows(out, graph.hyperedge_degree, exponent)  # [M, d]

    def to_vertices(
        self,
        e: Tensor,
        graph: Hypergraph,
        exponent: float,
        hyperedge_weight: OptTensor = None,
        weight: OptTensor = None,
    ) -> Tensor:
        if hyperedge_weight is not None:
            e = hyperedge_weight.view(-1, 1).to(e.dtype) * e
        if isinstance(graph, Incidence):
            folded = exponent if hyperedge_weight is None else 0.0
            out = self._sum_matrix((e, None), graph.vertex_operator(folded, e.dtype))
            if hyperedge_weight is None:
                return out  # [N, d]
        else:
            size = (graph.num_hyperedges, graph.num_vertices)
            weight = graph.weight(e.dtype) if weight is None else weight
            out = self.propagate(
                graph.index.flip(0), x=(e, None), edge_weight=weight, adjacency=None, size=size
            )
        if hyperedge_weight is None:
            return scale_rows(out, graph.vertex_degree, exponent)
        return scale_rows(out, graph.weighted_vertex_degree(hyperedge_weight), exponent)

    def check_rows(self, name: str, found: int, expected: int, of: str = "hyperedge") -> None:
        if found != expected:
            raise InputError(
                f"'{name}' needs to have {expected} rows in '{type(self).__name__}', one for each"
                f" {of} (got {found})"
            )


def _size(hyperedge_index: Adj | Adjacency | Incidence) -> tuple[int | None, int | None]:
    if isinstance(hyperedge_index, EdgeIndex):
        return hyperedge_index.sparse_size()
    if isinstance(hyperedge_index, Incidence | Adjacency):
        return hyperedge_index.size()[::-1]
    if is_sparse(hyperedge_index):
        return hyperedge_index.size(1), hyperedge_index.size(0)
    return None, None


def _from_matrix(matrix: Adj | Adjacency | Incidence, fused: bool) -> Hypergraph:
    if not isinstance(matrix, Incidence | Adjacency) and values_require_grad(matrix):
        index, value = edges_with_gradient(matrix)
        return IncidenceList(index, value, matrix.size(1), matrix.size(0))
    incidence = matrix if isinstance(matrix, Incidence) else Incidence.from_adjacency(matrix)
    if fused:
        return incidence
    hyperedge, vertex, value = csr_entries(incidence.adjacency.adj_t)
    index = torch.stack([vertex, hyperedge]).long()
    return IncidenceList(index, value, incidence.num_vertices, incidence.num_hyperedges)
