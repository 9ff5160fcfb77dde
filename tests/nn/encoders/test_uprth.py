"""The task hypergraph encoder against its formula over dense matrices, in float64."""

import math
from functools import partial

import pytest
import torch
from bank import IN_CATEGORY, IN_GROUP, MAIN, REVERSE, TRUSTS, graphs
from hypergraph_bank import FORMS, as_form, hypergraph
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import grad

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import Incidence, TaskHypergraphEncoder
from pyg_mtrec.transforms import AddTaskHypergraphs

USERS, ITEMS, DIM = 5, 6, 3
FRIENDS, RATING = ("user", "in", "hyperedge_friends"), ("item", "in", "hyperedge_rating")
AUTHORS = {"scale": 8.0, "alpha": 10.0, "beta": 0.1}
# User 4 and item 5 have no interaction, one interaction is twice.
INTERACTIONS = [[0, 0, 1, 2, 3, 3, 0], [0, 1, 1, 2, 1, 4, 1]]
# Vertices, hyperedges and incidences. Category 1 is empty, item 3 has no category, 0 has two;
# an incidence is twice; user 1 is in no group.
TASKS = {
    IN_CATEGORY: (ITEMS, 4, [[0, 0, 1, 2, 4, 5, 2], [0, 2, 2, 0, 3, 2, 0]]),
    RATING: (ITEMS, 2, [[0, 1, 2, 3, 5], [0, 0, 1, 1, 1]]),
    IN_GROUP: (USERS, 3, [[0, 2, 3, 4, 4], [0, 0, 1, 1, 2]]),
    FRIENDS: (USERS, 2, [[1, 2, 3], [1, 1, 0]]),
}


def incidences(*tasks: tuple[str, str, str]) -> dict:
    """Edge type to vertices, hyperedges and the incidences, those of interactions first."""
    index = torch.tensor(INTERACTIONS)
    found = {MAIN: (USERS, ITEMS, index), REVERSE: (ITEMS, USERS, index.flip(0))}
    for task in tasks:
        num_vertices, num_hyperedges, index = TASKS[task]
        found[task] = num_vertices, num_hyperedges, torch.tensor(index).reshape(2, -1).long()
    return found


def operators(found: dict, form: str = "Incidence") -> dict:
    return {
        edge_type: as_form(hypergraph(vertices, hyperedges, index), form)
        for edge_type, (vertices, hyperedges, index) in found.items()
    }


def dense(found: dict) -> dict[tuple, Tensor]:
    """Edge type to incidence matrix [N, M], repeated incidences added up."""
    out = {}
    for edge_type, (vertices, hyperedges, index) in found.items():
        out[edge_type] = torch.zeros(vertices, hyperedges, dtype=torch.float64)
        for vertex, hyperedge in index.t().tolist():
            out[edge_type][vertex, hyperedge] += 1
    return out


def tables(seed=0, num_users=USERS, num_items=ITEMS, dim=DIM, scale=1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (scale * torch.randn(num, dim, generator=generator).double()).requires_grad_()
        for name, num in (("user", num_users), ("item", num_items))
    }


def convolution(h: Tensor, x: Tensor, p: float = -1.0) -> tuple[Tensor, Tensor]:
    """Means over vertices, and over hyperedges (or another power); degrees of at least one."""
    e = (h.t() @ x) / h.sum(0).clamp(min=1)[:, None]
    return h.sum(1).clamp(min=1)[:, None] ** p * (h @ e), e


def attention(h, x, keys, scale, alpha, beta, query_exponent=0.0, activation=torch.tanh, stop=True):
    """The second hop: what hyperedges take from the tasks, row by row."""
    degree = h.sum(0)
    rows, weights = [], []
    for e in range(h.size(1)):
        query = h[:, e] @ x
        features = torch.stack([key.detach()[e] if stop else key[e] for key in keys])
        factor = degree[e].clamp(min=1) ** query_exponent
        a = (features @ (factor * query) / scale).softmax(0)
        rows.append((query + alpha * activation(a @ features)) / degree[e].clamp(min=1))
        weights.append(a)
    second = (h @ torch.stack(rows)) / h.sum(1).clamp(min=1)[:, None]
    return x + beta * second, torch.stack(weights)


