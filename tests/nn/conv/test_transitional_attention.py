import math

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
)
from hypothesis import given
from hypothesis import strategies as st
from nn_bank import EDGE_LISTS
from no_sync import NoSync
from torch import Tensor
from torch_geometric.nn import Sequential

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import HypergraphConv, TransitionalAttention


def _keys(num_tasks: int, num_hyperedges: int, width: int) -> list[Tensor]:
    return [rows(num_hyperedges, width, seed=10 + task) for task in range(num_tasks)]


def _reference(
    h: Tensor,
    x: Tensor,
    keys: list[Tensor],
    query_exponent: float = 0.0,
    scale: float | None = None,
    alpha: float = 10.0,
    beta: float = 0.1,
    activation: str | None = "tanh",
    vertex_exponent: float = -1.0,
) -> tuple[Tensor, Tensor]:
    """The authors' formulas from the dense incidence matrix, one hyperedge after the other."""
    scale = math.sqrt(x.size(1)) if scale is None else scale
    total = h.t() @ x
    mixed, attention = [], []
    for e in range(h.size(1)):
        degree = h[:, e].sum()
        query = total[e] * degree**query_exponent if degree > 0 else 0 * total[e]
        logits = torch.stack([query @ key[e] / scale for key in keys]) if keys else x.new_empty(0)
        weight = (logits - logits.max()).exp() if keys else logits
        weight = weight / weight.sum()
        c = sum((w * key[e] for w, key in zip(weight, keys, strict=True)), 0 * total[e])
        mixed.append(total[e] + alpha * (c.tanh() if activation else c))
        attention.append(weight)
    y = torch.stack(mixed) if mixed else torch.zeros_like(total)
    hop = diagonal(h.sum(1), vertex_exponent) @ h @ diagonal(h.sum(0), -1) @ y
    shape = (h.size(1), len(keys))
    return x + beta * hop, torch.stack(attention) if attention else x.new_empty(shape)


SETTINGS = {
    "authors": {"scale": 8.0},
    "default": {},
    "mean query": {"query_exponent": -1.0},
    "root query": {"query_exponent": -0.5, "scale": 0.3},
    "no activation": {"activation": None, "alpha": 0.7},
    "no features": {"alpha": 0.0},
    "strong": {"beta": 3.0, "vertex_exponent": -0.5},
}


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", hypergraphs())
def test_is_the_authors_formula(name: str, settings: str) -> None:
    graph = hypergraphs()[name]
    conv = TransitionalAttention(**SETTINGS[settings], stop_gradient=False)
    for width, num_tasks in ((1, 1), (3, 2), (2, 4)):
        x, keys = rows(graph.num_src, width), _keys(num_tasks, graph.num_dst, width)
        expected, weight = _reference(graph.dense.t(), x, keys, **SETTINGS[settings])
        out, attention = conv(x, as_form(graph, "Incidence"), keys, return_attention_weights=True)
        assert_equal_with_gradients(out, expected, [x, *keys])
        assert_equal_with_gradients(attention, weight, [x, *keys] if weight.requires_grad else [])
        alone = conv(x, as_form(graph, "Incidence"), keys)
        assert torch.equal(alone, out)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", hypergraphs())
def test_takes_every_form_of_a_hypergraph(name: str, form: str) -> None:
    graph = hypergraphs()[name]
    x, keys = rows(graph.num_src, 3), _keys(2, graph.num_dst, 3)
    expected, _ = _reference(graph.dense.t(), x, keys)
    out = TransitionalAttention(stop_gradient=False)(x, as_form(graph, form), keys)
    assert_equal_with_gradients(out, expected, [x, *keys])


def test_keys_as_one_tensor() -> None:
    graph = hypergraphs()["duplicates"]
    x, incidence = rows(6, 3), as_form(graph, "Incidence")
    keys = _keys(3, 4, 3)
    conv = TransitionalAttention(stop_gradient=False)
    together = conv(x, incidence, torch.stack(keys, dim=1))
    assert_equal_with_gradients(together, conv(x, incidence, keys), [x, *keys])
    out, attention = conv(x, incidence, torch.empty(4, 0, 3), True)
    assert attention.shape == (4, 0)
    torch.testing.assert_close(out, conv(x, incidence, ()))


@pytest.mark.parametrize("form", ["edge_index", "Incidence", "CSR"])
def test_without_a_task_it_is_a_second_hop(form: str) -> None:
    graph = hypergraphs()["empty hyperedges, isolated vertex"]
    x = rows(7, 3)
    out, attention = TransitionalAttention(beta=0.3)(x, as_form(graph, form), (), True)
    expected = x + 0.3 * dense_convolution(graph.dense.t(), x)[0]
    assert_equal_with_gradients(out, expected, [x])
    assert attention.numel() == 0
    assert torch.equal(out[6], x[6])  # has no hyperedge


