import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import PMTRec, Sum
from pyg_mtrec.gradients import RowGradients, TaskGradients


def by_rows(grads: Tensor, alpha: float, tau: float, epoch: int, mask: bool = False) -> np.ndarray:
    """The paper's equations, one row at a time, in float64."""
    g = grads.numpy().astype(np.float64)
    out = np.zeros(g.shape[1:])
    for row in range(g.shape[1]):
        norms = [math.sqrt(float((g[t, row] ** 2).sum())) for t in range(g.shape[0])]
        focused = [norms[0] * alpha**epoch, *norms[1:]]
        live = [norm > 0 or not mask for norm in norms]
        top = max(focused) / tau
        exp = [math.exp(n / tau - top) if on else 0.0 for n, on in zip(focused, live, strict=True)]
        for t, value in enumerate(exp):
            if value:
                out[row] += value / sum(exp) * g[t, row]
    return out


def gradients(tasks: int, rows: int, dim: int, scale: float, seed: int, zeros: bool) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, rows, dim, generator=generator, dtype=torch.float64) * scale
    if zeros:  # rows that no task, one task, or all but one task touch
        live = torch.rand(tasks, rows, 1, generator=generator) < 0.5
        grads = grads * live
    return grads


BANK = st.builds(
    gradients,
    tasks=st.integers(1, 5),
    rows=st.integers(0, 7),
    dim=st.integers(1, 5),
    scale=st.sampled_from([1e-10, 1e-4, 1.0, 1e10]),
    seed=st.integers(0, 10**6),
    zeros=st.booleans(),
)
ALPHA = st.sampled_from([1.0, 1.02, 1.2])
EPOCH = st.integers(0, 60)


@given(BANK, ALPHA, st.sampled_from([1e-6, 1e-3, 1.0, 10.0]), EPOCH, st.booleans())
def test_float64_equals_the_loop(
    grads: Tensor, alpha: float, tau: float, epoch: int, mask: bool
) -> None:
    out = PMTRec(alpha, tau, mask_inactive=mask)(grads, epoch=epoch)
    expected = by_rows(grads, alpha, tau, epoch, mask)
    scale = max(1.0, float(grads.abs().max()) if grads.numel() else 1.0)
    # An error of one ulp in a norm is an error of norm · alpha^s / tau ulps in the exponent.
    largest = float(grads.norm(dim=-1).max()) if grads.numel() else 0.0
    steep = max(1.0, largest * alpha**epoch / tau)
    if steep < 1e5:
        np.testing.assert_allclose(out.numpy(), expected, rtol=1e-10, atol=1e-10 * scale)
    else:  # the softmax is a step function there: compare where no two norms come close
        clear = _clear_rows(grads, alpha, tau, epoch, margin=1e-9 * steep + 50).numpy()
        np.testing.assert_allclose(
            out.numpy()[clear], expected[clear], rtol=1e-10, atol=1e-10 * scale
        )


@given(BANK, ALPHA, st.sampled_from([1e-3, 1.0, 10.0]), EPOCH)
def test_float32_within_tolerance(grads: Tensor, alpha: float, tau: float, epoch: int) -> None:
    grads = grads.float()
    out = PMTRec(alpha, tau)(grads, epoch=epoch)
    assert out.dtype == torch.float32
    if not grads.numel():
        assert out.shape == grads.shape[1:]
        return
    largest = float(grads.double().norm(dim=-1).max())
    steep = max(1.0, largest * alpha**epoch / tau)
    clear = _clear_rows(grads.double(), alpha, tau, epoch, margin=1e-6 * steep * 20)
    if steep < 1e4:
        clear = torch.ones_like(clear)
    error = np.abs(out.numpy() - by_rows(grads, alpha, tau, epoch))[clear.numpy()]
    assert error.size == 0 or error.max() <= 1e-6 * steep * max(1.0, largest)


