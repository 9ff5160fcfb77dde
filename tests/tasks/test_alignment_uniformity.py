import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from bank import MAIN
from hypothesis import given, settings
from hypothesis import strategies as st
from no_sync import NoSync

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import AlignmentUniformity, _uniformity
from pyg_mtrec.tasks._uniformity import first_occurrence, uniformity


def _unif(rows, weight, t):
    total = pairs = 0.0
    for b in range(len(rows)):
        for c in range(b):
            w = weight[b] * weight[c]
            total += w * math.exp(-t * float(np.sum((rows[b] - rows[c]) ** 2)))
            pairs += w
    return math.log(total / pairs) if pairs > 0 else 0.0


def _loop(batch, x_dict, gamma=1.0, t=2.0, unique=False):
    weight = [1.0] * batch.src_index.numel() if batch.weight is None else batch.weight.tolist()
    sides = []
    for node_type, index in (("user", batch.src_index), ("item", batch.dst_pos_index)):
        rows = x_dict[node_type].double().numpy()[index.numpy()]
        norm = np.sqrt((rows**2).sum(1, keepdims=True))
        sides.append(rows / np.maximum(norm, 1e-12))
    users, items = sides
    align = sum(
        w * float(np.sum((u - i) ** 2)) for w, u, i in zip(weight, users, items, strict=True)
    )
    spread = 0.0
    for rows, index in ((users, batch.src_index), (items, batch.dst_pos_index)):
        counted = weight
        if unique:
            met, counted = set(), []
            for w, node in zip(weight, index.tolist(), strict=True):
                counted.append(w if w > 0 and node not in met else 0.0)
                if w > 0:
                    met.add(node)
        spread += _unif(rows, counted, t)
    return (align + gamma / 2 * sum(weight) * spread) / batch.size


@pytest.fixture(params=[True, False], ids=["merged", "as they come"])
def waits(request, monkeypatch):
    monkeypatch.setattr(_uniformity, "can_wait", lambda x: request.param)


def _case(seed=0, b=11, dim=4, scale=1.0, nodes=7, weighted=True):
    g = torch.Generator().manual_seed(seed)
    x_dict = {
        node_type: scale * torch.randn(nodes, dim, generator=g, dtype=torch.float64)
        for node_type in ("user", "item")
    }
    src, dst = (torch.randint(nodes, (b,), generator=g) for _ in range(2))
    weight = torch.rand(b, generator=g).gt(0.3).double() if weighted else None
    return Batch(MAIN, b + 3, src, dst, weight=weight), x_dict


@pytest.mark.parametrize("unique", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("gamma", "t"), [(1.0, 2.0), (0.3, 0.7), (0.0, 2.0)])
def test_the_loss_is_the_loops(unique, weighted, gamma, t, waits):
    batch, x_dict = _case(weighted=weighted)
    task = AlignmentUniformity(gamma=gamma, t=t, unique=unique)
    found = task(batch, Representations(x_dict))
    assert found.item() == pytest.approx(_loop(batch, x_dict, gamma, t, unique), rel=1e-10)


@given(
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 2, 6]),
    st.sampled_from([1, 3]),
    st.sampled_from([1e-10, 1.0, 1e10]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=50)
def test_the_loss_is_the_loops_on_anything(seed, b, dim, scale, unique, weighted):
    batch, x_dict = _case(seed, b, dim, scale, nodes=4, weighted=weighted)
    leaves = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    found = AlignmentUniformity(unique=unique)(batch, Representations(leaves))
    plain = {node_type: x.detach() for node_type, x in x_dict.items()}
    assert found.item() == pytest.approx(_loop(batch, plain, unique=unique), rel=1e-9, abs=1e-12)
    for grad in torch.autograd.grad(found, list(leaves.values())):
        assert bool(grad.isfinite().all())


def test_it_is_the_papers_pdist_form():
    # Alignment plus half of both uniformities, over a full batch with duplicates.
    batch, x_dict = _case(weighted=False)
    batch = replace(batch, size=11)
    rows = [
        torch.nn.functional.normalize(x_dict[n][i], dim=1)
        for n, i in (("user", batch.src_index), ("item", batch.dst_pos_index))
    ]
    align = (rows[0] - rows[1]).norm(dim=1).pow(2).mean()
    spread = [torch.pdist(x).pow(2).mul(-2).exp().mean().log() for x in rows]
    found = AlignmentUniformity()(batch, Representations(x_dict))
    assert torch.allclose(found, align + (spread[0] + spread[1]) / 2, rtol=1e-10)


def test_duplicates_enter_unless_unique():
    x = {"user": torch.eye(2), "item": torch.eye(2)}
    ids = torch.tensor([0, 1, 0])
    batch = Batch(MAIN, 3, ids, ids)
    # Orthogonal rows: exp(-4) for two of three pairs, exp(0) for the third.
    found = AlignmentUniformity()(batch, Representations(x))
    assert found.item() == pytest.approx(math.log((2 * math.exp(-4) + 1) / 3), rel=1e-6)
    found = AlignmentUniformity(unique=True)(batch, Representations(x))
    assert found.item() == pytest.approx(-4.0, rel=1e-6)


