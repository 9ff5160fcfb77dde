import pytest
import torch
from hypergraph_bank import (
    assert_equal_with_gradients,
    dense_convolution,
    diagonal,
    hypergraph,
    hypergraphs,
    random_hypergraph,
    rows,
    weights,
)
from hypothesis import given
from hypothesis import strategies as st
from nn_bank import Graph, random_graph
from no_sync import NoSync
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import Adjacency, Incidence

EXPONENTS = (-1.0, -0.5, 0.0, 1.0)


def _incidence(graph: Graph) -> Incidence:
    return Incidence(graph.edge_index, graph.num_src, graph.num_dst)


@pytest.mark.parametrize("name", hypergraphs())
def test_both_directions_are_the_dense_products(name: str) -> None:
    graph = hypergraphs()[name]
    h, incidence = graph.dense.t(), _incidence(graph)
    assert incidence.size() == (graph.num_dst, graph.num_src)
    torch.testing.assert_close(incidence.hyperedge_degree.double(), h.sum(0))
    torch.testing.assert_close(incidence.vertex_degree.double(), h.sum(1))
    for exponent in EXPONENTS:
        for width in (1, 5):
            x, e = rows(graph.num_src, width), rows(graph.num_dst, width)
            gathered = diagonal(h.sum(0), exponent) @ h.t() @ x
            assert_equal_with_gradients(incidence.to_hyperedges(x, exponent), gathered, [x])
            scattered = diagonal(h.sum(1), exponent) @ h @ e
            assert_equal_with_gradients(incidence.to_vertices(e, exponent), scattered, [e])
            weight = weights(graph.num_dst)
            out = incidence.to_vertices(e, exponent, weight)
            weighted = diagonal(h @ weight, exponent) @ h @ torch.diag(weight) @ e
            assert_equal_with_gradients(out, weighted, [e, weight])


@given(
    num_vertices=st.integers(0, 6),
    num_hyperedges=st.integers(0, 6),
    size=st.integers(0, 20),
    width=st.integers(0, 4),
    scale=st.integers(-10, 10),
    weight_scale=st.integers(-10, 10),
    p=st.sampled_from(EXPONENTS),
    q=st.sampled_from(EXPONENTS),
    seed=st.integers(0, 1000),
)
def test_there_and_back_at_any_scale(
    num_vertices: int,
    num_hyperedges: int,
    size: int,
    width: int,
    scale: int,
    weight_scale: int,
    p: float,
    q: float,
    seed: int,
) -> None:
    graph = random_hypergraph(num_vertices, num_hyperedges, size, seed)
    incidence = _incidence(graph)
    x = (rows(num_vertices, width, seed).detach() * 10.0**scale).requires_grad_()
    weight = torch.rand(num_hyperedges, generator=torch.Generator().manual_seed(seed)).double()
    weight = ((weight + 0.5) * 10.0**weight_scale).requires_grad_()
    expected, _ = dense_convolution(graph.dense.t(), x, weight, p, q)
    out = incidence.to_vertices(incidence.to_hyperedges(x, q), p, weight)
    # Terms cancel in gradients, so that rounding is measured by the size of the terms.
    by_row, by_weight = 10.0 ** (weight_scale * (1 + p)), 10.0 ** (scale + weight_scale * p)
    close = {"rtol": 1e-11, "atol": 1e-11 * by_weight * 10.0**weight_scale}
    torch.testing.assert_close(out, expected, **close)
    x_got, weight_got = torch.autograd.grad(out.sum(), (x, weight))
    x_want, weight_want = torch.autograd.grad(expected.sum(), (x, weight))
    torch.testing.assert_close(x_got, x_want, rtol=1e-11, atol=1e-11 * by_row)
    torch.testing.assert_close(weight_got, weight_want, rtol=1e-11, atol=1e-11 * by_weight)


def test_gradcheck() -> None:
    graph = hypergraphs()["empty hyperedges, isolated vertex"]
    incidence = _incidence(graph)
    x, e = rows(7, 2), rows(6, 2)
    weight = torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 0.5
    weight.requires_grad_()
    assert torch.autograd.gradcheck(incidence.to_hyperedges, x)
    assert torch.autograd.gradgradcheck(incidence.to_hyperedges, x)
    assert torch.autograd.gradcheck(lambda e, w: incidence.to_vertices(e, -1.0, w), (e, weight))
    assert torch.autograd.gradgradcheck(lambda e, w: incidence.to_vertices(e, -0.5, w), (e, weight))


