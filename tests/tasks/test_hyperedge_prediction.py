"""Hyperedge prediction against loops over incidences, in float64."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor
from torch.nn.functional import softplus
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, FullBatch
from pyg_mtrec.nn import Representations
from pyg_mtrec.tasks import HyperedgePrediction

IN = ("item", "in", "category")
VIEW = "item in category"
ITEMS, LABELS = 6, 4
# Item 0 has two labels, item 3 has all of them, items 2 and 5 have none; one incidence is twice.
EDGES = [(0, 1), (0, 3), (1, 1), (3, 0), (3, 1), (3, 2), (3, 3), (4, 1), (1, 1)]


def graph(edges=EDGES, num_items=ITEMS, num_labels=LABELS) -> HeteroData:
    data = HeteroData()
    data["item"].num_nodes, data["category"].num_nodes = num_items, num_labels
    data[IN].edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t()
    return data


def full_batch(task: HyperedgePrediction, data: HeteroData, seed=0) -> FullBatch:
    return task.sampler(data, torch.Generator().manual_seed(seed)).full()


def rows(dim=3, seed=0, scale=1.0, num_items=ITEMS, num_labels=LABELS) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (scale * torch.randn(num, dim, generator=generator).double()).requires_grad_()
        for name, num in (("item", num_items), ("category", num_labels))
    }


def seen(x: dict[str, Tensor]) -> Representations:
    """The view of the task; what others see is far away."""
    return Representations({name: table + 100 for name, table in x.items()}, {VIEW: x})


def by_vertices(x: dict[str, Tensor], batch: Batch, m: int) -> Tensor:
    total = sum(0 * table.sum() for table in x.values())
    for e, v, drawn, weight in zip(
        batch.src_index.tolist(),
        batch.dst_pos_index.tolist(),
        batch.dst_neg_index.reshape(-1, m).tolist(),
        batch.weight.tolist(),
        strict=True,
    ):
        for n in drawn:
            gap = x["category"][e] @ x["item"][n] - x["category"][e] @ x["item"][v]
            total = total + weight * softplus(gap) / m
    return total / batch.size


def by_labels(x: dict[str, Tensor], edges, exclude: bool, size: int) -> Tensor:
    total = sum(0 * table.sum() for table in x.values())
    for v, e in edges:
        mine = {label for vertex, label in edges if vertex == v} if exclude else {e}
        others = [f for f in range(x["category"].size(0)) if f not in mine]
        for f in others:
            gap = x["category"][f] @ x["item"][v] - x["category"][e] @ x["item"][v]
            total = total + softplus(gap) / len(others)
    return total / size


def close(got: Tensor, want: Tensor, x: dict[str, Tensor], rtol=1e-12, atol=1e-13) -> None:
    torch.testing.assert_close(got, want, rtol=rtol, atol=atol)
    options = {"materialize_grads": True, "retain_graph": True}
    for a, b in zip(
        torch.autograd.grad(got, list(x.values()), **options),
        torch.autograd.grad(want, list(x.values()), **options),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("dim", [1, 3])
def test_vertices_as_negatives(exclude, m, dim):
    task = HyperedgePrediction(IN, exclude=exclude, num_negatives=m)
    batch, x = full_batch(task, graph()), rows(dim)
    assert batch.edge_type == task.pair_type == ("category", "rev_in", "item")
    close(task(batch, seen(x)), by_vertices(x, batch, m), x)


def test_negative_vertices_are_outside_of_the_hyperedge_or_anywhere():
    drawn = {}
    for exclude in (True, False):
        task = HyperedgePrediction(IN, exclude=exclude, num_negatives=200)
        batch = full_batch(task, graph())
        drawn[exclude] = {
            e: set(batch.dst_neg_index[batch.src_index == e].view(-1).tolist())
            for e in range(LABELS)
        }
        assert batch.weight.eq(1).all()
    for e in range(LABELS):
        members = {v for v, label in EDGES if label == e}
        assert drawn[True][e] == set(range(ITEMS)) - members
        assert drawn[False][e] == set(range(ITEMS))


def test_a_hyperedge_of_all_vertices_has_no_negative():
    edges = [*((v, 0) for v in range(ITEMS)), (2, 1)]
    task, x = HyperedgePrediction(IN), rows(num_labels=2)
    batch = full_batch(task, graph(edges, num_labels=2))
    assert batch.weight.tolist() == [0.0] * ITEMS + [1.0]
    close(task(batch, seen(x)), by_vertices(x, batch, 1), x)


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("dim", [1, 3])
def test_labels_as_negatives(exclude, dim):
    task = HyperedgePrediction(IN, negatives="labels", exclude=exclude)
    x = rows(dim)
    close(task(full_batch(task, graph()), seen(x)), by_labels(x, EDGES, exclude, len(EDGES)), x)


def test_the_authors_mean_is_over_all_pairs_of_an_incidence_and_another_label():
    """Other true labels of a vertex are among the negatives, the incidence's own never is."""
    task, x = HyperedgePrediction(IN, negatives="labels", exclude=False), rows()
    scores = x["category"] @ x["item"].t()
    gaps = [scores[f, v] - scores[e, v] for v, e in EDGES for f in range(LABELS) if f != e]
    assert len(gaps) == len(EDGES) * (LABELS - 1)
    close(task(full_batch(task, graph()), seen(x)), softplus(torch.stack(gaps)).mean(), x)


