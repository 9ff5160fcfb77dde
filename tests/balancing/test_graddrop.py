import math

import numpy as np
import pytest
import torch
from gradient_bank import BANK, task_gradients
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor
from torchjd.aggregation import GradDrop as TorchJD

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import GradDrop, Sum

SEED = st.integers(0, 1000)


def by_hand(grads: np.ndarray, u: np.ndarray, leaks: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """The equation, one entry at a time, and how far its P is from u."""
    out, gap = np.zeros(grads.shape[1:]), np.full(grads.shape[1:], math.inf)
    for place in np.ndindex(*out.shape):
        entries = [float(g[place]) for g in grads]
        total = sum(map(abs, entries))
        if total == 0:
            continue
        p = (1 + sum(entries) / total) / 2
        gap[place] = abs(p - u[place])
        for entry, leak in zip(entries, leaks, strict=True):
            kept = (entry > 0 and p > u[place]) or (entry < 0 and p < u[place])
            out[place] += entry * (leak + (1 - leak) * kept)
    return out, gap


@given(BANK, SEED, st.sampled_from([0.0, 0.3, 1.0, "one a task"]))
def test_equals_the_loop(grads: Tensor, seed: int, leak: float | str) -> None:
    tasks = grads.size(0)
    leaks = [t / tasks for t in range(tasks)] if isinstance(leak, str) else [leak] * tasks
    found = GradDrop(leaks if isinstance(leak, str) else leak, seed)(grads).numpy()
    generator = torch.Generator().manual_seed(seed)
    u = torch.rand(grads.shape[1:], generator=generator, dtype=torch.float64).numpy()
    want, gap = by_hand(grads.numpy(), u, leaks)
    clear = gap > 1e-12
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    np.testing.assert_allclose(found[clear], want[clear], rtol=1e-12, atol=1e-14 * scale)


@given(BANK, SEED)
def test_equals_torchjd(grads: Tensor, seed: int) -> None:
    leak = torch.linspace(0, 1, grads.size(0), dtype=grads.dtype)
    found = GradDrop(leak.tolist(), seed)(grads)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        want = TorchJD(leak=leak)(grads.flatten(1)).view_as(found)
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-14 * scale)


@given(BANK, SEED)
def test_float32_is_finite_and_zero_stays_zero(grads: Tensor, seed: int) -> None:
    grads = grads.float()
    out = GradDrop(0.2, seed)(grads)
    assert out.dtype == torch.float32 and torch.isfinite(out).all()
    assert not out[(grads == 0).all(dim=0)].any()


@given(BANK, SEED)
def test_every_entry_is_the_sum_of_one_sign(grads: Tensor, seed: int) -> None:
    out = GradDrop(seed=seed)(grads)
    up, down = grads.clamp(min=0).sum(dim=0), grads.clamp(max=0).sum(dim=0)
    # The same numbers, added in another order.
    assert torch.logical_or(out.isclose(up, 1e-13, 0), out.isclose(down, 1e-13, 0)).all()
    agree = (up == 0) | (down == 0)
    torch.testing.assert_close(out[agree], grads.sum(dim=0)[agree])


def test_the_expectation_is_the_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    entries = torch.randn(3, 1, 6, generator=generator, dtype=torch.float64)
    draws = 20000
    for leak in (0.0, 0.4):
        out = GradDrop(leak, seed=1)(entries.expand(3, draws, 6))
        error = 4 * out.std(dim=0) / math.sqrt(draws)
        assert ((out.mean(dim=0) - entries.sum(dim=0)[0]).abs() <= error + 1e-9).all()


@given(BANK, SEED)
def test_rows_and_table_are_the_same_to_it(grads: Tensor, seed: int) -> None:
    rule = GradDrop(0.1, seed)
    rows = [rule(grads[:, row : row + 1]) for row in range(grads.size(1))]
    whole = GradDrop(0.1, seed)(grads)
    # The same draws in the same order, as long as torch draws small tensors one by one.
    if grads[0].numel() < 16:
        assert torch.equal(torch.cat([*rows, whole[:0]]), whole)


def test_tables_and_dense_parameters() -> None:
    given_ = task_gradients(seed=0)
    update = GradDrop(seed=7).update(given_, epoch=1)
    generator = torch.Generator().manual_seed(7)
    blocks = {**{n: r.grads for n, r in given_.rows.items()}, **given_.dense}
    found = {**update.rows, **update.dense}
    assert found.keys() == blocks.keys()
    for name, grads in blocks.items():
        u = torch.rand(grads.shape[1:], generator=generator, dtype=torch.float64).numpy()
        want, _ = by_hand(grads.numpy(), u, [0.0] * 3)
        np.testing.assert_allclose(found[name].numpy(), want, rtol=1e-12, atol=1e-14)
    assert update.own is given_.own


def test_limits() -> None:
    grads = task_gradients(seed=1).rows["item"].grads
    torch.testing.assert_close(GradDrop(1.0)(grads), Sum()(grads), rtol=1e-12, atol=1e-14)
    assert torch.equal(GradDrop()(grads[:1]), grads[0])  # one task agrees with itself
    rule = GradDrop(seed=2)
    first, second = rule(grads), rule(grads)
    assert not torch.equal(first, second)
    rule.reset()
    assert torch.equal(rule(grads), first)


def test_a_step_never_waits() -> None:
    given_ = task_gradients(seed=2)
    for leak in (0.0, [0.1, 0.2, 0.0]):
        with NoSync():
            GradDrop(leak).update(given_, epoch=1)


def test_bad_arguments() -> None:
    for leak in (-0.1, 1.1, math.nan, [0.5, 2.0], []):
        with pytest.raises(InputError, match="'leak' needs to be between 0 and 1 in 'GradDrop'"):
            GradDrop(leak)
    with pytest.raises(InputError, match=r"one number, or one a task \(got 2 for 3 tasks\)"):
        GradDrop([0.0, 0.1])(torch.ones(3, 1, 1))
    assert GradDrop.needs == "elements"
    assert repr(GradDrop(0.5)).startswith("GradDrop(\n  leak=0.5")
