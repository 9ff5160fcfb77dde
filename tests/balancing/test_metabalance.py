import math

import pytest
import torch
from gradient_bank import BANK, task_gradients
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import MetaBalance, Sum
from pyg_mtrec.gradients import RowGradients, TaskGradients


class ByHand:
    """The equations in Python floats, one parameter tensor at a time."""

    def __init__(self, relax: float, beta: float) -> None:
        self.relax, self.beta = relax, beta
        self.means: dict[str, list[float]] = {}

    def __call__(self, name: str, grads: Tensor) -> Tensor:
        out = torch.zeros(grads.shape[1:], dtype=torch.float64)
        old = self.means.get(name, [0.0] * len(grads))
        new = []
        for mean, grad in zip(old, grads, strict=True):
            norm = math.sqrt(sum(value**2 for value in grad.flatten().tolist()))
            new.append(self.beta * mean + (1 - self.beta) * norm)
        for mean, grad in zip(new, grads, strict=True):
            ratio = new[0] / mean if mean else 1.0
            out += (self.relax * ratio + 1 - self.relax) * grad
        self.means[name] = new
        return out


ARGUMENTS = st.tuples(st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.sampled_from([0.0, 0.5, 0.9]))


@given(st.lists(BANK.filter(lambda grads: grads.numel() > 0), min_size=1, max_size=4), ARGUMENTS)
def test_equals_the_loop(steps: list[Tensor], arguments: tuple[float, float]) -> None:
    rule, loop = MetaBalance(*arguments), ByHand(*arguments)
    for grads in steps:
        if len(grads) != len(steps[0]):
            continue
        found, want = rule(grads), loop("", grads)
        scale = max(float(want.abs().max()), float(grads.abs().max()))
        torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-12 * scale)


def test_every_parameter_tensor_has_its_own_norms() -> None:
    rule, loop = MetaBalance(), ByHand(0.7, 0.9)
    for seed in range(4):
        given_ = task_gradients(seed, scale=10.0**seed)
        update = rule.update(given_, epoch=1)
        for name, rows in given_.rows.items():
            torch.testing.assert_close(update.rows[name], loop(name, rows.grads))
        for name, grads in given_.dense.items():
            torch.testing.assert_close(update.dense[name], loop(name, grads))
        assert update.own is given_.own


def test_a_table_and_a_parameter_may_share_a_name() -> None:
    rule, loop = MetaBalance(), ByHand(0.7, 0.9)
    for seed in range(2):
        grads = task_gradients(seed).rows["user"].grads
        both = TaskGradients(
            torch.zeros(3), {"user": RowGradients(None, grads)}, {"user": grads[:, 0] * 7}
        )
        update = rule.update(both, epoch=1)
        torch.testing.assert_close(update.rows["user"], loop("rows", grads))
        torch.testing.assert_close(update.dense["user"], loop("dense", grads[:, 0] * 7))


@given(BANK)
def test_limits(grads: Tensor) -> None:
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    torch.testing.assert_close(
        MetaBalance(relax=0.0)(grads), Sum()(grads), rtol=1e-12, atol=1e-14 * scale
    )
    assert torch.equal(MetaBalance(relax=1.0)(grads[:1]), grads[0])
    full = MetaBalance(relax=1.0, beta=0.0)
    for task in range(1, len(grads)):  # every auxiliary gradient gets the main one's length
        part = full(grads[[0, task]]) - grads[0]
        live = float(grads[task].norm())
        want = float(grads[0].norm()) if live else 0.0
        assert float(part.norm()) == pytest.approx(want, rel=1e-6, abs=1e-12 * scale)


@given(BANK)
def test_float32_is_finite_and_zero_rows_stay_zero(grads: Tensor) -> None:
    grads = grads.float()
    out = MetaBalance()(grads)
    assert out.dtype == torch.float32 and torch.isfinite(out).all()
    assert not out[(grads == 0).all(dim=0)].any()


def test_a_task_that_fell_silent_stays_finite() -> None:
    rule, grads = MetaBalance(relax=1.0), torch.ones(2, 1, 2)
    rule(grads)
    grads[1] = 0
    for _ in range(8000):  # its average passes through the smallest numbers down to zero
        assert torch.equal(rule(grads), grads[0])
    grads[1] = 1e-10
    assert torch.isfinite(rule(grads)).all()


def test_ranks_that_hold_columns_agree() -> None:
    grads = task_gradients(seed=3).rows["item"].grads
    whole = MetaBalance()(grads)
    left, right = grads[..., :1], grads[..., 1:]
    part = TaskGradients(
        torch.zeros(3),
        {"": RowGradients(None, left)},
        reduce=lambda squares: squares + right.square().sum(-1),
    )
    torch.testing.assert_close(MetaBalance().update(part, epoch=1).rows[""], whole[:, :1])


def test_a_step_never_waits() -> None:
    rule, given_ = MetaBalance(), task_gradients(seed=4)
    with NoSync():
        rule.update(given_, epoch=1)
        rule.update(given_, epoch=1)


def test_reset_forgets() -> None:
    rule, given_ = MetaBalance(), task_gradients(seed=5)
    first = rule.update(given_, epoch=1).rows["user"]
    rule.update(task_gradients(seed=6, scale=1e3), epoch=1)
    assert not torch.equal(rule.update(given_, epoch=1).rows["user"], first)
    rule.reset()
    assert torch.equal(rule.update(given_, epoch=1).rows["user"], first)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"relax": -0.1}, r"'relax' needs to be between 0 and 1 in 'MetaBalance' \(got -0.1\)"),
        ({"relax": math.nan}, "'relax' needs"),
        ({"beta": 1.0}, r"'beta' needs to be at least 0 and below 1 in 'MetaBalance' \(got 1.0\)"),
    ],
)
def test_bad_arguments(kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        MetaBalance(**kwargs)
    assert repr(MetaBalance(0.5)) == "MetaBalance(relax=0.5, beta=0.9)"