@pytest.mark.parametrize("exponent", [-1.0, -0.5])
def test_weights_of_zero_give_zero_and_a_finite_gradient(exponent: float) -> None:
    graph = hypergraph(3, 2, torch.tensor([[0, 1, 1, 2], [0, 0, 1, 1]]))
    e = rows(2, 3)
    weight = torch.tensor([0.0, 2.0], dtype=torch.float64, requires_grad=True)
    out = _incidence(graph).to_vertices(e, exponent, weight)
    assert torch.equal(out[0], torch.zeros(3).double())
    torch.testing.assert_close(out[1], e[1] * 2.0 ** (1 + exponent))
    grads = torch.autograd.grad(out.sum(), (e, weight))
    assert all(grad.isfinite().all() for grad in grads)


def test_without_division_weights_may_cancel() -> None:
    graph = hypergraph(1, 2, torch.tensor([[0, 0], [0, 1]]))
    e, weight = rows(2, 3), torch.tensor([1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(_incidence(graph).to_vertices(e, 0.0, weight)[0], e[0] - e[1])


def test_repeated_incidences_add_up() -> None:
    graph = hypergraph(3, 2, torch.tensor([[2, 0, 2, 2, 1], [0, 0, 0, 1, 0]]))
    incidence = _incidence(graph)
    assert repr(incidence) == "Incidence(num_vertices=3, num_hyperedges=2, nnz=4)"
    assert incidence.hyperedge_degree.tolist() == [4, 1]
    assert incidence.vertex_degree.tolist() == [1, 1, 3]
    x = torch.tensor([[1.0], [2.0], [8.0]])
    assert incidence.to_hyperedges(x).tolist() == [[(1 + 2 + 8 + 8) / 4], [8.0]]
    assert incidence.to_hyperedges(x, 0.0).tolist() == [[19.0], [8.0]]


def test_operators_are_made_once_for_each_exponent_and_type() -> None:
    incidence = _incidence(hypergraphs()["duplicates"])
    assert incidence.hyperedge_operator() is incidence.hyperedge_operator(-1, torch.float32)
    assert incidence.hyperedge_operator(dtype=torch.bfloat16) is incidence.hyperedge_operator()
    assert incidence.hyperedge_operator(0.0) is incidence.adjacency
    assert incidence.hyperedge_operator() is not incidence.hyperedge_operator(-0.5)
    double = incidence.vertex_operator(-1.0, torch.float64)
    assert double is not incidence.vertex_operator() and double.dtype == torch.float64
    indices = {
        matrix.col_indices().data_ptr()
        for operator in (incidence.vertex_operator(), incidence.vertex_operator(-0.5))
        for matrix in (operator.adj, operator.adj_t)
    }
    assert len(indices) == 2  # values differ, indices are shared
    assert incidence.adjacency.adj_t.col_indices().dtype == torch.int32
    assert incidence.adjacency.adj.crow_indices().dtype == torch.int32


def test_float64_is_exact_although_the_matrix_is_float32() -> None:
    graph = hypergraph(3, 1, torch.tensor([[0, 1, 2], [0, 0, 0]]))
    out = _incidence(graph).to_hyperedges(torch.eye(3, dtype=torch.float64))
    assert out.tolist() == [[1 / 3] * 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_types_are_kept(dtype: torch.dtype) -> None:
    graph = hypergraphs()["duplicates"]
    incidence, h = _incidence(graph), graph.dense.t()
    x = rows(6, 3).detach().to(dtype)
    weight = torch.rand(4, generator=torch.Generator().manual_seed(0)) + 0.5
    expected, _ = dense_convolution(h, x.double(), weight.double())
    out = incidence.to_vertices(incidence.to_hyperedges(x), hyperedge_weight=weight)
    assert out.dtype == dtype
    eps = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(out.double(), expected, rtol=eps, atol=eps)


def test_dual_and_moves() -> None:
    graph = hypergraphs()["duplicates"]
    incidence, h = _incidence(graph), graph.dense.t()
    x, e = rows(6, 2), rows(4, 2)
    dual = incidence.t()
    assert (dual.num_vertices, dual.num_hyperedges) == (4, 6)
    torch.testing.assert_close(dual.to_hyperedges(e), diagonal(h.sum(1), -1) @ h @ e)
    moved = incidence.to("cpu").to(torch.float64)
    assert (moved.dtype, moved.device) == (torch.float64, torch.device("cpu"))
    torch.testing.assert_close(moved.to_hyperedges(x), diagonal(h.sum(0), -1) @ h.t() @ x)


@pytest.mark.parametrize("kind", ["CSR", "CSR int32", "COO", "SparseTensor", "Adjacency"])
def test_values_of_a_matrix_are_weights_of_incidences(kind: str) -> None:
    graph = random_graph(6, 4, 15, seed=1)
    h, incidence = graph.dense.t(), Incidence.from_adjacency(graph.as_kind(kind)[0])
    x = rows(6, 2)
    expected, e = dense_convolution(h, x, None, -0.5, -1.0)
    torch.testing.assert_close(incidence.to_hyperedges(x), e)
    torch.testing.assert_close(incidence.to_vertices(e, -0.5), expected)


def test_batched_gradients_are_a_loop() -> None:
    incidence = _incidence(hypergraphs()["duplicates"])
    x = rows(6, 3)
    out = incidence.to_vertices(incidence.to_hyperedges(x))
    grads = torch.randn(4, 6, 3, dtype=torch.float64)
    (batched,) = torch.autograd.grad(out, x, grads, is_grads_batched=True, retain_graph=True)
    looped = [torch.autograd.grad(out, x, grad, retain_graph=True)[0] for grad in grads]
    torch.testing.assert_close(batched, torch.stack(looped))
    stack = torch.randn(4, 6, 3, dtype=torch.float64)
    mapped = torch.vmap(incidence.to_hyperedges)(stack)
    torch.testing.assert_close(mapped, torch.stack([incidence.to_hyperedges(x) for x in stack]))


def test_no_step_waits_for_the_device() -> None:
    incidence = _incidence(hypergraphs()["duplicates"])
    x = torch.randn(6, 3, requires_grad=True)
    weight = torch.ones(4, requires_grad=True)

    def step() -> None:
        e = incidence.to_hyperedges(x)
        out = incidence.to_vertices(e) + incidence.to_vertices(e, -0.5, weight)
        out.sum().backward()

    step()  # makes the operators
    with NoSync():
        step()


def test_dict_from_a_graph() -> None:
    data = HeteroData()
    for node_type, number in (("user", 4), ("item", 3), ("category", 2), ("shop", 2)):
        data[node_type].num_nodes = number
    interactions = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 2]])
    data["user", "interacts", "item"].edge_index = interactions
    data["item", "rev_interacts", "user"].edge_index = interactions.flip(0)
    data["user", "trusts", "user"].edge_index = torch.tensor([[0], [1]])
    data["item", "in", "category"].edge_index = torch.tensor([[0, 1], [0, 0]])
    data["item", "in", "category"].task = "category"
    data["user", "in", "shop"].edge_index = torch.empty(2, 0, dtype=torch.long)
    data["user", "in", "shop"].task = "shop"
    found = Incidence.dict_from(data)
    assert {edge_type: incidence.size() for edge_type, incidence in found.items()} == {
        ("user", "interacts", "item"): (3, 4),
        ("item", "rev_interacts", "user"): (4, 3),
        ("item", "in", "category"): (2, 3),
        ("user", "in", "shop"): (2, 4),
    }
    assert found["item", "in", "category"].hyperedge_degree.tolist() == [2, 0]
    tasks = [("item", "in", "category"), ("user", "in", "shop")]
    assert list(Incidence.dict_from(data, main=None)) == tasks
    trusts = ("user", "trusts", "user")
    assert list(Incidence.dict_from(data, main=trusts)) == [trusts, *tasks]