def _clear_rows(grads: Tensor, alpha: float, tau: float, epoch: int, margin: float) -> Tensor:
    logits = grads.norm(dim=-1) / tau
    logits[0] *= alpha**epoch
    if grads.size(0) == 1:
        return torch.ones(grads.size(1), dtype=torch.bool)
    two = logits.topk(2, dim=0).values
    return (two[0] - two[1] > margin) | (two[0] == 0)


@given(BANK, ALPHA, st.sampled_from([1e-6, 1.0]), EPOCH)
def test_one_task_gives_its_gradient(grads: Tensor, alpha: float, tau: float, epoch: int) -> None:
    assert torch.equal(PMTRec(alpha, tau)(grads[:1], epoch=epoch), grads[0])


@given(BANK)
def test_large_tau_gives_the_mean(grads: Tensor) -> None:
    tau = 1e12 * max(1.0, float(grads.abs().max()) if grads.numel() else 1.0)
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    mean = PMTRec(1.0, tau)(grads, epoch=3)
    torch.testing.assert_close(mean, grads.mean(dim=0), rtol=0, atol=1e-9 * scale)
    total = PMTRec(1.0, tau, scale="sum")(grads, epoch=3)
    torch.testing.assert_close(total, grads.sum(dim=0), rtol=0, atol=1e-9 * scale)


@given(BANK)
def test_small_tau_gives_the_largest_norm(grads: Tensor) -> None:
    out = PMTRec(1.0, 1e-30)(grads, epoch=1)
    norms = grads.norm(dim=-1)
    for row in range(grads.size(1)):
        assert torch.equal(out[row], grads[int(norms[:, row].argmax()), row])


