import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nn_bank import KINDS, bipartite_graphs, random_graph
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import Adjacency

MATRICES = KINDS[3:]


def _adjacency(seed: int = 1) -> tuple[Adjacency, torch.Tensor]:
    graph = random_graph(5, 8, 17, seed=seed)
    return Adjacency(graph.as_kind("CSR")[0]), graph.dense


@pytest.mark.parametrize("kind", MATRICES)
@pytest.mark.parametrize("name", bipartite_graphs())
def test_matmul_is_the_dense_product(kind: str, name: str) -> None:
    graph = bipartite_graphs()[name]
    matrix, _ = graph.as_kind(kind)
    adjacency = matrix if isinstance(matrix, Adjacency) else Adjacency(matrix)
    for width in (0, 1, 2, 33):
        x = torch.randn(graph.num_src, width, dtype=torch.float64, requires_grad=True)
        out = adjacency.matmul(x)
        torch.testing.assert_close(out, graph.dense @ x, rtol=1e-14, atol=1e-14)
        grad = torch.randn_like(out)
        (got,) = torch.autograd.grad(out, x, grad)
        torch.testing.assert_close(got, graph.dense.t() @ grad, rtol=1e-14, atol=1e-14)
        back = adjacency.t().matmul(grad)
        torch.testing.assert_close(back, graph.dense.t() @ grad, rtol=1e-14, atol=1e-14)
    assert adjacency.size() == (graph.num_dst, graph.num_src)


@given(
    num_src=st.integers(0, 6),
    num_dst=st.integers(0, 6),
    num_edges=st.integers(0, 20),
    width=st.integers(0, 5),
    exponent=st.integers(-10, 10),
    seed=st.integers(0, 1000),
)
def test_any_shape_and_scale(
    num_src: int, num_dst: int, num_edges: int, width: int, exponent: int, seed: int
) -> None:
    num_edges = num_edges if num_src and num_dst else 0
    graph = random_graph(max(num_src, 1), max(num_dst, 1), num_edges, seed)
    graph.num_src, graph.num_dst = num_src, num_dst
    graph.weight *= 10.0**exponent
    adjacency = Adjacency(graph.as_kind("CSR")[0])
    x = torch.randn(num_src, width, dtype=torch.float64)
    torch.testing.assert_close(
        adjacency.matmul(x), graph.dense @ x, rtol=1e-12, atol=1e-13 * 10.0**exponent
    )
    torch.testing.assert_close(adjacency.t().adj_t.to_dense(), graph.dense.t())


def test_gradient_of_gradient() -> None:
    adjacency, _ = _adjacency()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(adjacency.matmul, x)
    assert torch.autograd.gradgradcheck(adjacency.matmul, x)
    assert torch.autograd.gradgradcheck(lambda x: adjacency.matmul(x).pow(3), x)


def test_deferred_transpose_gives_the_same_gradient() -> None:
    adjacency, dense = _adjacency()
    deferred = Adjacency.deferred(adjacency.adj_t)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(deferred.matmul, x)
    torch.testing.assert_close(deferred.adj.to_dense(), dense.t())


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_vmap_is_a_loop(dim: int) -> None:
    adjacency, dense = _adjacency()
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    out = torch.vmap(adjacency.matmul, in_dims=dim)(x.movedim(0, dim))
    torch.testing.assert_close(out, torch.stack([dense @ part for part in x]))
    grad = torch.func.vmap(torch.func.grad(lambda x: adjacency.matmul(x).square().sum()))(x)
    torch.testing.assert_close(grad, torch.stack([2 * dense.t() @ (dense @ part) for part in x]))
    nested = torch.vmap(torch.vmap(adjacency.matmul))(x.unsqueeze(0))
    torch.testing.assert_close(nested[0], out)


def test_batched_gradients_are_a_loop() -> None:
    adjacency, dense = _adjacency()
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    out = adjacency.t().matmul(adjacency.matmul(x)) ** 2
    grads = torch.randn(4, 5, 3, dtype=torch.float64)
    (batched,) = torch.autograd.grad(out, x, grads, is_grads_batched=True, retain_graph=True)
    outer = 2 * (dense.t() @ dense @ x.detach())
    expected = torch.stack([dense.t() @ dense @ (outer * grad) for grad in grads])
    torch.testing.assert_close(batched, expected)
    looped = [torch.autograd.grad(out, x, grad, retain_graph=True)[0] for grad in grads]
    assert torch.equal(batched, torch.stack(looped))


