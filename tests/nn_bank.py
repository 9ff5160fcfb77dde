"""Graphs in every form that a layer takes, and their dense matrices, in float64."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.typing import WITH_TORCH_SPARSE, SparseTensor

from pyg_mtrec.nn import Adjacency

KINDS = (
    "edge_index",
    "unsorted EdgeIndex",
    "sorted EdgeIndex",
    "CSR",
    "CSR int32",
    "CSC",
    "COO",
    "SparseTensor",
    "Adjacency",
)
EDGE_LISTS = KINDS[:3]


@dataclass
class Graph:
    """An edge list between two node sets, with weights."""

    edge_index: Tensor
    weight: Tensor
    num_src: int
    num_dst: int

    @property
    def dense(self) -> Tensor:
        """The matrix [D, S], repeated edges added up one by one."""
        out = torch.zeros(self.num_dst, self.num_src, dtype=torch.float64)
        for (src, dst), weight in zip(
            self.edge_index.t().tolist(), self.weight.tolist(), strict=True
        ):
            out[dst, src] += weight
        return out

    def as_kind(self, kind: str) -> tuple[object, Tensor | None]:
        """The graph in one of the forms, with the weights if they come beside it."""
        size = (self.num_src, self.num_dst)
        if kind == "edge_index":
            return self.edge_index, self.weight
        if kind == "unsorted EdgeIndex":
            return EdgeIndex(self.edge_index, sparse_size=size), self.weight
        if kind == "sorted EdgeIndex":
            order = self.edge_index[1].argsort(stable=True)
            edge_index = EdgeIndex(self.edge_index[:, order], sparse_size=size, sort_order="col")
            return edge_index, self.weight[order]
        if kind == "SparseTensor":
            if not WITH_TORCH_SPARSE:
                pytest.skip("torch_sparse is not installed")
            row, col = self.edge_index.flip(0)
            return SparseTensor(row=row, col=col, value=self.weight, sparse_sizes=size[::-1]), None
        coo = torch.sparse_coo_tensor(
            self.edge_index.flip(0), self.weight, size[::-1], check_invariants=False
        )
        if kind == "COO":
            return coo, None
        csr = coo.to_sparse_csr()
        if kind == "CSR int32":
            crow, col = csr.crow_indices().int(), csr.col_indices().int()
            csr = torch.sparse_csr_tensor(
                crow, col, csr.values(), size[::-1], check_invariants=False
            )
        return {
            "CSR": csr,
            "CSR int32": csr,
            "CSC": csr.to_sparse_csc(),
            "Adjacency": Adjacency(csr),
        }[kind], None


def random_graph(num_src: int, num_dst: int, num_edges: int, seed: int = 0) -> Graph:
    """Edges with repetitions; weights between 1/2 and 3/2."""
    generator = torch.Generator().manual_seed(seed)
    src = torch.randint(0, num_src, (num_edges,), generator=generator)
    dst = torch.randint(0, num_dst, (num_edges,), generator=generator)
    weight = torch.rand(num_edges, generator=generator, dtype=torch.float64) + 0.5
    return Graph(torch.stack([src, dst]), weight, num_src, num_dst)


def bipartite_graphs() -> dict[str, Graph]:
    """Nasty bipartite graphs; in the first the last source and destination are isolated."""
    isolated = random_graph(5, 6, 14, seed=1)
    twice = torch.cat([isolated.edge_index, isolated.edge_index[:, :5]], dim=1)
    weights = torch.cat([isolated.weight, isolated.weight[:5].flip(0)])
    empty = torch.empty(2, 0, dtype=torch.long)
    no_weight = torch.empty(0, dtype=torch.float64)
    return {
        "isolated": Graph(isolated.edge_index, isolated.weight, 6, 7),
        "duplicates": Graph(twice, weights, 5, 6),
        "no edges": Graph(empty, no_weight, 3, 4),
        "one edge": random_graph(1, 1, 1),
        "one source": random_graph(1, 9, 6, seed=2),
        "one destination": random_graph(9, 1, 6, seed=3),
    }


def square_graph() -> Graph:
    """13 nodes and directed edges with a repetition and a self-loop; node 12 is isolated."""
    graph = random_graph(12, 12, 40, seed=4)
    extra = torch.tensor([[3, 5], [3, 5]])
    edge_index = torch.cat([graph.edge_index, graph.edge_index[:, :1], extra], dim=1)
    weight = torch.cat([graph.weight, graph.weight[:3]])
    return Graph(edge_index, weight, 13, 13)


def normalized(dense: Tensor, same_nodes: bool = False) -> Tensor:
    """The dense matrix divided by the roots of its row and column sums, entry by entry."""
    row, col = dense.sum(1).tolist(), dense.sum(0).tolist()
    out = torch.zeros_like(dense)
    for dst in range(dense.size(0)):
        for src in range(dense.size(1)):
            degrees = row[dst] * (row[src] if same_nodes else col[src])
            if dense[dst, src] != 0 and degrees != 0:
                out[dst, src] = dense[dst, src] / degrees**0.5
    return out


def interactions() -> tuple[Tensor, int, int]:
    """13 nodes: 6 users and 7 items, of which user 5 and item 6 have no edge."""
    edge_index = torch.tensor(
        [[0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 4], [0, 1, 5, 1, 2, 2, 0, 3, 4, 4, 5]]
    )
    return edge_index, 6, 7