@given(BANK, st.integers(0, 10**6))
def test_permutations(grads: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(grads.size(1), generator=generator)
    others = 1 + torch.randperm(grads.size(0) - 1, generator=generator)
    tasks = torch.cat([torch.zeros(1, dtype=torch.long), others])
    rule = PMTRec(1.06, float(grads.abs().max()) + 1e-9 if grads.numel() else 1.0)
    out = rule(grads, epoch=4)
    torch.testing.assert_close(rule(grads[:, rows], epoch=4), out[rows], rtol=1e-12, atol=0)
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    torch.testing.assert_close(rule(grads[tasks], epoch=4), out, rtol=1e-10, atol=1e-12 * scale)


def test_focusing_raises_the_main_task() -> None:
    norms = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    weights = [PMTRec(1.1, 1.0).weights(norms, epoch=epoch)[0] for epoch in range(30)]
    main = torch.stack(weights)
    assert (main[1:, 0] > main[:-1, 0]).all()
    assert (main[:, 1] == main[0, 1]).all()  # a zero norm stays zero
    flat = PMTRec(1.0, 1.0)
    assert torch.equal(flat.weights(norms, epoch=1), flat.weights(norms, epoch=99))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mask", [False, True])
def test_finite_after_a_thousand_epochs(dtype: torch.dtype, mask: bool) -> None:
    grads = torch.tensor([[[1e-3], [0.0], [0.0], [1e10]], [[1.0], [1.0], [0.0], [1e10]]]).to(dtype)
    for epoch in (1000, 10**9):
        out = PMTRec(1.2, 1e-6, mask_inactive=mask)(grads, epoch=epoch)
        expected = torch.tensor([[1e-3], [1.0], [0.0], [1e10]]).to(dtype)
        assert torch.equal(out, expected)


def test_mask_inactive() -> None:
    norms = torch.tensor([[0.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    weights = PMTRec(1.0, 1.0, mask_inactive=True).weights(norms, epoch=1)
    assert torch.equal(weights, torch.tensor([[0.0, 0.5, 0.0], [1.0, 0.5, 0.0]]))
    literal = PMTRec(1.0, 1.0).weights(norms, epoch=1)
    assert literal[1, 0].item() == pytest.approx(1 / (1 + math.exp(-2)))


@given(BANK, st.floats(1e-6, 1e6))
def test_relative_is_free_of_scale(grads: Tensor, factor: float) -> None:
    rule = PMTRec(1.06, 0.5, relative=True)
    norms = grads.norm(dim=-1)
    live = norms[norms > 0]
    unit = float(live.mean()) if live.numel() else 1.0
    plain = PMTRec(1.06, 0.5 * unit)(grads, epoch=2)
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    torch.testing.assert_close(rule(grads, epoch=2), plain, rtol=1e-9, atol=1e-9 * scale)
    scaled = rule(grads * factor, epoch=2)
    torch.testing.assert_close(scaled, plain * factor, rtol=1e-9, atol=1e-9 * scale * factor)


def test_update_treats_split_and_stacked_tables_alike() -> None:
    grads = gradients(3, 9, 4, 1.0, seed=0, zeros=True)
    ids = torch.arange(9)
    for relative in (False, True):
        rule = PMTRec(1.06, 0.3, relative=relative)
        stacked = TaskGradients(torch.zeros(3), {"all": RowGradients(ids, grads)})
        split = TaskGradients(
            torch.zeros(3),
            {
                "user": RowGradients(ids[:4], grads[:, :4]),
                "item": RowGradients(ids[:5], grads[:, 4:]),
            },
        )
        whole = rule.update(stacked, epoch=2).rows["all"]
        parts = rule.update(split, epoch=2).rows
        torch.testing.assert_close(
            torch.cat([parts["user"], parts["item"]]), whole, rtol=1e-12, atol=0
        )


def test_update_of_dense_and_own_parameters() -> None:
    dense = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    own = {"rating": {"bias": torch.tensor([7.0])}}
    given_ = TaskGradients(torch.zeros(2), {}, {"weight": dense}, own)
    mean = torch.tensor([2.0, 4.0])
    assert torch.equal(PMTRec().update(given_, epoch=1).dense["weight"], mean)
    assert torch.equal(PMTRec(dense="sum").update(given_, epoch=1).dense["weight"], 2 * mean)
    assert torch.equal(PMTRec(scale="sum").update(given_, epoch=1).dense["weight"], 2 * mean)
    assert PMTRec().update(given_, epoch=1).own is own
    assert torch.equal(Sum().update(given_, epoch=1).dense["weight"], 2 * mean)


def test_reduce_stands_between_norms_and_weights() -> None:
    grads = gradients(2, 5, 6, 1.0, seed=1, zeros=False)
    whole = PMTRec(1.0, 0.3)(grads, epoch=1)
    left, right = grads[..., :2], grads[..., 2:]
    other = right.square().sum(-1)
    columns = TaskGradients(
        torch.zeros(2),
        {"user": RowGradients(torch.arange(5), left)},
        reduce=lambda squares: squares + other,
    )
    part = PMTRec(1.0, 0.3).update(columns, epoch=1).rows["user"]
    torch.testing.assert_close(part, whole[:, :2], rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"tau": 0.0}, r"'tau' needs to be positive in 'PMTRec' \(got 0.0\)"),
        ({"tau": -1.0}, "'tau' needs to be positive"),
        ({"tau": float("nan")}, "'tau' needs to be positive"),
        ({"alpha": 0.99}, r"'alpha' needs to be at least 1 in 'PMTRec' \(got 0.99\)"),
        ({"scale": "max"}, "'scale' needs to be 'mean' or 'sum'"),
        ({"dense": "max"}, "'dense' needs to be 'mean' or 'sum'"),
    ],
)
def test_bad_arguments(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PMTRec(**kwargs)  # type: ignore[arg-type]
    assert repr(PMTRec(1.06, 1e-3)) == "PMTRec(alpha=1.06, tau=0.001)"


def test_pmtrec_weighs_gradients_not_losses() -> None:
    with pytest.raises(TypeError, match="'PMTRec' weighs gradients, not losses"):
        PMTRec().loss_weights(torch.ones(2), epoch=1)
