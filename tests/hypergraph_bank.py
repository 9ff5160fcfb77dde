"""Nasty hypergraphs in every form that a layer takes, and their formulas entry by entry."""

from collections.abc import Sequence

import torch
from nn_bank import KINDS, Graph, random_graph
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyg_mtrec.nn import Incidence

FORMS = (*KINDS, "Incidence")


def hypergraph(num_vertices: int, num_hyperedges: int, incidences: Tensor) -> Graph:
    """Vertices are sources and hyperedges destinations; every incidence counts once."""
    weight = torch.ones(incidences.size(1), dtype=torch.float64)
    return Graph(incidences, weight, num_vertices, num_hyperedges)


def random_hypergraph(num_vertices: int, num_hyperedges: int, size: int, seed: int = 0) -> Graph:
    """Random incidences, with repetitions."""
    size = size if num_vertices and num_hyperedges else 0
    graph = random_graph(max(num_vertices, 1), max(num_hyperedges, 1), size, seed)
    return hypergraph(num_vertices, num_hyperedges, graph.edge_index)


def hypergraphs() -> dict[str, Graph]:
    """The bank; in the first the last vertex and the last two hyperedges have no incidence."""
    plain = random_graph(6, 4, 15, seed=1).edge_index.unique(dim=1).contiguous()
    twice = torch.cat([plain, plain[:, :5], plain[:, :2]], dim=1)
    empty = torch.empty(2, 0, dtype=torch.long)
    return {
        "empty hyperedges, isolated vertex": hypergraph(7, 6, plain),
        "duplicates": hypergraph(6, 4, twice),
        "no incidence": hypergraph(3, 4, empty),
        "no hyperedge": hypergraph(3, 0, empty),
        "no vertex": hypergraph(0, 2, empty),
        "one of each": hypergraph(1, 1, torch.zeros(2, 1, dtype=torch.long)),
        "one hyperedge": random_hypergraph(9, 1, 6, seed=2),
        "one vertex": random_hypergraph(1, 9, 6, seed=3),
        "stars": hypergraph(5, 5, torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 1]])),
    }


def as_form(graph: Graph, form: str) -> object:
    """The hypergraph in one of the forms."""
    if form == "Incidence":
        return Incidence(graph.edge_index, graph.num_src, graph.num_dst)
    return graph.as_kind(form)[0]


def diagonal(degree: Tensor, exponent: float) -> Tensor:
    """Powers of degrees on a diagonal, zero for zero; differentiable."""
    powers = [d**exponent if d != 0 else 0 * d for d in degree.double()]
    return torch.diag(torch.stack(powers)) if powers else torch.zeros(0, 0, dtype=torch.float64)


def dense_convolution(
    h: Tensor, x: Tensor, weight: Tensor | None = None, p: float = -1.0, q: float = -1.0
) -> tuple[Tensor, Tensor]:
    """D^p H W B^q H^T X and B^q H^T X from the dense incidence matrix [N, M]."""
    weight = torch.ones(h.size(1), dtype=torch.float64) if weight is None else weight
    e = diagonal(h.sum(0), q) @ h.t() @ x
    # An exponent of zero leaves the sum alone, also where weights cancel.
    left = torch.eye(h.size(0)).double() if p == 0 else diagonal(h @ weight, p)
    return left @ h @ torch.diag(weight) @ e, e


def rows(num_rows: int, width: int, seed: int = 0) -> Tensor:
    """Normal rows that require a gradient."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_rows, width, generator=generator, dtype=torch.float64)
    return x.requires_grad_()


def weights(num_hyperedges: int, seed: int = 1) -> Tensor:
    """Weights between 1/2 and 3/2 that require a gradient."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(num_hyperedges, generator=generator).double() + 0.5).requires_grad_()


def assert_equal_with_gradients(got: Tensor, want: Tensor, inputs: Sequence[Tensor]) -> None:
    """Both have the same values and the same gradients in the inputs."""
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    if not inputs:
        return
    grad = torch.randn(got.shape, generator=torch.Generator().manual_seed(9), dtype=got.dtype)
    options = {"retain_graph": True, "materialize_grads": True}
    for a, b in zip(
        torch.autograd.grad(got, inputs, grad, **options),
        torch.autograd.grad(want, inputs, grad, **options),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                self.numel = max(self.numel, leaf.numel())
        return out