def reference(x, h, fusion="attention", p=-1.0, drop_empty=True, **constants):
    """Representations, views, and the attention of items and of users."""
    constants = {**AUTHORS, **constants}
    out = {"user": convolution(h[MAIN], x["user"], p)[0]}
    out["item"] = convolution(h[REVERSE], x["item"], p)[0]
    views, keys, found = {}, {"user": {}, "item": {}}, {}
    for edge_type, matrix in h.items():
        vertex, _, hyperedge = edge_type
        if edge_type in (MAIN, REVERSE) or (drop_empty and not matrix.any()):
            continue
        z, e = convolution(matrix, x[vertex], p)
        views[" ".join(edge_type)] = {vertex: z, hyperedge: e}
        keys[vertex][" ".join(edge_type)] = z
    for matrix, vertex, hyperedge in ((h[MAIN], "user", "item"), (h[REVERSE], "item", "user")):
        tasks = list(keys[hyperedge].values())
        if fusion == "none" or not tasks:
            continue
        if fusion == "sum":
            tasks = [sum(tasks)]
        out[vertex], weights = attention(matrix, out[vertex], tasks, **constants)
        found[hyperedge] = list(keys[hyperedge]), weights
    return out, views, found


def flat(out, views) -> list[Tensor]:
    named = {**out, **{f"{name}/{n}": x for name, view in views.items() for n, x in view.items()}}
    return [named[name] for name in sorted(named)]


def close(got, want, x: dict[str, Tensor], rtol=1e-12, atol=1e-13) -> None:
    """The same representations and views, and the same gradients of a weighted sum of them."""
    (out, views), (want_out, want_views) = got, want
    assert out.keys() == want_out.keys() and views.keys() == want_views.keys()
    pairs = list(zip(flat(out, views), flat(want_out, want_views), strict=True))
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)
    generator = torch.Generator().manual_seed(5)
    factors = [torch.randn(a.shape, generator=generator).double() for a, _ in pairs]
    inputs = list(x.values())
    sums = [sum((f * p[i]).sum() for f, p in zip(factors, pairs, strict=True)) for i in (0, 1)]
    got, want = (grad(total, inputs, retain_graph=True) for total in sums)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=10 * rtol, atol=10 * atol)


def run(encoder, x, adj_dict):
    representations = encoder(x, adj_dict)
    return representations.x_dict, representations.views


@pytest.mark.parametrize("fusion", ["attention", "sum", "none"])
@pytest.mark.parametrize("form", FORMS)
def test_the_authors_formula_in_every_form(fusion, form):
    found, x = incidences(*TASKS), tables()
    encoder = TaskHypergraphEncoder(fusion, **AUTHORS)
    want = reference(x, dense(found), fusion)[:2]
    close(run(encoder, x, operators(found, form)), want, x)


