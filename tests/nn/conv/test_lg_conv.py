import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nn_bank import EDGE_LISTS, KINDS, bipartite_graphs, normalized, random_graph, square_graph
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import LGConv as PyGLGConv

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import LGConv


def _rows(num_rows: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_rows, width, generator=generator, dtype=torch.float64)
    return x.requires_grad_()


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", bipartite_graphs())
def test_bipartite_is_the_dense_product(name: str, kind: str, normalize: bool) -> None:
    graph = bipartite_graphs()[name]
    dense = normalized(graph.dense) if normalize else graph.dense
    adj, weight = graph.as_kind(kind)
    conv = LGConv(normalize=normalize)
    for width in (1, 4):
        x = _rows(graph.num_src, width)
        out = conv((x, torch.empty(graph.num_dst, 1)), adj, weight)
        torch.testing.assert_close(out, dense @ x, rtol=1e-13, atol=1e-14)
        grad = torch.randn_like(out)
        (got,) = torch.autograd.grad(out, x, grad)
        torch.testing.assert_close(got, dense.t() @ grad, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_square_is_the_dense_product(kind: str, normalize: bool) -> None:
    graph = square_graph()
    dense = normalized(graph.dense, same_nodes=True) if normalize else graph.dense
    adj, weight = graph.as_kind(kind)
    x = _rows(13, 3)
    out = LGConv(normalize=normalize)(x, adj, weight)
    torch.testing.assert_close(out, dense @ x, rtol=1e-13, atol=1e-14)
    assert torch.equal(out[12], torch.zeros(3, dtype=torch.float64))
    as_pair = LGConv(normalize=normalize)((x, x), adj, weight)
    assert torch.equal(out, as_pair)
    assert torch.autograd.gradgradcheck(lambda x: LGConv(normalize)(x, adj, weight), x)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_is_pygs_layer_on_an_edge_list(normalize: bool, weighted: bool, flow: str) -> None:
    graph = square_graph()
    weight = graph.weight if weighted else None
    x = _rows(13, 3)
    ours = LGConv(normalize, flow=flow)(x, graph.edge_index, weight)
    theirs = PyGLGConv(normalize, flow=flow)(x, graph.edge_index, weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("kind", ["edge_index", "sorted EdgeIndex", "CSR"])
@pytest.mark.parametrize("aggr", ["mean", "max"])
def test_other_aggregations(kind: str, aggr: str) -> None:
    graph = random_graph(5, 6, 12)
    adj, weight = graph.as_kind(kind)
    x = _rows(5, 3)
    out = LGConv(normalize=False, aggr=aggr)((x, torch.empty(6, 1)), adj, weight)
    if kind == "CSR":  # there, repeated edges are one
        matrix = graph.dense.to_sparse_coo()
        edges, weights = matrix.indices().flip(0), matrix.values()
    else:
        edges, weights = graph.edge_index, graph.weight
    for dst in range(6):
        messages = [
            w * x[s] for s, d, w in zip(*edges.tolist(), weights.tolist(), strict=True) if d == dst
        ]
        if not messages:
            expected = torch.zeros(3, dtype=torch.float64)
        elif aggr == "mean":
            expected = torch.stack(messages).mean(0)
        else:
            expected = torch.stack(messages).amax(0)
        torch.testing.assert_close(out[dst], expected)


@given(
    num_src=st.integers(1, 5),
    num_dst=st.integers(1, 5),
    num_edges=st.integers(0, 15),
    exponent=st.integers(-10, 10),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 100),
)
def test_normalisation_cancels_the_scale_of_weights(
    num_src: int, num_dst: int, num_edges: int, exponent: int, kind: str, seed: int
) -> None:
    graph = random_graph(num_src, num_dst, num_edges, seed)
    expected = normalized(graph.dense)
    graph.weight = graph.weight * 10.0**exponent
    adj, weight = graph.as_kind(kind)
    x = _rows(num_src, 2)
    out = LGConv()((x, torch.empty(num_dst, 1)), adj, weight)
    torch.testing.assert_close(out, expected @ x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", [*EDGE_LISTS, "CSR", "COO", "SparseTensor"])
def test_gradients_of_weights(kind: str, normalize: bool) -> None:
    graph = bipartite_graphs()["isolated"]
    x = _rows(graph.num_src, 2)

    def forward(values: Tensor) -> Tensor:
        graph.weight = values
        if kind == "CSR":  # made from a dense matrix, torch lets gradients pass
            matrix = torch.zeros(graph.num_dst, graph.num_src, dtype=torch.float64)
            index = tuple(graph.edge_index.flip(0))
            adj, weight = matrix.index_put(index, values, accumulate=True).to_sparse_csr(), None
        else:
            adj, weight = graph.as_kind(kind)
        return LGConv(normalize)((x, torch.empty(graph.num_dst, 1)), adj, weight)

    values = graph.weight.clone().requires_grad_()
    dense = torch.zeros(graph.num_dst, graph.num_src, dtype=torch.float64)
    dense = dense.index_put(tuple(graph.edge_index.flip(0)), values, accumulate=True)
    if normalize:
        row, col = dense.sum(1), dense.sum(0)
        row, col = row + (row == 0).double(), col + (col == 0).double()
        dense = dense / (row[:, None] * col[None, :]).sqrt()
    expected = dense @ x
    out = forward(values)
    torch.testing.assert_close(out, expected)
    for got, want in zip(
        torch.autograd.grad(out.square().sum(), (values, x)),
        torch.autograd.grad(expected.square().sum(), (values, x)),
        strict=True,
    ):
        torch.testing.assert_close(got, want)


def test_hooks_run_on_matrices() -> None:
    graph = random_graph(5, 6, 12)
    conv = LGConv(normalize=False)
    calls = []
    conv.register_message_and_aggregate_forward_hook(lambda *args: calls.append(args))
    conv((_rows(5, 2), torch.empty(6, 1)), graph.as_kind("Adjacency")[0])
    assert len(calls) == 1


def test_half_precision_keeps_its_type() -> None:
    graph = random_graph(5, 6, 12)
    x = torch.randn(5, 2).to(torch.bfloat16)
    dense = normalized((graph.dense != 0).double())
    edges = graph.dense.nonzero().t().flip(0)
    out = LGConv()((x, torch.empty(6, 1)), edges)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.double(), dense @ x.double(), rtol=0.03, atol=0.03)


def test_repr_reset_and_state() -> None:
    conv = LGConv()
    conv.reset_parameters()
    assert repr(conv) == "LGConv(normalize=True)"
    assert conv.state_dict() == {}


def test_bad_input() -> None:
    graph = random_graph(5, 6, 12)
    x = _rows(5, 2)
    csr, edge_index = graph.as_kind("CSR")[0], graph.as_kind("sorted EdgeIndex")[0]
    with pytest.raises(InputError, match="'edge_weight' needs to be None in 'LGConv'"):
        LGConv()((x, None), csr, graph.weight)
    with pytest.raises(InputError, match=r"one row a destination.*got 6 x 5 for 4"):
        LGConv()((x, torch.ones(4, 2)), csr)
    with pytest.raises(InputError, match=r"'x' needs to have the shape \[5, d\]"):
        LGConv()((torch.ones(3, 2), None), csr)
    with pytest.raises(InputError, match=r"'x\[1\]' needs to be given in 'LGConv'"):
        LGConv()((x, None), graph.edge_index)
    with pytest.raises(InputError, match=r"'x\[1\]' needs to have 6 rows in 'LGConv'"):
        LGConv()((x, torch.ones(4, 2)), edge_index)
    with pytest.raises(InputError, match="'flow' needs to be 'source_to_target' in 'LGConv'"):
        LGConv(flow="target_to_source")((x, None), csr)
    with pytest.raises(ValueError, match="Flow direction"):
        LGConv(flow="target_to_source")(torch.ones(13, 2), square_graph().as_kind("CSR")[0])
    for ends in ([[0, 5], [0, 1]], [[0, 1], [0, 6]]):
        beyond = EdgeIndex(ends, sort_order="col")
        with pytest.raises(InputError, match=r"nodes beyond 5 sources and 6 destinations"):
            LGConv(normalize=False)((x, torch.ones(6, 2)), beyond)


def test_destinations_may_be_left_out_where_their_number_is_known() -> None:
    graph = random_graph(5, 6, 12)
    x = _rows(5, 2)
    for kind in KINDS[1:]:
        adj, weight = graph.as_kind(kind)
        out = LGConv()((x, None), adj, weight)
        torch.testing.assert_close(out, normalized(graph.dense) @ x)