def test_true_labels_matter_only_where_they_are_excluded():
    x = rows()
    losses = {}
    for exclude in (True, False):
        task = HyperedgePrediction(IN, negatives="labels", exclude=exclude)
        single = [(0, 1), (1, 3), (4, 1)]
        losses[exclude] = [
            float(task(full_batch(task, graph(edges)), seen(x)).detach())
            for edges in (single, EDGES)
        ]
    assert losses[True][0] == pytest.approx(losses[False][0], rel=1e-12)
    assert abs(losses[True][1] - losses[False][1]) > 1e-3


@pytest.mark.parametrize("exclude", [True, False])
def test_one_hyperedge_leaves_nothing_to_tell_apart(exclude):
    task = HyperedgePrediction(IN, negatives="labels", exclude=exclude)
    x = rows(num_labels=1)
    loss = task(full_batch(task, graph([(0, 0), (2, 0)], num_labels=1)), seen(x))
    assert float(loss.detach()) == 0
    assert not any(grad.any() for grad in torch.autograd.grad(loss, list(x.values())))


def test_a_vertex_with_all_labels_costs_nothing():
    task, x = HyperedgePrediction(IN, negatives="labels"), rows()
    edges = [(3, e) for e in range(LABELS)]
    assert float(task(full_batch(task, graph(edges)), seen(x)).detach()) == 0
    # Of the others it takes a share of the nominal size.
    want = by_labels(x, [*edges, (0, 0)], True, LABELS + 1)
    close(task(full_batch(task, graph([*edges, (0, 0)])), seen(x)), want, x)


@pytest.mark.parametrize("negatives", ["labels", "vertices"])
@pytest.mark.parametrize("exclude", [True, False])
def test_batches_of_an_epoch_add_up_to_all_incidences(negatives, exclude):
    task = HyperedgePrediction(IN, negatives=negatives, exclude=exclude, num_negatives=2)
    data, x = graph(), rows()
    sampler = task.sampler(data, torch.Generator().manual_seed(0))
    num = sampler.num_edges
    batches = [sampler.sample(torch.arange(num)[k : k + 4], num) for k in range(0, num, 4)]
    whole = sampler.full()
    if negatives == "vertices":  # the same draws in both
        place = torch.cat([batch.edge_id for batch in batches]).argsort()
        drawn = torch.cat([batch.dst_neg_index for batch in batches])[place]
        whole.dst_neg_index = drawn[whole.edge_id]
    assert isinstance(whole, FullBatch) and not isinstance(batches[0], FullBatch)
    close(sum(task(batch, seen(x)) for batch in batches), task(whole, seen(x)), x)