def test_a_single_task_has_all_the_attention() -> None:
    graph = hypergraphs()["duplicates"]
    x, (key,) = rows(6, 3), _keys(1, 4, 3)
    out, attention = TransitionalAttention(alpha=2.0)(x, graph.edge_index, [key], True)
    assert torch.equal(attention, torch.ones(4, 1).double())
    h = graph.dense.t()
    mean = diagonal(h.sum(0), -1) @ (h.t() @ x + 2 * key.tanh())
    torch.testing.assert_close(out, x + 0.1 * diagonal(h.sum(1), -1) @ h @ mean)


def test_a_key_of_zeros_takes_its_share() -> None:
    graph = hypergraph(1, 1, torch.zeros(2, 1, dtype=torch.long))
    x, key = torch.tensor([[2.0, 0.0]]), torch.tensor([[3.0, 0.0]])
    _, attention = TransitionalAttention(scale=3.0)(
        x, graph.edge_index, (key, torch.zeros(1, 2)), True
    )
    share = 1 / (1 + math.exp(-2))
    torch.testing.assert_close(attention, torch.tensor([[share, 1 - share]]))


def test_gradients_stop_at_the_keys() -> None:
    graph = hypergraphs()["duplicates"]
    x, keys = rows(6, 3), _keys(2, 4, 3)
    out = TransitionalAttention()(x, as_form(graph, "Incidence"), keys)
    expected, _ = _reference(graph.dense.t(), x, [key.detach() for key in keys])
    assert_equal_with_gradients(out, expected, [x])
    grads = torch.autograd.grad(out.sum(), [x, *keys], allow_unused=True)
    assert grads[1:] == (None, None)


@pytest.mark.parametrize("form", [*EDGE_LISTS, "CSR", "Incidence"])
@pytest.mark.parametrize("num_tasks", [1, 3])
def test_gradcheck(form: str, num_tasks: int) -> None:
    graph = hypergraphs()["empty hyperedges, isolated vertex"]
    x, keys = rows(7, 2), _keys(num_tasks, 6, 2)
    conv, hyperedge_index = TransitionalAttention(stop_gradient=False), as_form(graph, form)

    def forward(x: Tensor, *keys: Tensor) -> Tensor:
        return conv(x, hyperedge_index, keys)

    assert torch.autograd.gradcheck(forward, (x, *keys))
    assert torch.autograd.gradgradcheck(forward, (x, *keys))


