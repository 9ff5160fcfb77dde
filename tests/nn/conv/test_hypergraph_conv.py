import pytest
import torch
from hypergraph_bank import (
    FORMS,
    Largest,
    as_form,
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
from nn_bank import EDGE_LISTS, random_graph
from no_sync import NoSync
from torch import Tensor
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import HeteroConv, Sequential, to_hetero
from torch_geometric.nn import HypergraphConv as PyGHypergraphConv

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import HypergraphConv, Incidence


def _conv(*args: object, **kwargs: object) -> HypergraphConv:
    conv = HypergraphConv(*args, **kwargs).double()
    conv.reset_parameters(torch.Generator().manual_seed(0))
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias, generator=torch.Generator().manual_seed(1))
    return conv


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", hypergraphs())
def test_is_the_dense_formula(name: str, form: str) -> None:
    graph = hypergraphs()[name]
    h, hyperedge_index = graph.dense.t(), as_form(graph, form)
    for width, p, q in ((1, -1.0, -1.0), (3, -0.5, -1.0), (2, 0.0, 0.0), (2, 1.0, -2.0)):
        x, weight = rows(graph.num_src, width), weights(graph.num_dst)
        conv = HypergraphConv(vertex_exponent=p, hyperedge_exponent=q)
        for w in (None, weight):
            out, e = conv(x, hyperedge_index, w, num_edges=graph.num_dst, return_hyperedges=True)
            expected, expected_e = dense_convolution(h, x, w, p, q)
            inputs = [x] if w is None else [x, w]
            assert_equal_with_gradients(out, expected, inputs)
            assert_equal_with_gradients(e, expected_e, [x])
    x = rows(graph.num_src, 3)
    conv = _conv(3, 2)
    out = conv(x, hyperedge_index, num_edges=graph.num_dst)
    expected, _ = dense_convolution(h, x @ conv.lin.weight.t())
    assert_equal_with_gradients(out, expected + conv.bias, [x, *conv.parameters()])