@st.composite
def problems(draw):
    num_items, num_labels = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    edge = st.tuples(st.integers(0, num_items - 1), st.integers(0, num_labels - 1))
    edges = draw(st.lists(edge, max_size=8))
    x = rows(
        draw(st.integers(1, 3)),
        draw(st.integers(0, 50)),
        10.0 ** draw(st.integers(-10, 10)),
        num_items,
        num_labels,
    )
    return graph(edges, num_items, num_labels), edges, x


@given(problems(), st.booleans(), st.booleans())
def test_any_hypergraph_at_any_scale(problem, exclude, whole):
    data, edges, x = problem
    size = max(1, len(edges))
    scale = max(float(table.detach().abs().max()) for table in x.values())
    atol = 1e-12 * max(scale, scale**2)
    for negatives in ("labels", "vertices"):
        task = HyperedgePrediction(IN, negatives=negatives, exclude=exclude)
        sampler = task.sampler(data, torch.Generator().manual_seed(0))
        batch = sampler.full() if whole else sampler.sample(torch.arange(len(edges)), size)
        got = task(batch, seen(x))
        if negatives == "labels":
            want = by_labels(x, edges, exclude, size)
        else:
            want = by_vertices(x, batch, 1)
        close(got, want, x, rtol=1e-11, atol=atol)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("negatives", ["labels", "vertices"])
def test_all_incidences_penalise_all_rows_of_the_view(reduction, negatives):
    plain = HyperedgePrediction(IN, negatives)
    task = HyperedgePrediction(IN, negatives, l2=0.3, reduction=reduction)
    batch, x = full_batch(task, graph()), rows()
    want = plain(batch, seen(x))
    for table in x.values():
        norm = sum((row**2).sum() for row in table)
        want = want + 0.3 / 2 * norm / (len(table) if reduction == "mean" else 1)
    close(task(batch, seen(x)), want, x)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("negatives", ["labels", "vertices"])
def test_a_batch_penalises_what_it_reads(reduction, negatives):
    plain = HyperedgePrediction(IN, negatives, num_negatives=2)
    task = HyperedgePrediction(IN, negatives, num_negatives=2, l2=0.3, reduction=reduction)
    sampler, x = task.sampler(graph(), torch.Generator().manual_seed(0)), rows()
    batch = sampler.sample(torch.tensor([8, 0, 2]), 4)
    if negatives == "labels":
        read = {"item": [1, 0, 1], "category": list(range(LABELS))}
    else:
        read = {
            "item": [1, 0, 1, *batch.dst_neg_index.view(-1).tolist()],
            "category": [1, 1, 1],
        }
    want = plain(batch, seen(x))
    for name, ids in read.items():
        norm = sum((x[name][node] ** 2).sum() for node in ids)
        want = want + 0.3 / 2 * norm / (len(ids) if reduction == "mean" else 1)
    close(task(batch, seen(x)), want, x)


def test_what_it_reads():
    data, generator = graph(), torch.Generator().manual_seed(0)
    task = HyperedgePrediction(IN)
    assert task.node_ids(full_batch(task, data)) == {"category": None, "item": None}
    batch = task.sampler(data, generator).sample(torch.tensor([3, 7]), 2)
    ids = task.node_ids(batch)
    assert ids["category"].tolist() == [0, 1] and ids["item"].tolist()[:2] == [3, 4]
    task = HyperedgePrediction(IN, "labels")
    batch = task.sampler(data, generator).sample(torch.tensor([3, 7]), 2)
    ids = task.node_ids(batch)
    assert ids["item"].tolist() == [3, 4] and ids["category"] is None
    assert task.node_ids(full_batch(task, data)) == {"category": None, "item": None}