@given(
    num_vertices=st.integers(0, 6),
    num_hyperedges=st.integers(0, 6),
    size=st.integers(0, 20),
    width=st.integers(1, 4),
    num_tasks=st.integers(1, 4),
    x_scale=st.integers(-10, 10),
    key_scale=st.integers(-10, 10),
    query_exponent=st.sampled_from([0.0, -1.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=st.integers(0, 1000),
)
def test_softmax_is_stable_at_any_scale(
    num_vertices: int,
    num_hyperedges: int,
    size: int,
    width: int,
    num_tasks: int,
    x_scale: int,
    key_scale: int,
    query_exponent: float,
    dtype: torch.dtype,
    seed: int,
) -> None:
    graph = random_hypergraph(num_vertices, num_hyperedges, size, seed)
    x = (rows(num_vertices, width, seed).detach() * 10.0**x_scale).to(dtype).requires_grad_()
    keys = [
        (k.detach() * 10.0**key_scale).to(dtype) for k in _keys(num_tasks, num_hyperedges, width)
    ]
    keys = [key.requires_grad_() for key in keys]
    conv = TransitionalAttention(query_exponent=query_exponent, stop_gradient=False)
    out, attention = conv(x, as_form(graph, "Incidence"), keys, True)
    assert out.dtype == attention.dtype == dtype
    assert attention.min() >= 0 if attention.numel() else True
    torch.testing.assert_close(attention.sum(1), torch.ones(num_hyperedges, dtype=dtype))
    grads = torch.autograd.grad(out.sum(), [x, *keys])
    assert all(grad.isfinite().all() for grad in (out, *grads))
    if dtype == torch.float64 and x_scale + key_scale <= 3:  # beyond, rounding decides the softmax
        expected, weight = _reference(graph.dense.t(), x, keys, query_exponent)
        torch.testing.assert_close(attention, weight, rtol=1e-9, atol=1e-9)
        tolerance = 1e-9 * max(10.0**x_scale, min(10.0**key_scale, 1.0))
        torch.testing.assert_close(out, expected, rtol=1e-9, atol=tolerance)


def test_a_huge_query_chooses_one_task() -> None:
    graph = hypergraphs()["duplicates"]
    x, keys = rows(6, 3), _keys(3, 4, 3)
    out, attention = TransitionalAttention()(
        x * 1e10, as_form(graph, "Incidence"), [key * 1e10 for key in keys], True
    )
    fit = torch.stack([((graph.dense @ x) * key).sum(1) for key in keys], dim=1)
    chosen = torch.nn.functional.one_hot(fit.argmax(1), 3).double()
    assert torch.equal(attention, chosen)
    assert out.isfinite().all()


def test_nothing_is_larger_than_its_input() -> None:
    # 400 incidences of 90 vertices in 80 hyperedges, 5 tasks: no messages, no stacked keys.
    graph = random_hypergraph(90, 80, 400)
    incidence, x = as_form(graph, "Incidence"), rows(90, 16)
    keys = _keys(5, 80, 16)
    for given_keys in (keys, torch.stack(keys, dim=1).detach()):
        with Largest() as largest:
            TransitionalAttention()(x, incidence, given_keys)
        assert largest.numel <= 90 * 16
    with Largest() as largest:
        TransitionalAttention()(x, incidence, keys).sum().backward()
    assert largest.numel <= 90 * 16


def test_no_step_waits_for_the_device() -> None:
    incidence = as_form(hypergraphs()["duplicates"], "Incidence")
    conv = TransitionalAttention(stop_gradient=False, vertex_exponent=-0.5)
    x = torch.randn(6, 3, requires_grad=True)
    keys = [torch.randn(4, 3, requires_grad=True) for _ in range(2)]

    def step() -> None:
        for given_keys in (keys, torch.stack(keys, dim=1), ()):
            out, attention = conv(x, incidence, given_keys, return_attention_weights=True)
            (out.sum() + attention.square().sum()).backward()

    step()  # makes the operators
    with NoSync():
        step()


def test_batched_gradients_are_a_loop() -> None:
    graph = hypergraphs()["duplicates"]
    x, keys = rows(6, 3), _keys(2, 4, 3)
    out = TransitionalAttention(stop_gradient=False)(x, as_form(graph, "Incidence"), keys)
    grads = torch.randn(4, 6, 3, dtype=torch.float64)
    leaves = [x, *keys]
    batched = torch.autograd.grad(out, leaves, grads, is_grads_batched=True, retain_graph=True)
    looped = [torch.autograd.grad(out, leaves, grad, retain_graph=True) for grad in grads]
    for got, want in zip(batched, zip(*looped, strict=True), strict=True):
        torch.testing.assert_close(got, torch.stack(want))


@pytest.mark.parametrize("form", EDGE_LISTS)
def test_edge_masks_scale_messages(form: str) -> None:
    graph = hypergraphs()["duplicates"]
    x, keys, hyperedge_index = rows(6, 3), _keys(2, 4, 3), as_form(graph, form)
    mask = torch.randn(graph.weight.numel(), dtype=torch.float64)
    conv = TransitionalAttention(scale=8.0)
    conv.explain, conv._edge_mask = True, mask
    conv._loop_mask = torch.ones_like(mask, dtype=torch.bool)
    masked = torch.zeros(6, 4, dtype=torch.float64)
    pairs = tuple(hyperedge_index.as_subclass(Tensor))
    masked.index_put_(pairs, mask.sigmoid(), accumulate=True)
    h = graph.dense.t()
    total = masked.t() @ x
    logits = torch.stack([(total * key).sum(1) / 8 for key in keys], dim=1)
    c = sum(w.unsqueeze(1) * key for w, key in zip(logits.softmax(1).t(), keys, strict=True))
    mixed = diagonal(h.sum(0), -1) @ (total + 10 * c.tanh())
    expected = x + 0.1 * diagonal(h.sum(1), -1) @ masked @ mixed
    torch.testing.assert_close(conv(x, hyperedge_index, keys), expected)


@pytest.mark.parametrize("form", FORMS)
def test_sequential(form: str) -> None:
    graph = hypergraphs()["duplicates"]
    x, keys, h = rows(6, 3), _keys(2, 4, 3), graph.dense.t()
    net = Sequential(
        "x, adj, keys",
        [
            (HypergraphConv(), "x, adj -> x"),
            (TransitionalAttention(), "x, adj, keys -> x"),
        ],
    )
    expected, _ = _reference(h, dense_convolution(h, x)[0], keys)
    torch.testing.assert_close(net(x, as_form(graph, form), keys), expected)


def test_repr_and_state() -> None:
    conv = TransitionalAttention(scale=8.0)
    conv.reset_parameters()
    assert (
        repr(conv) == "TransitionalAttention(query_exponent=0.0, scale=8.0, alpha=10.0, beta=0.1)"
    )
    assert conv.state_dict() == {}


def test_bad_input() -> None:
    graph = hypergraphs()["duplicates"]
    x, conv = rows(6, 3), TransitionalAttention()
    for scale in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="'scale' needs to be positive"):
            TransitionalAttention(scale=scale)
    with pytest.raises(InputError, match=r"'activation' needs to be 'tanh' or None.*got 'relu'"):
        TransitionalAttention(activation="relu")
    with pytest.raises(InputError, match="'flow' needs to be 'source_to_target'"):
        TransitionalAttention(flow="target_to_source")
    incidence = as_form(graph, "Incidence")
    with pytest.raises(InputError, match=r"'keys' needs to have 4 rows.*hyperedge \(got 5\)"):
        conv(x, incidence, _keys(1, 5, 3))
    with pytest.raises(InputError, match=r"'keys' needs to have 4 rows.*hyperedge \(got 3\)"):
        conv(x, graph.edge_index, [*_keys(1, 4, 3), torch.ones(3, 3)])
    with pytest.raises(InputError, match=r"as wide as 'x'.*got \[2\] and \[3\]"):
        conv(x, incidence, _keys(1, 4, 2))
    with pytest.raises(InputError, match="'x' needs to have 6 rows"):
        conv(rows(5, 3), incidence, ())
