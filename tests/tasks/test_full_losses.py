"""Losses over whole matrices against loops over edges and autograd, in float64."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor
from torch.nn.functional import softplus

from pyg_mtrec.loader import FullBatch
from pyg_mtrec.tasks import _full_losses
from pyg_mtrec.tasks._full_losses import full_alignment_loss, full_ranking_loss

EDGE_TYPE = ("user", "likes", "item")
# Source, destination, m negatives each; source 2 and destination 3 have no edge, one edge is twice.
SRC, DST = [3, 0, 1, 3, 0, 0, 3], [0, 2, 2, 4, 2, 1, 0]
SIZES = (5, 6)


def full_batch(src, dst, num_src, num_dst, m=0, weighted=False, seed=0) -> FullBatch:
    generator = torch.Generator().manual_seed(seed)
    src, dst = (torch.tensor(ids, dtype=torch.long) for ids in (src, dst))
    batch = FullBatch.from_edges(EDGE_TYPE, src, dst, num_src, num_dst)
    if m:
        negatives = torch.randint(num_dst, (src.numel(), m), generator=generator)
        batch.dst_neg_index = negatives[:, 0] if m == 1 else negatives
    if weighted:
        batch.weight = torch.rand(src.numel(), generator=generator)
        batch.weight[::3] = 0.0
    return batch


def matrices(num_src, num_dst, dim, scale=1.0, dtype=torch.float64, seed=0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (scale * torch.randn(num, dim, generator=generator, dtype=torch.float64))
        .to(dtype)
        .requires_grad_()
        for num in (num_src, num_dst)
    ]


def edge_weights(batch: FullBatch) -> list[float]:
    num = batch.src_index.numel()
    return [1.0] * num if batch.weight is None else batch.weight.tolist()


def ranking_by_hand(src_x: Tensor, dst_x: Tensor, batch: FullBatch) -> Tensor:
    total = 0 * (src_x.sum() + dst_x.sum())
    negatives = batch.dst_neg_index
    negatives = (negatives[:, None] if negatives.dim() == 1 else negatives).tolist()
    ends = zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True)
    for (s, p), drawn, weight in zip(ends, negatives, edge_weights(batch), strict=True):
        for n in drawn:
            gap = (src_x[s] * dst_x[n]).sum() - (src_x[s] * dst_x[p]).sum()
            total = total + weight * softplus(gap) / len(drawn)
    return total / batch.size


def alignment_by_hand(src_x: Tensor, dst_x: Tensor, batch: FullBatch) -> Tensor:
    total = 0 * (src_x.sum() + dst_x.sum())
    ends = zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True)
    for (s, p), weight in zip(ends, edge_weights(batch), strict=True):
        total = total + weight * (src_x[s] - dst_x[p]).square().sum()
    return total / batch.size


LOSSES = {
    "ranking": (full_ranking_loss, ranking_by_hand),
    "alignment": (full_alignment_loss, alignment_by_hand),
}


def check(name: str, inputs: list[Tensor], batch: FullBatch, rtol=1e-12, atol=1e-14) -> None:
    loss, by_hand = LOSSES[name]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    got, want = loss(*inputs, batch), by_hand(*exact, batch)
    assert got.dtype == inputs[0].dtype and got.shape == ()
    torch.testing.assert_close(got.double(), want, rtol=rtol, atol=atol)
    # Another factor than one: what comes from above has to be passed on.
    grads = torch.autograd.grad(3 * got, inputs)
    for a, b in zip(grads, torch.autograd.grad(3 * want, exact), strict=True):
        assert a.shape == b.shape and a.dtype == inputs[0].dtype
        torch.testing.assert_close(a.double(), b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("m", [1, 2, 5])
@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("chunk", [3, 4096])
def test_ranking_is_the_loop_over_edges(weighted, m, dim, chunk, monkeypatch):
    monkeypatch.setitem(_full_losses._CHUNK, "cpu", chunk)
    batch = full_batch(SRC, DST, *SIZES, m=m, weighted=weighted)
    check("ranking", matrices(*SIZES, dim), batch)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dim", [1, 4])
@pytest.mark.parametrize("chunk", [3, 4096])
def test_alignment_is_the_loop_over_edges(weighted, dim, chunk, monkeypatch):
    monkeypatch.setitem(_full_losses._CHUNK, "cpu", chunk)
    batch = full_batch(SRC, DST, *SIZES, weighted=weighted)
    check("alignment", matrices(*SIZES, dim), batch)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sizes", [(3, 2), (1, 1)])
@pytest.mark.parametrize("weighted", [False, True])
def test_no_edges_cost_nothing(name, sizes, weighted):
    batch = full_batch([], [], *sizes, m=2, weighted=weighted)
    check(name, matrices(*sizes, 3), batch)
    loss = LOSSES[name][0](*matrices(*sizes, 3), batch)
    assert float(loss.detach()) == 0


@pytest.mark.parametrize("name", LOSSES)
def test_one_node_a_side_and_many_equal_edges(name):
    batch = full_batch([0] * 9, [0] * 9, 1, 1, m=3, weighted=True)
    check(name, matrices(1, 1, 2), batch)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_within_one_node_type(name):
    """Sources and destinations are one matrix, whose two gradients add up."""
    batch = full_batch([0, 1, 2, 2], [1, 2, 0, 1], 4, 4, m=2)
    loss, by_hand = LOSSES[name]
    (x, _) = matrices(4, 4, 3)
    got = torch.autograd.grad(loss(x, x, batch), x)
    torch.testing.assert_close(
        got, torch.autograd.grad(by_hand(x, x, batch), x), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("needed", [0, 1])
def test_one_side_may_be_constant(name, needed):
    batch = full_batch(SRC, DST, *SIZES, m=2)
    loss, by_hand = LOSSES[name]
    inputs = matrices(*SIZES, 3)
    inputs[1 - needed] = inputs[1 - needed].detach()
    got = torch.autograd.grad(loss(*inputs, batch), inputs[needed])
    want = torch.autograd.grad(by_hand(*inputs, batch), inputs[needed])
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", LOSSES)
def test_gradcheck(name):
    batch = full_batch(SRC, DST, *SIZES, m=2, weighted=True)
    assert torch.autograd.gradcheck(
        lambda src_x, dst_x: LOSSES[name][0](src_x, dst_x, batch), matrices(*SIZES, 2)
    )


@pytest.mark.parametrize("name", LOSSES)
def test_a_nominal_size_divides(name):
    batch = full_batch(SRC, DST, *SIZES, m=2)
    check(name, matrices(*SIZES, 3), replace(batch, size=50))


@st.composite
def problems(draw):
    num_src, num_dst = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    num = draw(st.integers(0, 12))
    ids = lambda n: st.lists(st.integers(0, n - 1), min_size=num, max_size=num)  # noqa: E731
    seed, m = draw(st.integers(0, 99)), draw(st.integers(1, 3))
    weighted = draw(st.booleans())
    batch = full_batch(draw(ids(num_src)), draw(ids(num_dst)), num_src, num_dst, m, weighted, seed)
    scale = 10.0 ** draw(st.integers(-10, 10))
    return batch, (num_src, num_dst, draw(st.integers(1, 4)), scale), seed


@given(problems(), st.sampled_from(sorted(LOSSES)))
def test_any_graph_at_any_scale(problem, name):
    batch, sizes, seed = problem
    scale = sizes[-1]
    # A sum of some hundred numbers of this size; where they cancel it alone is left.
    size = {"ranking": max(scale, scale**2), "alignment": scale**2}[name]
    check(name, matrices(*sizes, seed=seed), batch, rtol=1e-11, atol=1e-13 * size)
    single = matrices(*sizes, dtype=torch.float32, seed=seed)
    if name == "alignment" or scale <= 1e3:  # else one rounding decides the sign of a gap
        grad_size = max(size, scale)
        check(name, single, batch, rtol=1e-4, atol=1e-4 * grad_size)
    loss = LOSSES[name][0](*single, batch)
    assert bool(loss.isfinite())
    assert all(bool(grad.isfinite().all()) for grad in torch.autograd.grad(loss, single))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("m", [1, 2])
def test_no_step_waits_for_the_device(name, m):
    batch = full_batch(SRC, DST, *SIZES, m=m, weighted=True)
    inputs = matrices(*SIZES, 3)
    with NoSync():
        loss = LOSSES[name][0](*inputs, batch)
        torch.autograd.grad(loss, inputs)