@pytest.mark.parametrize(
    ("attention", "heads", "concat"),
    [
        (None, 1, True),
        *(
            (mode, *heads)
            for mode in ("node", "edge")
            for heads in ((1, True), (3, True), (3, False))
        ),
    ],
)
@pytest.mark.parametrize("name", hypergraphs())
def test_is_pygs_layer_without_weights(
    name: str, attention: str | None, heads: int, concat: bool
) -> None:
    graph = hypergraphs()[name]
    args = (4, 2, attention is not None, attention or "node", heads, concat)
    ours, theirs = _conv(*args), PyGHypergraphConv(*args).double()
    theirs.load_state_dict(ours.state_dict())
    x, attr = rows(graph.num_src, 4), rows(graph.num_dst, 4, seed=1)
    kwargs = {"hyperedge_attr": attr, "num_edges": graph.num_dst}
    out = ours(x, graph.edge_index, **kwargs)
    expected = theirs(x, graph.edge_index, **kwargs)
    assert_equal_with_gradients(out, expected, [x, attr])
    for got, want in zip(
        torch.autograd.grad(out.square().sum(), [*ours.parameters()]),
        torch.autograd.grad(expected.square().sum(), [*theirs.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("mode", ["node", "edge"])
@pytest.mark.parametrize("form", ["CSR", "SparseTensor", "Adjacency", "Incidence", "COO"])
def test_attention_counts_an_incidence_twice_that_a_matrix_counts_twice(
    form: str, mode: str
) -> None:
    graph = hypergraphs()["duplicates"]
    conv = _conv(3, 2, True, mode, 2)
    x, attr, weight = rows(6, 3), rows(4, 3, seed=1), weights(4)
    out = conv(x, as_form(graph, form), weight, attr)
    expected = conv(x, graph.edge_index, weight, attr)
    assert_equal_with_gradients(out, expected, [x, attr, weight, *conv.parameters()])


def test_weighted_attention_is_a_loop_over_incidences() -> None:
    graph = hypergraphs()["empty hyperedges, isolated vertex"]
    conv = _conv(3, 2, True, "edge", bias=False)
    x, attr, weight = rows(7, 3), rows(6, 3, seed=1), weights(6)
    logits = torch.full((7, 6), -torch.inf, dtype=torch.float64)
    left, right = x @ conv.lin.weight.t(), attr @ conv.lin.weight.t()
    for v, e in graph.edge_index.t().tolist():
        logits[v, e] = torch.cat([left[v], right[e]]) @ conv.att.view(-1)
    logits = torch.where(logits > 0, logits, 0.2 * logits)
    masked = logits.softmax(1).nan_to_num(0.0)  # over the hyperedges of a vertex
    h = graph.dense.t()
    e = diagonal(h.sum(0), -1) @ masked.t() @ left
    expected = diagonal(h @ weight, -1) @ masked @ torch.diag(weight) @ e
    torch.testing.assert_close(conv(x, graph.edge_index, weight, attr), expected)


def test_attention_drops_in_training_only() -> None:
    graph = random_hypergraph(6, 4, 200)
    conv = _conv(3, 2, True, dropout=0.5)
    x, attr = rows(6, 3), rows(4, 3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(
            conv(x, graph.edge_index, None, attr), conv(x, graph.edge_index, None, attr)
        )
    conv.eval()
    plain = _conv(3, 2, True)
    out = conv(x, graph.edge_index, None, attr)
    torch.testing.assert_close(out, plain(x, graph.edge_index, None, attr))


@pytest.mark.parametrize("form", [*EDGE_LISTS, "CSR", "COO", "SparseTensor", "Incidence"])
def test_gradcheck(form: str) -> None:
    graph = hypergraphs()["empty hyperedges, isolated vertex"]
    conv, hyperedge_index = HypergraphConv(), as_form(graph, form)
    x, weight = rows(7, 2), weights(6)
    assert torch.autograd.gradcheck(lambda x, w: conv(x, hyperedge_index, w), (x, weight))
    assert torch.autograd.gradgradcheck(lambda x, w: conv(x, hyperedge_index, w), (x, weight))


@pytest.mark.parametrize("form", ["CSR", "COO", "SparseTensor"])
def test_values_of_a_matrix_may_require_a_gradient(form: str) -> None:
    graph = random_graph(5, 4, 11, seed=1)
    weight, x = weights(4), rows(5, 2)

    def forward(values: Tensor) -> Tensor:
        graph.weight = values
        if form == "CSR":  # made from a dense matrix, torch lets gradients pass
            matrix = torch.zeros(4, 5, dtype=torch.float64)
            index = tuple(graph.edge_index.flip(0))
            adj_t = matrix.index_put(index, values, accumulate=True).to_sparse_csr()
        else:
            adj_t = graph.as_kind(form)[0]
        return HypergraphConv()(x, adj_t, weight)

    values = graph.weight.clone().requires_grad_()
    dense = torch.zeros(5, 4, dtype=torch.float64)
    dense = dense.index_put(tuple(graph.edge_index), values, accumulate=True)
    expected, _ = dense_convolution(dense, x, weight)
    assert_equal_with_gradients(forward(values), expected, [x, values, weight])


@given(
    num_vertices=st.integers(1, 6),
    num_hyperedges=st.integers(1, 6),
    size=st.integers(0, 20),
    scale=st.integers(-10, 10),
    form=st.sampled_from([form for form in FORMS if form != "SparseTensor"]),
    seed=st.integers(0, 1000),
)
def test_weights_of_any_scale_cancel_in_float32(
    num_vertices: int, num_hyperedges: int, size: int, scale: int, form: str, seed: int
) -> None:
    graph = random_hypergraph(num_vertices, num_hyperedges, size, seed)
    x, weight = rows(num_vertices, 2).detach(), weights(num_hyperedges).detach()
    expected, _ = dense_convolution(graph.dense.t(), x, weight)
    x32 = (x * 10.0**-scale).float().requires_grad_()
    w32 = (weight * 10.0**scale).float().requires_grad_()
    out = HypergraphConv()(x32, as_form(graph, form), w32, num_edges=num_hyperedges)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out.double() * 10.0**scale, expected, rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert x32.grad.isfinite().all() and w32.grad.isfinite().all()


def test_a_pair_asks_for_the_rows_of_hyperedges() -> None:
    graph = hypergraphs()["empty hyperedges, isolated vertex"]
    x, h = rows(7, 3), graph.dense.t()
    conv = _conv(3, 2)
    expected, e = dense_convolution(h, x @ conv.lin.weight.t())
    for hyperedges in (torch.empty(6, 5), None):
        form = "edge_index" if hyperedges is not None else "Incidence"
        pair = (x, hyperedges)
        torch.testing.assert_close(conv(pair, as_form(graph, form)), e)
        both = conv(pair, as_form(graph, form), return_hyperedges=True)
        torch.testing.assert_close(both[0], expected + conv.bias)
        torch.testing.assert_close(both[1], e)
    heads = _conv(3, 2, True, heads=3, concat=False)
    attr = rows(6, 3)
    out, e = heads(x, graph.edge_index, None, attr, return_hyperedges=True)
    assert (out.shape, e.shape) == ((7, 2), (6, 2))
    torch.testing.assert_close(heads((x, attr), graph.edge_index, None, attr), e)


def test_number_of_hyperedges_is_that_of_the_largest_id_or_of_what_is_given() -> None:
    index = torch.tensor([[0, 1, 2], [0, 2, 2]])
    x, conv = rows(3, 2), HypergraphConv()
    for expected, args in ((3, {}), (5, {"num_edges": 5}), (4, {"hyperedge_weight": weights(4)})):
        _, e = conv(x, index, **args, return_hyperedges=True)
        assert e.size(0) == expected


def test_the_width_of_the_input_may_be_left_open() -> None:
    graph = hypergraphs()["duplicates"]
    x = rows(6, 5)
    conv = HypergraphConv(-1, 2).double()
    out = conv(x, graph.edge_index)
    expected, _ = dense_convolution(graph.dense.t(), x @ conv.lin.weight.t())
    torch.testing.assert_close(out, expected + conv.bias)
    assert conv.lin.weight.abs().max() <= (6 / 7) ** 0.5
    with pytest.raises(InputError, match="'in_channels' needs to be known"):
        HypergraphConv(-1, 2).reset_parameters(torch.Generator())


@pytest.mark.parametrize("aggr", ["mean", "max"])
@pytest.mark.parametrize("form", ["edge_index", "sorted EdgeIndex", "Incidence", "CSR"])
def test_other_aggregations(form: str, aggr: str) -> None:
    graph = hypergraphs()["empty hyperedges, isolated vertex"]
    x = rows(7, 2)
    out = HypergraphConv(aggr=aggr)(x, as_form(graph, form), num_edges=6)
    theirs = PyGHypergraphConv(2, 2, bias=False, aggr=aggr).double()
    theirs.lin.weight.data = torch.eye(2).double()
    torch.testing.assert_close(out, theirs(x, graph.edge_index, num_edges=6))


RATES, RATED = ("user", "interacts", "item"), ("item", "rev_interacts", "user")
TRUSTS = ("user", "trusts", "user")
GRAPHS = {
    RATES: random_hypergraph(5, 6, 12, seed=1),
    RATED: random_hypergraph(6, 5, 12, seed=2),
    TRUSTS: random_hypergraph(5, 5, 9, seed=3),
}


@pytest.mark.parametrize("form", FORMS)
def test_hetero_conv(form: str) -> None:
    x_dict = {"user": rows(5, 3), "item": rows(6, 3, seed=1)}
    conv = HeteroConv({RATES: _conv(3, 2), RATED: HypergraphConv(), TRUSTS: HypergraphConv()})
    out = conv(x_dict, {key: as_form(graph, form) for key, graph in GRAPHS.items()})
    h = {key: graph.dense.t() for key, graph in GRAPHS.items()}
    lin = conv.convs[RATES].lin
    item = dense_convolution(h[RATES], x_dict["user"] @ lin.weight.t())[1]
    rated = dense_convolution(h[RATED], x_dict["item"])[1]
    trusts = dense_convolution(h[TRUSTS], x_dict["user"])[0]
    torch.testing.assert_close(out["item"], item)
    torch.testing.assert_close(out["user"], rated + trusts)


@pytest.mark.parametrize("form", FORMS)
def test_to_hetero(form: str) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = HypergraphConv(), HypergraphConv(vertex_exponent=-0.5)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.second(self.first(x, edge_index).tanh(), edge_index)

    net = to_hetero(Net(), (["user", "item"], list(GRAPHS)), aggr="sum")
    x = {"user": rows(5, 3), "item": rows(6, 3, seed=1)}
    out = net(x, {key: as_form(graph, form) for key, graph in GRAPHS.items()})
    for p in (-1.0, -0.5):
        by_type = {
            key: dense_convolution(graph.dense.t(), x[key[0]], p=p) for key, graph in GRAPHS.items()
        }
        x = {"user": by_type[RATED][1] + by_type[TRUSTS][0], "item": by_type[RATES][1]}
        x = {key: value.tanh() for key, value in x.items()} if p == -1 else x
    torch.testing.assert_close(out, x)


@pytest.mark.parametrize("form", FORMS)
def test_sequential(form: str) -> None:
    graph = hypergraphs()["duplicates"]
    x = rows(6, 3)
    layers = [
        (_conv(3, 2, bias=False), "x, adj, weight -> x"),
        torch.nn.Tanh(),
        (HypergraphConv(), "x, adj, weight -> x"),
    ]
    net, weight = Sequential("x, adj, weight", layers), weights(4)
    h = graph.dense.t()
    hidden = dense_convolution(h, x @ next(net.parameters()).t(), weight)[0].tanh()
    out = net(x, as_form(graph, form), weight)
    torch.testing.assert_close(out, dense_convolution(h, hidden, weight)[0])


@pytest.mark.parametrize("form", EDGE_LISTS)
def test_edge_masks_scale_messages(form: str) -> None:
    # What every mask-based explainer relies on: sigmoid(mask) multiplies both messages of an
    # incidence, on the way to its hyperedge and on the way back.
    graph = hypergraphs()["duplicates"]
    hyperedge_index = as_form(graph, form)
    mask = torch.randn(graph.weight.numel(), dtype=torch.float64)
    x, weight = rows(6, 3), weights(4)
    conv = HypergraphConv()
    conv.explain, conv._edge_mask = True, mask
    conv._loop_mask = torch.ones_like(mask, dtype=torch.bool)
    masked = torch.zeros(6, 4, dtype=torch.float64)
    pairs = tuple(hyperedge_index.as_subclass(Tensor))
    masked.index_put_(pairs, mask.sigmoid(), accumulate=True)
    h = graph.dense.t()
    e = diagonal(h.sum(0), -1) @ masked.t() @ x
    expected = diagonal(h @ weight, -1) @ masked @ torch.diag(weight) @ e
    torch.testing.assert_close(conv(x, hyperedge_index, weight), expected)


def test_explainer_finds_the_incidences_that_matter() -> None:
    # Vertex 0 hears from 1 and 2 through hyperedge 0; hyperedge 1 is elsewhere.
    hyperedge_index = torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 1]])
    torch.manual_seed(0)
    net = Sequential(
        "x, edge_index", [(HypergraphConv(), "x, edge_index -> x"), torch.nn.Flatten(0)]
    )
    explainer = Explainer(
        net,
        GNNExplainer(epochs=20),
        explanation_type="model",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
    )
    x = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    before = net(x, hyperedge_index)
    mask = explainer(x, hyperedge_index, index=0).edge_mask
    assert mask[:3].min() > 0
    assert torch.equal(mask[3:], torch.zeros(2))
    assert torch.equal(net(x, hyperedge_index), before)


def test_hooks_run_on_matrices() -> None:
    graph, calls = hypergraphs()["duplicates"], []
    conv = HypergraphConv()
    conv.register_message_and_aggregate_forward_hook(lambda *args: calls.append(args))
    conv(rows(6, 2), as_form(graph, "Incidence"))
    assert len(calls) == 2


def test_nothing_of_the_size_of_the_messages_or_of_vertices_squared() -> None:
    graph = random_hypergraph(100, 60, 400)
    incidence, x, weight = as_form(graph, "Incidence"), rows(100, 4), weights(60)
    conv = HypergraphConv()
    for w in (None, weight):
        with Largest() as largest:
            conv(x, incidence, w).sum().backward()
        assert largest.numel <= 100 * 4
    with Largest() as largest:
        conv(x, graph.edge_index, weight).sum().backward()
    assert largest.numel <= 400 * 4


def test_no_step_waits_for_the_device() -> None:
    graph = hypergraphs()["duplicates"]
    incidence = as_form(graph, "Incidence")
    conv = HypergraphConv(3, 2, vertex_exponent=-0.5)
    x = torch.randn(6, 3, requires_grad=True)
    weight = torch.ones(4, requires_grad=True)

    def step() -> None:
        out, e = conv(x, incidence, weight, return_hyperedges=True)
        (out.sum() + e.sum() + conv(x, incidence).sum()).backward()

    step()  # makes the operators
    with NoSync():
        step()
        # Nor does a list of incidences whose number of hyperedges is given.
        conv(x, graph.edge_index, weight).sum().backward()


def test_half_precision_keeps_its_type() -> None:
    graph = hypergraphs()["duplicates"]
    x, weight = rows(6, 3).detach(), weights(4).detach()
    expected, _ = dense_convolution(graph.dense.t(), x.bfloat16().double(), weight)
    explained = HypergraphConv()  # single messages of a matrix
    mask = torch.full((int((graph.dense != 0).sum()),), 99.0, dtype=torch.bfloat16)
    explained.explain, explained._edge_mask = True, mask
    explained._loop_mask = torch.ones_like(mask, dtype=torch.bool)
    for conv, form in (
        (HypergraphConv(), "edge_index"),
        (HypergraphConv(), "Incidence"),
        (HypergraphConv(), "CSR"),
        (explained, "Incidence"),
    ):
        out = conv(x.bfloat16(), as_form(graph, form), weight.float())
        assert out.dtype == torch.bfloat16
        torch.testing.assert_close(out.double(), expected, rtol=0.03, atol=0.03)


def test_initial_weights_come_from_the_generator() -> None:
    one, two, other = (HypergraphConv(40, 20, True, heads=3) for _ in range(3))
    for conv, seed in ((one, 3), (two, 3), (other, 4)):
        conv.reset_parameters(torch.Generator().manual_seed(seed))
    assert torch.equal(one.lin.weight, two.lin.weight) and torch.equal(one.att, two.att)
    assert not torch.equal(one.lin.weight, other.lin.weight)
    assert not torch.equal(one.att, other.att)
    for weight, bound in ((one.lin.weight, (6 / 100) ** 0.5), (one.att, (6 / 43) ** 0.5)):
        assert bound * 0.9 < weight.abs().max() <= bound
    assert torch.equal(one.bias, torch.zeros(60))


def test_repr_and_state() -> None:
    assert repr(HypergraphConv()) == "HypergraphConv()"
    assert repr(HypergraphConv(3, 2)) == "HypergraphConv(3, 2)"
    assert HypergraphConv().state_dict() == {}
    assert list(HypergraphConv(3, 2, bias=False).state_dict()) == ["lin.weight"]


def test_bad_input() -> None:
    graph = hypergraphs()["duplicates"]
    x, index = rows(6, 3), graph.edge_index
    with pytest.raises(InputError, match=r"given both or not at all.*got 3 and None"):
        HypergraphConv(3)
    with pytest.raises(InputError, match="'use_attention' needs 'in_channels'"):
        HypergraphConv(use_attention=True)
    with pytest.raises(InputError, match="'attention_mode' needs to be 'node' or 'edge'"):
        HypergraphConv(3, 2, True, "nodes")
    with pytest.raises(InputError, match="'flow' needs to be 'source_to_target'"):
        HypergraphConv(flow="target_to_source")
    with pytest.raises(InputError, match="'hyperedge_attr' needs to be given"):
        HypergraphConv(3, 2, True)(x.float(), index)
    for form in ("sorted EdgeIndex", "CSR", "Adjacency", "Incidence"):
        hyperedge_index = as_form(graph, form)
        with pytest.raises(InputError, match=r"'x' needs to have 6 rows.*each vertex \(got 5\)"):
            HypergraphConv()(rows(5, 3), hyperedge_index)
        with pytest.raises(InputError, match=r"'hyperedge_weight' needs to have 4 rows.*\(got 5\)"):
            HypergraphConv()(x, hyperedge_index, weights(5))
        with pytest.raises(InputError, match=r"'num_edges' needs to have 4 rows.*\(got 3\)"):
            HypergraphConv()(x, hyperedge_index, num_edges=3)
    with pytest.raises(InputError, match=r"'x\[1\]' needs to have 5 rows.*\(got 4\)"):
        HypergraphConv()((x, torch.ones(4, 3)), index, num_edges=5)


def test_an_incidence_moves_between_layers() -> None:
    graph = hypergraph(3, 2, torch.tensor([[0, 1, 2, 2], [0, 0, 0, 1]]))
    incidence: Incidence = as_form(graph, "Incidence")  # type: ignore[assignment]
    x, h = rows(3, 2), graph.dense.t()
    for p in (-1.0, -0.5, -1.0):  # exponents of one layer do not reach the next
        out = HypergraphConv(vertex_exponent=p)(x, incidence)
        torch.testing.assert_close(out, dense_convolution(h, x, None, p)[0])