def test_uninitialised_memory_does_not_leak_into_the_product() -> None:
    adjacency, dense = _adjacency()
    torch.use_deterministic_algorithms(True)  # fills every new buffer with NaN
    try:
        out = adjacency.matmul(torch.ones(5, 2, dtype=torch.float64))
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(out, dense.sum(1, keepdim=True).expand(-1, 2))


@pytest.mark.parametrize(
    "x",
    [
        torch.randn(3, 5).double().t(),
        torch.randn(1, 3).double().expand(5, 3),
        torch.randn(10, 6).double()[::2, ::2],
    ],
    ids=["transposed", "expanded", "strided"],
)
def test_input_of_any_stride(x: torch.Tensor) -> None:
    adjacency, dense = _adjacency()
    torch.testing.assert_close(adjacency.matmul(x), dense @ x)


@pytest.mark.parametrize("values", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_types_are_widened_for_the_product_only(values: torch.dtype, dtype: torch.dtype) -> None:
    adjacency, dense = _adjacency()
    adjacency, dense = adjacency.to(values), dense.to(values).double()
    x = torch.randn(5, 3).to(dtype).requires_grad_()
    out = adjacency.matmul(x)
    assert out.dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), dense @ x.double(), rtol=tolerance, atol=8 * tolerance)
    out.sum().backward()
    assert x.grad is not None and x.grad.dtype == dtype


def test_matrix_without_values_holds_ones() -> None:
    torch_sparse = pytest.importorskip("torch_sparse")
    adj_t = torch_sparse.SparseTensor(row=torch.tensor([0, 1, 1]), col=torch.tensor([2, 0, 1]))
    expected = torch.tensor([[0.0, 0, 1], [1, 1, 0]])
    assert torch.equal(Adjacency(adj_t).adj_t.to_dense(), expected)


def test_dict_from_collects_operators_with_their_transposes() -> None:
    graph = random_graph(3, 4, 7)
    adj_t = graph.as_kind("CSR")[0]
    data = HeteroData()
    data["user", "interacts", "item"].edge_index = graph.edge_index
    data["user", "interacts", "item"].adj_t = adj_t
    data["item", "rev_interacts", "user"].adj_t = adj_t.t().to_sparse_csr()
    data["item", "rev_interacts", "user"].adj = adj_t
    data["user", "trusts", "user"].edge_index = torch.tensor([[0], [1]])
    found = Adjacency.dict_from(data)
    assert list(found) == [("user", "interacts", "item"), ("item", "rev_interacts", "user")]
    assert found["item", "rev_interacts", "user"].adj is adj_t
    torch.testing.assert_close(found["user", "interacts", "item"].adj.to_dense(), graph.dense.t())


def test_moves() -> None:
    adjacency, dense = _adjacency()
    for other in (adjacency.to("cpu"), adjacency.to(torch.float32)):
        assert other.device == torch.device("cpu")
        torch.testing.assert_close(other.adj_t.to_dense().double(), dense, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(other.adj.to_dense().double(), dense.t(), rtol=1e-6, atol=1e-6)
    assert repr(adjacency) == f"Adjacency(8, 5, nnz={int((dense != 0).sum())})"


def test_bad_input() -> None:
    adjacency, dense = _adjacency()
    with pytest.raises(InputError, match=r"'x' needs to have the shape \[5, d\].*got \[4, 2\]"):
        adjacency.matmul(torch.ones(4, 2))
    with pytest.raises(InputError, match=r"'x' needs to have the shape"):
        adjacency.matmul(torch.ones(5))
    with pytest.raises(InputError, match="transpose of 'adj_t'"):
        Adjacency(adjacency.adj_t, adjacency.adj_t)
    with pytest.raises(InputError, match=r"sparse matrix in 'Adjacency' \(got a torch.strided"):
        Adjacency(dense)
    with pytest.raises(InputError, match=r"sparse matrix in 'Adjacency' \(got a list"):
        Adjacency([[0, 1]])
    with pytest.raises(InputError, match="needs to be constant"):
        Adjacency(adjacency.adj_t.clone().requires_grad_())


def test_no_warning_on_construction() -> None:
    graph = random_graph(3, 4, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Adjacency(graph.as_kind("CSR")[0])