@pytest.mark.parametrize("unique", [False, True])
def test_one_row_has_no_uniformity(unique):
    x = {"user": torch.tensor([[1.0, 0.0]]), "item": torch.tensor([[0.0, 2.0]])}
    leaves = {node_type: value.requires_grad_() for node_type, value in x.items()}
    task = AlignmentUniformity(unique=unique)
    zero = torch.tensor([0])
    for batch in (
        Batch(MAIN, 1, zero, zero),
        Batch(MAIN, 1, zero.repeat(3), zero.repeat(3), weight=torch.tensor([0.0, 1.0, 0.0])),
    ):
        found = task(batch, Representations(leaves))
        assert found.item() == pytest.approx(2.0)
        for grad in torch.autograd.grad(found, list(leaves.values())):
            assert bool(grad.isfinite().all())


@pytest.mark.parametrize("unique", [False, True])
def test_gradients(unique, waits):
    batch, x_dict = _case(b=5, nodes=4)
    task = AlignmentUniformity(unique=unique)

    def value(users, items):
        return task(batch, Representations({"user": users, "item": items}))

    tables = [x_dict[n].requires_grad_() for n in ("user", "item")]
    assert torch.autograd.gradcheck(value, tables)


@pytest.mark.parametrize("unique", [False, True])
def test_order_and_padding_change_nothing(unique, waits):
    batch, x_dict = _case()
    task, x = AlignmentUniformity(unique=unique), Representations(x_dict)
    want = task(batch, x)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([torch.arange(11), torch.tensor([4, 4, 2])])
    for index, weight in (
        (order, batch.weight[order]),
        (padded, torch.cat([batch.weight, torch.zeros(3, dtype=torch.double)])),
    ):
        changed = replace(
            batch,
            src_index=batch.src_index[index],
            dst_pos_index=batch.dst_pos_index[index],
            weight=weight,
        )
        assert torch.allclose(task(changed, x), want, rtol=1e-12)


def test_chunks_change_neither_value_nor_gradient(monkeypatch):
    batch, x_dict = _case(b=23, nodes=20)
    results = []
    for chunk in (100, 5, 1):
        monkeypatch.setattr(_uniformity, "CHUNK", chunk)
        leaves = {n: x.clone().requires_grad_() for n, x in x_dict.items()}
        found = AlignmentUniformity()(batch, Representations(leaves))
        results.append([found.detach(), *torch.autograd.grad(found, list(leaves.values()))])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)


def test_more_rows_than_a_chunk():
    # Half the rows at one place, half opposite: the mean over all pairs has a closed form.
    n = _uniformity.CHUNK + 4
    x = torch.ones(n, 1)
    x[n // 2 :] = -1
    x.requires_grad_()
    found = uniformity(x, torch.ones(n), 2.0, torch.arange(n))
    half = n // 2
    near, far = half * (half - 1), half * half
    want = math.log((near + far * math.exp(-8)) / (near + far))
    assert found.item() == pytest.approx(want, rel=1e-5)
    (grad,) = torch.autograd.grad(found, x)
    # d/dx of -t (x - y)^2 with x - y = 2 against each of the opposite rows.
    slope = -8 * half * math.exp(-8) / (near + far * math.exp(-8))
    assert torch.allclose(grad[:half], torch.full((half, 1), slope), rtol=1e-3)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=8))
@settings(max_examples=50)
def test_first_occurrences(rows):
    ids = torch.tensor([node for node, _ in rows], dtype=torch.long)
    weight = torch.tensor([float(w) for _, w in rows])
    found = (first_occurrence(ids, weight) * weight).tolist()
    met, want = set(), []
    for node, w in rows:
        want.append(float(w and node not in met))
        if w:
            met.add(node)
    assert found == want


def test_a_step_never_waits(monkeypatch):
    monkeypatch.setattr(_uniformity, "can_wait", lambda x: False)
    batch, x_dict = _case()
    leaves = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    for unique in (False, True):
        with NoSync():
            AlignmentUniformity(unique=unique)(batch, Representations(leaves)).backward()


def test_sampled_non_links_are_not_aligned():
    _, x_dict = _case()
    pairs = torch.tensor([[0, 1, 2], [3, 4, 5]])
    batch = Batch(MAIN, 3, edge_label_index=pairs, edge_label=torch.tensor([1.0, 0.0, 1.0]))
    only = Batch(MAIN, 3, torch.tensor([0, 2]), torch.tensor([3, 5]))
    task, x = AlignmentUniformity(), Representations(x_dict)
    assert torch.allclose(task(batch, x), task(only, x), rtol=1e-12)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [({"gamma": -0.1}, "'gamma' .*got -0.1"), ({"t": 0.0}, "'t' needs to be positive")],
)
def test_bad_arguments_get_one_line(kwargs, match):
    with pytest.raises(InputError, match=match):
        AlignmentUniformity(**kwargs)


def test_repr_says_the_settings():
    assert "gamma=1.0, t=2.0, unique=False" in repr(AlignmentUniformity())
