import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bank import MAIN, TRUSTS
from hypothesis import given, settings
from hypothesis import strategies as st
from no_sync import NoSync

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import BPR, LinkPrediction, SameCategory

SAME = ("item", "same_category", "item")


def _softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _loop(batch, x_dict, loss):
    r"""The losses' definitions, one pair at a time in float64."""
    source, target = (x_dict[batch.edge_type[k]].double().numpy() for k in (0, 2))
    total = 0.0
    for b in range(batch.src_index.numel()):
        a = source[int(batch.src_index[b])]
        pos = float(np.dot(a, target[int(batch.dst_pos_index[b])]))
        negatives = batch.dst_neg_index[b].view(-1).tolist()
        scores = [float(np.dot(a, target[n])) for n in negatives]
        if loss == "bpr":
            value = sum(_softplus(neg - pos) for neg in scores) / len(scores)
        else:
            value = (_softplus(-pos) + sum(map(_softplus, scores)) / len(scores)) / 2
        total += (1.0 if batch.weight is None else float(batch.weight[b])) * value
    return total / batch.size


def _case(edge_type, seed=0, b=11, m=None, dim=4, scale=1.0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    x_dict = {
        node_type: scale * torch.randn(9, dim, generator=g, dtype=torch.float64).to(dtype)
        for node_type in ("user", "item")
    }

    def ids(*shape):
        return torch.randint(9, shape, generator=g)

    negative = ids(b) if m is None else ids(b, m)
    weight = torch.rand(b, generator=g) * (torch.rand(b, generator=g) < 0.7)
    return Batch(edge_type, b + 2, ids(b), ids(b), negative, weight=weight), x_dict


TASKS = {
    "bpr": (BPR(), MAIN, "bpr"),
    "link-bpr": (LinkPrediction(TRUSTS), TRUSTS, "bpr"),
    "link-bce": (LinkPrediction(TRUSTS, loss="bce"), TRUSTS, "bce"),
    "category-bpr": (SameCategory(), SAME, "bpr"),
    "category-bce": (SameCategory(loss="bce"), SAME, "bce"),
}
each_task = pytest.mark.parametrize(("task", "edge_type", "loss"), TASKS.values(), ids=TASKS)


@each_task
@pytest.mark.parametrize("m", [None, 1, 3])
def test_the_loss_is_the_loops(task, edge_type, loss, m):
    batch, x_dict = _case(edge_type, m=m)
    for weight in (batch.weight, None):
        batch = replace(batch, weight=weight)
        found = task(batch, Representations(x_dict))
        assert found.shape == ()
        assert found.item() == pytest.approx(_loop(batch, x_dict, loss), rel=1e-12)


@given(
    st.sampled_from(sorted(TASKS)),
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 2, 7]),
    st.sampled_from([None, 1, 4]),
    st.sampled_from([1, 5]),
    st.sampled_from([1e-10, 1e-3, 1.0, 1e3, 1e10]),
)
@settings(max_examples=50)
def test_the_loss_is_the_loops_at_any_scale(name, seed, b, m, dim, scale):
    task, edge_type, loss = TASKS[name]
    batch, x_dict = _case(edge_type, seed, b, m, dim, scale)
    x_dict = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    found = task(batch, Representations(x_dict))
    plain = {node_type: x.detach() for node_type, x in x_dict.items()}
    assert found.item() == pytest.approx(_loop(batch, plain, loss), rel=1e-9, abs=1e-300)
    grads = torch.autograd.grad(found, list(x_dict.values()), allow_unused=True)
    assert all(grad is None or bool(grad.isfinite().all()) for grad in grads)
    assert found.requires_grad  # an empty batch has a graph, too


@each_task
@pytest.mark.parametrize("m", [None, 2])
def test_gradients(task, edge_type, loss, m):
    batch, x_dict = _case(edge_type, b=4, m=m)
    names = sorted({edge_type[0], edge_type[2]})

    def value(*tables):
        return task(batch, Representations(dict(zip(names, tables, strict=True))))

    assert torch.autograd.gradcheck(value, [x_dict[n].requires_grad_() for n in names])


@each_task
def test_order_padding_and_size(task, edge_type, loss):
    batch, x_dict = _case(edge_type, m=2)
    x = Representations(x_dict)
    want = task(batch, x)

    def pick(index, weight):
        return replace(
            batch,
            src_index=batch.src_index[index],
            dst_pos_index=batch.dst_pos_index[index],
            dst_neg_index=batch.dst_neg_index[index],
            weight=weight,
        )

    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(task(pick(order, batch.weight[order]), x), want, rtol=1e-12)
    padded = torch.cat([torch.arange(11), torch.tensor([3, 3, 0])])
    weight = torch.cat([batch.weight, torch.zeros(3)])
    assert torch.allclose(task(pick(padded, weight), x), want, rtol=1e-12)
    twice = torch.arange(11).repeat(2)
    assert torch.allclose(task(pick(twice, batch.weight[twice % 11]), x), 2 * want, rtol=1e-12)
    halved = replace(batch, size=2 * batch.size)
    assert torch.allclose(2 * task(halved, x), want, rtol=1e-12)