@pytest.mark.parametrize(
    "constants",
    [
        {"scale": None},
        {"query_exponent": -1.0},
        {"query_exponent": -0.5, "scale": 1.0},
        {"alpha": 0.3, "beta": 2.0},
        {"activation": None},
        {"stop_gradient": False},
        {"vertex_exponent": -0.5},
        {"vertex_exponent": 0.0, "stop_gradient": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("fusion", ["attention", "sum"])
def test_every_constant_is_an_argument(constants, fusion):
    found, x = incidences(*TASKS), tables()
    encoder = TaskHypergraphEncoder(fusion, **{**AUTHORS, **constants})
    meant = {
        "stop": constants.get("stop_gradient", True),
        "p": constants.get("vertex_exponent", -1.0),
    }
    others = ("stop_gradient", "vertex_exponent")
    constants = {name: value for name, value in constants.items() if name not in others}
    if "activation" in constants:
        constants["activation"] = lambda rows: rows
    if "scale" in constants:
        constants["scale"] = constants["scale"] or math.sqrt(DIM)
    want = reference(x, dense(found), fusion, **meant, **constants)[:2]
    close(run(encoder, x, operators(found)), want, x)


def test_the_defaults_are_the_authors_but_for_the_scale():
    found, x = incidences(*TASKS), tables()
    want = reference(x, dense(found), scale=math.sqrt(DIM))[:2]
    close(run(TaskHypergraphEncoder(), x, operators(found)), want, x)


@pytest.mark.parametrize("fusion", ["attention", "sum"])
@pytest.mark.parametrize("kept", [[IN_CATEGORY], [IN_GROUP], [IN_CATEGORY, RATING], []])
def test_a_side_without_tasks_is_left_as_it_is(fusion, kept):
    found, x = incidences(*kept), tables()
    h = dense(found)
    out, views = run(TaskHypergraphEncoder(fusion, **AUTHORS), x, operators(found))
    close((out, views), reference(x, h, fusion)[:2], x)
    for vertex, hyperedge, edge_type in (("user", "item", MAIN), ("item", "user", REVERSE)):
        if not any(task[0] == hyperedge for task in kept):
            expected = convolution(h[edge_type], x[vertex])[0]
            torch.testing.assert_close(out[vertex], expected, rtol=1e-13, atol=1e-14)
    assert set(views) == {" ".join(task) for task in kept}


def test_of_one_task_attention_is_the_plain_sum():
    found, x = incidences(IN_CATEGORY, IN_GROUP), tables()
    one, other = (TaskHypergraphEncoder(f, **AUTHORS) for f in ("attention", "sum"))
    close(run(one, x, operators(found)), run(other, x, operators(found)), x)


EMPTY = ("item", "in", "hyperedge_also_bought")


@pytest.mark.parametrize(
    "form", ["Incidence", "CSR", "COO", "SparseTensor", "edge_index", "Adjacency"]
)
@pytest.mark.parametrize("num_hyperedges", [0, 2])
@pytest.mark.parametrize("keep_empty", [False, True])
def test_an_empty_relation_drops_out_or_takes_its_share(form, num_hyperedges, keep_empty):
    found, x = incidences(IN_CATEGORY), tables()
    found[EMPTY] = ITEMS, num_hyperedges, torch.empty(2, 0, dtype=torch.long)
    encoder = TaskHypergraphEncoder(keep_empty=keep_empty, **AUTHORS)
    out, views = run(encoder, x, operators(found, form))
    h = dense(found)
    want = reference(x, h, drop_empty=not keep_empty)
    assert (" ".join(EMPTY) in views) == keep_empty
    if keep_empty:
        view = views.pop(" ".join(EMPTY))
        assert not view["item"].any() and not view["hyperedge_also_bought"].any()
        want[1].pop(" ".join(EMPTY))
        # A zero key has the score 0, which takes mass from the other task.
        weights = encoder.attention_weights(x, operators(found, form))["item"][1]
        assert bool((weights[:, 1] > 0).all())
    close((out, views), want[:2], x)


def test_the_attention_of_every_node_to_its_tasks():
    found, x = incidences(*TASKS), tables(scale=3.0)
    encoder = TaskHypergraphEncoder(**AUTHORS)
    got = encoder.attention_weights(x, operators(found))
    want = reference(x, dense(found))[2]
    assert got.keys() == want.keys() == {"user", "item"}
    assert got["item"][0] == ["item in category", "item in hyperedge_rating"]
    assert got["user"][0] == ["user in group", "user in hyperedge_friends"]
    for node_type, (names, weights) in got.items():
        assert names == want[node_type][0]
        torch.testing.assert_close(weights, want[node_type][1], rtol=1e-12, atol=1e-14)
        assert weights.shape == (x[node_type].size(0), 2)
    assert got["item"][1].detach()[5].tolist() == [0.5, 0.5]  # without users there is no query
    assert encoder.attention_weights(x, operators(incidences(IN_GROUP))).keys() == {"user"}


@pytest.mark.parametrize("name", sorted(graphs()))
@pytest.mark.parametrize("keep_empty", [False, True])
def test_graphs_of_the_bank(name, keep_empty):
    data = AddTaskHypergraphs()(graphs()[name])
    x = tables(num_users=data["user"].num_nodes, num_items=data["item"].num_nodes)
    marked = [MAIN, REVERSE, *(e for e in data.edge_types if "task" in data[e])]
    found = {e: (data[e[0]].num_nodes, data[e[2]].num_nodes, data[e].edge_index) for e in marked}
    encoder = TaskHypergraphEncoder(keep_empty=keep_empty, **AUTHORS)
    want = reference(x, dense(found), drop_empty=not keep_empty)[:2]
    close(run(encoder, x, Incidence.dict_from(data)), want, x, rtol=1e-11, atol=1e-12)
    # In single precision as well.
    single = {node_type: table.detach().float() for node_type, table in x.items()}
    out, views = run(encoder, single, Incidence.dict_from(data))
    for a, b in zip(flat(out, views), flat(*want), strict=True):
        assert a.dtype == torch.float32
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@st.composite
def problems(draw):
    sizes = {name: draw(st.integers(1, 4)) for name in ("user", "item", "category", "group")}

    def index(src, dst):
        edge = st.tuples(st.integers(0, sizes[src] - 1), st.integers(0, sizes[dst] - 1))
        edges = draw(st.lists(edge, max_size=7))
        return torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t()

    main = index("user", "item")
    found = {
        MAIN: (sizes["user"], sizes["item"], main),
        REVERSE: (sizes["item"], sizes["user"], main.flip(0)),
        IN_CATEGORY: (sizes["item"], sizes["category"], index("item", "category")),
        ("item", "from", "group"): (sizes["item"], sizes["group"], index("item", "group")),
        IN_GROUP: (sizes["user"], sizes["group"], index("user", "group")),
    }
    scale = 10.0 ** draw(st.integers(-10, 10))
    x = tables(
        draw(st.integers(0, 50)), sizes["user"], sizes["item"], draw(st.integers(1, 3)), scale
    )
    return found, x, scale


@given(problems(), st.booleans(), st.sampled_from(["attention", "sum", "none"]))
def test_any_hypergraphs_at_any_scale(problem, keep_empty, fusion):
    found, x, scale = problem
    encoder = TaskHypergraphEncoder(fusion, keep_empty=keep_empty, **AUTHORS)
    want = reference(x, dense(found), fusion, drop_empty=not keep_empty)[:2]
    got = run(encoder, x, operators(found))
    # A softmax of huge scores has to choose; ties that rounding breaks are no fault of its.
    tolerance = 1e-9 if scale < 1e3 else 1e-6
    if scale < 1e3 or fusion != "attention":
        close(got, want, x, rtol=tolerance, atol=tolerance * max(scale, 1e-12))
    for a, b in zip(flat(*got), flat(*want), strict=True):
        assert a.shape == b.shape and bool(a.isfinite().all())
    assert all(g.isfinite().all() for g in grad(sum(a.sum() for a in flat(*got)), list(x.values())))


@pytest.mark.parametrize("form", ["Incidence", "edge_index", "CSR"])
@pytest.mark.parametrize("fusion", ["attention", "sum"])
def test_gradcheck(form, fusion):
    found = incidences(*TASKS)
    encoder = TaskHypergraphEncoder(fusion, stop_gradient=False, **AUTHORS)

    def outputs(user, item):
        return tuple(flat(*run(encoder, {"user": user, "item": item}, operators(found, form))))

    assert torch.autograd.gradcheck(outputs, tuple(tables().values()))


def test_tables_that_no_hypergraph_names_pass_through():
    x = {**tables(), "brand": torch.ones(2, 4)}
    out = TaskHypergraphEncoder()(x, operators(incidences(*TASKS))).x_dict
    assert out["brand"] is x["brand"] and list(out) == ["user", "item", "brand"]


def test_vertices_and_hyperedges_that_are_no_users_or_items():
    """Their hypergraphs make views, and take no part in the attention."""
    found, x = incidences(IN_CATEGORY), tables()
    brands = ("category", "in", "brand")
    index = torch.tensor([[0, 1, 3], [1, 1, 0]])
    adj_dict = {**operators(found), brands: index}
    tall = {**x, "category": torch.randn(4, DIM).double(), "brand": torch.zeros(3, 1).double()}
    out, views = run(TaskHypergraphEncoder(**AUTHORS), tall, adj_dict)
    view = views.pop("category in brand")
    matrix = dense({brands: (4, 3, index)})[brands]
    z, e = convolution(matrix, tall["category"])
    torch.testing.assert_close((view["category"], view["brand"]), (z, e), rtol=1e-12, atol=1e-14)
    close(({n: out[n] for n in x}, views), reference(x, dense(found))[:2], x)


def test_another_main_relation():
    buys, found, x = ("person", "buys", "thing"), incidences(IN_CATEGORY), tables()
    renamed = {"user": "person", "item": "thing"}
    adj_dict = operators(found)
    encoder = TaskHypergraphEncoder(main=buys, **AUTHORS)
    assert encoder.reverse == ("thing", "rev_buys", "person")
    out = encoder(
        {renamed[name]: table for name, table in x.items()},
        {
            buys: adj_dict[MAIN],
            encoder.reverse: adj_dict[REVERSE],
            ("thing", "in", "category"): adj_dict[IN_CATEGORY],
        },
    )
    want, views, _ = reference(x, dense(found))
    torch.testing.assert_close(out.x_dict["person"], want["user"], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(
        out.views["thing in category"]["thing"], views["item in category"]["item"]
    )


def test_it_has_no_parameters_and_is_not_local():
    encoder = TaskHypergraphEncoder("sum")
    assert not list(encoder.parameters()) and not encoder.local and encoder.out_dim(7) == 7
    assert repr(encoder) == "TaskHypergraphEncoder(fusion='sum')"


def test_bad_input_gets_one_line():
    x, adj_dict = tables(), operators(incidences(*TASKS))
    encoder = TaskHypergraphEncoder()
    without = partial(lambda edge_type: {k: v for k, v in adj_dict.items() if k != edge_type})
    index = torch.tensor([[0, 1], [0, 1]])
    for call, match in (
        (lambda: TaskHypergraphEncoder("mean"), r"'fusion' .*'none'.* \(got 'mean'\)"),
        (lambda: TaskHypergraphEncoder(scale=0.0), "'scale' needs to be positive"),
        (lambda: TaskHypergraphEncoder(activation="relu"), "'activation' needs to be 'tanh'"),
        (lambda: encoder(x, without(MAIN)), r"needs to hold .*'interacts'.*Incidence.dict_from"),
        (lambda: encoder(x, without(REVERSE)), "needs to hold .*'rev_interacts'"),
        (lambda: encoder(x, {}), "needs to hold"),
        (
            lambda: encoder({"user": x["user"]}, adj_dict),
            r"vertices of .*'rev_interacts'.* a table",
        ),
        (lambda: encoder({"item": x["item"]}, adj_dict), r"vertices of .*'interacts'.* a table"),
        (lambda: encoder(x, {**adj_dict, ("group", "in", "city"): index}), "a table"),
        (lambda: encoder(x, {**adj_dict, TRUSTS: index}), "a node type of their own"),
        (lambda: encoder({**x, "item": x["item"][:5]}, adj_dict), "rows"),
        (
            lambda: TaskHypergraphEncoder("sum").attention_weights(x, adj_dict),
            r"fusion='attention' .*\(got 'sum'\)",
        ),
    ):
        with pytest.raises(InputError, match=match) as error:
            call()
        assert "\n" not in str(error.value)
