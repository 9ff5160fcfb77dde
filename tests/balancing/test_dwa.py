import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torchjd.scalarization import DWA as TorchJD

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import DWA


def by_hand(means: np.ndarray, tau: float) -> np.ndarray:
    """Weights of the epoch after the last of these means [epochs, T]."""
    tasks = means.shape[1]
    if len(means) < 2:
        return np.ones(tasks)
    rates = [new / old for old, new in zip(*means[-2:], strict=True)]
    exp = [math.exp((rate - max(rates)) / tau) for rate in rates]
    return tasks * np.array(exp) / sum(exp)


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=5),  # steps of each epoch
    st.integers(1, 5),
    st.sampled_from([0.1, 2.0, 1e3]),
    st.sampled_from([1e-10, 1.0, 1e10]),
    st.integers(0, 10**6),
)
def test_equals_the_loop(steps: list[int], tasks: int, tau: float, scale: float, seed: int) -> None:
    rule, generator = DWA(tau), np.random.default_rng(seed)
    means = np.zeros((0, tasks))
    for epoch, count in enumerate(steps, start=1):
        losses = (generator.random((count, tasks)) + 0.1) * scale
        for row in losses:
            weights = rule.loss_weights(torch.tensor(row), epoch=epoch)
            np.testing.assert_allclose(weights.numpy(), by_hand(means, tau), rtol=1e-10)
        means = np.vstack([means, losses.mean(axis=0)])


def test_a_run_is_that_of_torchjd() -> None:
    theirs, ours = TorchJD(0.7), DWA(0.7)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(1, 6):
        for _ in range(4):
            losses = torch.rand(3, generator=generator, dtype=torch.float64)
            values = losses.clone().requires_grad_()
            (want,) = torch.autograd.grad(theirs(values), values)
            found = ours.loss_weights(losses, epoch=epoch)
            torch.testing.assert_close(found, want, rtol=1e-12, atol=0)
        theirs.step()


def test_epochs_may_start_anywhere() -> None:
    first, later = DWA(), DWA()
    for epoch, loss in enumerate([3.0, 1.0, 1.0]):
        losses = torch.tensor([loss, 1.0])
        a, b = (
            rule.loss_weights(losses, epoch=start + 2 * epoch)
            for rule, start in ((first, 1), (later, 40))
        )
        assert torch.equal(a, b)
    assert a[0] < 1 < a[1]


def test_means_are_taken_above_the_bounds() -> None:
    bound, shifted = DWA(lower_bounds=[-8.0, 0.0]), DWA()
    for epoch, loss in enumerate([-3.0, -3.5, -3.6], start=1):
        a = bound.loss_weights(torch.tensor([loss, 1.0]), epoch=epoch)
        b = shifted.loss_weights(torch.tensor([loss + 8, 1.0]), epoch=epoch)
        torch.testing.assert_close(a, b)
    assert a[0] < a[1]  # it falls, from 5 to 4.5


@pytest.mark.parametrize(("first", "second"), [(0.0, 0.0), (0.0, 1e10), (1e10, 0.0), (1e-45, 1e38)])
def test_finite_for_means_of_zero(first: float, second: float) -> None:
    rule = DWA(0.1)
    for epoch, loss in enumerate([first, second, second], start=1):
        weights = rule.loss_weights(torch.tensor([loss, 1.0]), epoch=epoch)
    assert torch.isfinite(weights).all()
    assert weights.sum().item() == pytest.approx(2.0)
    if first == second:
        assert weights.tolist() == [1.0, 1.0]


def test_resumes_in_the_middle_of_an_epoch() -> None:
    def steps(rule: DWA, start: int, end: int) -> list[torch.Tensor]:
        return [
            rule.loss_weights(torch.tensor([1 / (1 + i), 1.0 + i % 2]), epoch=1 + i // 3)
            for i in range(start, end)
        ]

    for cut in range(12):
        whole, half, rest = DWA(), DWA(), DWA()
        want = steps(whole, 0, 12)
        steps(half, 0, cut)
        rest.load_state_dict(half.state_dict())
        steps(half, cut, 12)  # what the saved rule does later must not matter
        found = steps(rest, cut, 12)
        assert all(torch.equal(a, b) for a, b in zip(found, want[cut:], strict=True))
    whole.reset()
    assert torch.equal(steps(whole, 6, 7)[0], torch.ones(2))


def test_a_step_never_waits() -> None:
    rule = DWA(lower_bounds=[0.0, -1.0])
    with NoSync():
        for epoch in (1, 2, 3, 3):
            rule.loss_weights(torch.ones(2), epoch=epoch)


def test_bad_arguments() -> None:
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="'temperature' needs to be positive in 'DWA'"):
            DWA(temperature)
    with pytest.raises(
        InputError, match=r"'lower_bounds' need to be finite in 'DWA' \(got \[nan\]"
    ):
        DWA(lower_bounds=[math.nan])
    with pytest.raises(InputError, match=r"'lower_bounds' of 'DWA' .* \(got 1 for 2 tasks\)"):
        DWA(lower_bounds=[0.0]).loss_weights(torch.ones(2), epoch=1)
    assert repr(DWA(1.0)).startswith("DWA(\n  temperature=1.0")