@each_task
def test_padding_has_no_gradient(task, edge_type, loss):
    batch, x_dict = _case(edge_type)
    batch = replace(batch, weight=torch.zeros(11))
    x_dict = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    found = task(batch, Representations(x_dict))
    assert found.item() == 0.0
    for grad in torch.autograd.grad(found, list(x_dict.values()), allow_unused=True):
        assert grad is None or not grad.any()


@each_task
def test_the_view_is_read(task, edge_type, loss):
    batch, x_dict = _case(edge_type)
    other = {node_type: x + 1 for node_type, x in x_dict.items()}
    views = Representations(x_dict, {"mine": other})
    task.view = "mine"
    try:
        found = task(batch, views)
    finally:
        task.view = None
    assert torch.equal(found, task(batch, Representations(other)))
    assert not torch.equal(found, task(batch, views))


@each_task
def test_a_step_never_waits(task, edge_type, loss):
    batch, x_dict = _case(edge_type, m=2, dtype=torch.float32)
    x_dict = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    with NoSync():
        task.node_ids(batch)
        task(batch, Representations(x_dict)).backward()


def test_labelled_pairs_are_classified():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(6, 3, generator=g, dtype=torch.float64)
    pairs = torch.randint(6, (2, 5), generator=g)
    label = torch.tensor([1.0, 0.0, float("nan"), 1.0, 0.0])
    weight = torch.tensor([1.0, 1.0, 1.0, 0.5, 0.0])
    batch = Batch(TRUSTS, 5, edge_label_index=pairs, edge_label=label[:, None], weight=weight)
    logits = [float(x[u] @ x[v]) for u, v in pairs.t().tolist()]
    # The third has no label, the last no weight.
    want = (_softplus(-logits[0]) + _softplus(logits[1]) + 0.5 * _softplus(-logits[3])) / 5
    found = LinkPrediction(TRUSTS, loss="bce")(batch, Representations({"user": x}))
    assert found.item() == pytest.approx(want, rel=1e-12)


def test_triplets_and_the_same_labelled_pairs_cost_the_same():
    batch, x_dict = _case(TRUSTS)
    task = LinkPrediction(TRUSTS, loss="bce")
    triplets = replace(batch, size=11, weight=None)
    src = batch.src_index.repeat(2)
    dst = torch.cat([batch.dst_pos_index, batch.dst_neg_index])
    label = torch.tensor([1.0] * 11 + [0.0] * 11)
    pairs = Batch(TRUSTS, 22, edge_label_index=torch.stack([src, dst]), edge_label=label)
    x = Representations(x_dict)
    assert torch.allclose(task(triplets, x), task(pairs, x), rtol=1e-12)


class _WithTables(Representations):
    def table_rows(self, node_type, index):
        return 3 * self.x_dict[node_type][index]


@pytest.mark.parametrize("m", [None, 3])
def test_l2_counts_table_rows_once_per_occurrence(m):
    batch, x_dict = _case(MAIN, m=m)
    users, items = (9 * x_dict[n].square().sum(1) for n in ("user", "item"))
    want = 0.0
    for b in range(11):
        negatives = batch.dst_neg_index[b].view(-1).tolist()
        row = users[batch.src_index[b]] + items[batch.dst_pos_index[b]]
        row = row + sum(items[n] for n in negatives) / len(negatives)
        want += float(batch.weight[b] * row)
    x = _WithTables(x_dict)
    plain = BPR()(batch, x)
    found = BPR(l2=0.1)(batch, x)
    assert (found - plain).item() == pytest.approx(0.1 / 2 * want / batch.size, rel=1e-9)


def test_l2_says_where_it_finds_tables():
    batch, x_dict = _case(MAIN)
    with pytest.raises(InputError, match="GradientCollector"):
        BPR(l2=0.1)(batch, Representations(x_dict))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BPR(num_negatives=0), "'num_negatives' needs to be positive in 'BPR'"),
        (lambda: BPR(l2=-1.0), "'l2' needs to be at least 0"),
        (lambda: BPR(l2=float("nan")), "'l2' needs to be at least 0"),
        (lambda: LinkPrediction(TRUSTS, loss="hinge"), r"'loss' .* \(got 'hinge'\)"),
        (lambda: LinkPrediction(TRUSTS, num_negatives=0), "in 'LinkPrediction'"),
        (lambda: SameCategory(loss="mse"), r"in 'SameCategory' \(got 'mse'\)"),
        (lambda: SameCategory(num_negatives=-2), r"\(got -2\)"),
    ],
)
def test_bad_arguments_get_one_line(make, match):
    with pytest.raises(InputError, match=match):
        make()


def test_reprs_say_the_relation():
    assert "interacts" in repr(BPR()) and "trusts" in repr(LinkPrediction(TRUSTS))
    assert "category" in repr(SameCategory())