@pytest.mark.parametrize(
    ("hyperedge_index", "message"),
    [
        (torch.zeros(3, 2).long(), r"shape \[2, E\] in 'Incidence' \(got \[3, 2\]\)"),
        (torch.zeros(2, 2), r"integer ids in 'Incidence' \(got torch.float32\)"),
        (torch.tensor([[0, 3], [0, 1]]), r"beyond 3 vertices and 2 hyperedges.*\[3, 1\]"),
        (torch.tensor([[0, 2], [0, 2]]), r"beyond 3 vertices and 2 hyperedges.*\[2, 2\]"),
        (torch.tensor([[0, -1], [0, 1]]), r"ids from \[-1, 0\] to \[0, 1\]"),
    ],
)
def test_bad_input(hyperedge_index: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Incidence(hyperedge_index, 3, 2)


def test_rows_that_do_not_fit() -> None:
    incidence = Incidence(torch.tensor([[0, 1], [0, 1]]), 3, 2)
    with pytest.raises(InputError, match=r"'x' needs to have the shape \[3, d\]"):
        incidence.to_hyperedges(torch.ones(2, 4))
    with pytest.raises(InputError, match="sparse matrix in 'Adjacency'"):
        Incidence.from_adjacency(torch.ones(2, 3))
    assert Incidence.from_adjacency(Adjacency(torch.ones(2, 3).to_sparse_csr())).size() == (2, 3)