def test_another_view_and_none():
    x, other = rows(), rows(seed=1)
    task = HyperedgePrediction(IN, "labels", view="other")
    batch = full_batch(task, graph())
    got = task(batch, Representations(x, {VIEW: x, "other": other}))
    close(got, by_labels(other, EDGES, True, len(EDGES)), other)
    # Without a view of this name it reads what all tasks read.
    close(task(batch, Representations(x)), by_labels(x, EDGES, True, len(EDGES)), x)


def test_a_batch_of_pyg_takes_its_place():
    data = HeteroData()
    data["category"].n_id, data["item"].n_id = torch.tensor([3, 1]), torch.tensor([4, 0, 2])
    data["category"].src_index = torch.tensor([1, 0])
    data["item"].dst_pos_index, data["item"].dst_neg_index = (
        torch.tensor([0, 1]),
        torch.tensor([2, 2]),
    )
    x = rows()
    pairs = Batch(
        ("category", "rev_in", "item"),
        2,
        torch.tensor([1, 3]),
        torch.tensor([4, 0]),
        torch.tensor([2, 2]),
        weight=torch.ones(2),
    )
    close(HyperedgePrediction(IN)(data, seen(x)), by_vertices(x, pairs, 1), x)
    labels = HeteroData()
    labels["item"].n_id = torch.tensor([4, 0])
    labels[IN].edge_label_index = torch.tensor([[0, 1, 1], [1, 1, 3]])
    task = HyperedgePrediction(IN, "labels", exclude=False)
    want = by_labels(x, [(4, 1), (0, 1), (0, 3)], False, 3)
    close(task(labels, seen(x)), want, x)
    with pytest.raises(InputError, match=r"'src_known'.*exclude=False") as error:
        HyperedgePrediction(IN, "labels")(labels, seen(x))
    assert "\n" not in str(error.value)


def test_weights_count():
    x = rows()
    weight = torch.rand(len(EDGES), generator=torch.Generator().manual_seed(1)).double()
    task = HyperedgePrediction(IN, "labels")
    batch = replace(full_batch(task, graph()), weight=weight)
    ordered = zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True)
    want = sum(0 * table.sum() for table in x.values())
    for (v, e), w in zip(ordered, weight.tolist(), strict=True):
        others = [f for f in range(LABELS) if (v, f) not in EDGES]
        for f in others:
            gap = (x["category"][f] - x["category"][e]) @ x["item"][v]
            want = want + w * softplus(gap) / len(others) / len(EDGES)
    close(task(batch, seen(x)), want, x)


@pytest.mark.parametrize("negatives", ["labels", "vertices"])
@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_no_step_waits_for_the_device(negatives, exclude, whole):
    task = HyperedgePrediction(IN, negatives, exclude, l2=0.1)
    sampler = task.sampler(graph(), torch.Generator().manual_seed(0))
    index, x = torch.tensor([3, 0]), rows()
    with NoSync():
        batch = sampler.full() if whole else sampler.sample(index, 2)
        torch.autograd.grad(task(batch, seen(x)), list(x.values()))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"negatives": "all"}, r"'negatives' .*'vertices', 'labels'.* \(got 'all'\)"),
        ({"num_negatives": 0}, r"'num_negatives' needs to be positive .* \(got 0\)"),
        ({"l2": -1.0}, r"'l2' needs to be at least 0 in 'HyperedgePrediction' \(got -1.0\)"),
        ({"l2": float("nan")}, r"'l2' needs to be at least 0 .* \(got nan\)"),
        ({"reduction": "max"}, r"'reduction' .*'HyperedgePrediction' \(got 'max'\)"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(InputError, match=match) as error:
        HyperedgePrediction(IN, **options)
    assert "\n" not in str(error.value)


def test_a_missing_relation():
    for negatives in ("labels", "vertices"):
        with pytest.raises(InputError, match="needs the relation"):
            HyperedgePrediction(("item", "in", "brand"), negatives).sampler(
                graph(), torch.Generator()
            )
