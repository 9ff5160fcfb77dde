"""GradientAdjustment against its equations on single vectors, in float64."""

import math
from typing import Any

import pytest
import torch
from gradient_bank import task_gradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import GradientAdjustment
from pyg_mtrec.gradients import RowGradients, TaskGradients

SCALES = st.sampled_from([1e-10, 1e-3, 1.0, 1e3, 1e10])


def adjusted(grads: Tensor, rule: GradientAdjustment) -> Tensor:
    """One vector a task [T, n], adjusted one after the other, as the equations say."""
    grads = grads.double()
    core = grads[0]
    out = [core]
    for grad in grads[1:]:
        before = float(grad.norm())
        if float(core.norm()) > 0:
            inner = float(grad @ core)
            if inner < 0:
                grad = grad - rule.projection * inner / float(core @ core) * core
            size = float(grad.norm()) if rule.norm == "after" else before
            if size > 1e-7 * before:
                ratio = min(float(core.norm()) / size, rule.clip)
                if rule.clip_below:
                    ratio = max(ratio, 1 / rule.clip)
                grad = (rule.gamma * ratio + 1 - rule.gamma) * grad
        out.append(grad)
    return torch.stack(out).sum(0)


def random(num_tasks: int, num_rows: int, dim: int, seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(num_tasks, num_rows, dim, generator=generator, dtype=torch.double)
    return grads * torch.tensor([1.0, scale, 3.0, 0.1])[:num_tasks, None, None]


@settings(max_examples=40)
@given(
    num_tasks=st.integers(1, 4),
    num_rows=st.integers(1, 5),
    dim=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    scale=SCALES,
    projection=st.sampled_from([0.0, 0.5, 1.0]),
    gamma=st.sampled_from([0.0, 0.1, 1.0]),
    clip=st.sampled_from([0.5, 10.0, 1e12]),
    clip_below=st.booleans(),
    norm=st.sampled_from(["after", "before"]),
)
def test_weights_give_what_adjusting_one_after_the_other_gives(
    num_tasks: int,
    num_rows: int,
    dim: int,
    seed: int,
    scale: float,
    projection: float,
    gamma: float,
    clip: float,
    clip_below: bool,
    norm: str,
) -> None:
    grads, clip_below = random(num_tasks, num_rows, dim, seed, scale), clip_below and clip > 1
    for scope in ("table", "row"):
        kwargs: dict[str, Any] = {"norm": norm, "scope": scope, "clip_below": clip_below}
        rule = GradientAdjustment(projection, gamma, clip, **kwargs)
        found = rule(grads)
        if scope == "table":
            wanted = adjusted(grads.flatten(1), rule).view(num_rows, dim)
        else:
            wanted = torch.stack([adjusted(grads[:, row], rule) for row in range(num_rows)])
        # A gradient that is all conflict (one column) is zero but for rounding.
        slack = 1e-6 * grads.abs().amax() * (clip if clip < 1e3 else 1.0)
        assert torch.allclose(found, wanted, rtol=1e-6, atol=float(slack))


def test_no_gradient_opposes_the_core_task_after_a_full_projection() -> None:
    rule = GradientAdjustment(projection=1.0, gamma=0.0)
    for seed in range(50):
        grads = random(3, 2, 3, seed)
        flat = grads.flatten(1)
        for task in (1, 2):  # one other task at a time: its own part is what is left
            pair = torch.stack([grads[0], grads[task]])
            part = rule(pair).flatten() - flat[0]
            assert float(part @ flat[0]) >= -1e-9
            if float(flat[task] @ flat[0]) < 0:
                assert float(part @ flat[0]) == pytest.approx(0, abs=1e-9)


def test_without_conflict_and_magnitude_it_is_the_sum() -> None:
    grads = random(3, 4, 5, seed=0).abs()
    assert torch.allclose(GradientAdjustment(gamma=0.0)(grads), grads.sum(0))


def test_full_magnitude_makes_all_gradients_as_long_as_the_core_tasks() -> None:
    rule = GradientAdjustment(gamma=1.0, clip=math.inf)
    for seed in range(20):
        grads = random(2, 3, 4, seed, scale=1e4)
        part = rule(grads) - grads[0]
        assert float(part.norm()) == pytest.approx(float(grads[0].norm()), rel=1e-9)


@pytest.mark.parametrize("silent", [0, 1, 2])
def test_tasks_without_gradient_change_nothing(silent: int) -> None:
    grads = random(3, 4, 5, seed=1)
    grads[silent] = 0
    found = GradientAdjustment(gamma=0.5)(grads)
    assert found.isfinite().all()
    if silent == 0:
        assert torch.allclose(found, grads.sum(0))
    else:
        others = grads[[task for task in range(3) if task != silent]]
        assert torch.allclose(found, GradientAdjustment(gamma=0.5)(others))


def test_all_zero_gradients_stay_zero() -> None:
    for scope in ("table", "row"):
        rule = GradientAdjustment(gamma=1.0, scope=scope)  # type: ignore[arg-type]
        assert rule(torch.zeros(3, 4, 2)).count_nonzero() == 0


def test_tables_are_one_vector_or_one_each_and_dense_parameters_are_summed() -> None:
    first, second, dense = random(2, 2, 3, 0), random(2, 4, 3, 1, 100.0), random(2, 1, 6, 2)[:, 0]
    gradients = TaskGradients(
        torch.zeros(2),
        {"user": RowGradients(None, first), "item": RowGradients(None, second)},
        {"trunk": dense},
    )
    flat = torch.cat([first.flatten(1), second.flatten(1)], dim=1)
    rule = GradientAdjustment(gamma=0.5)
    found = rule.update(gradients, epoch=1)
    assert torch.allclose(
        torch.cat([found.rows["user"].flatten(), found.rows["item"].flatten()]),
        adjusted(flat, rule),
    )
    assert torch.allclose(found.dense["trunk"], dense.sum(0))

    each = GradientAdjustment(gamma=0.5, per="tensor").update(gradients, epoch=1)
    assert torch.allclose(each.rows["user"].flatten(), adjusted(first.flatten(1), rule))
    assert torch.allclose(each.rows["item"].flatten(), adjusted(second.flatten(1), rule))

    together = GradientAdjustment(gamma=0.5, dense=True).update(gradients, epoch=1)
    wanted = adjusted(torch.cat([flat, dense], dim=1), rule)
    assert torch.allclose(together.dense["trunk"], wanted[-6:])
    assert torch.allclose(together.rows["user"].flatten(), wanted[:6])


def test_auxiliary_tasks_may_change_places() -> None:
    grads = random(4, 3, 3, seed=5, scale=20.0)
    rule = GradientAdjustment(gamma=0.3)
    assert torch.allclose(rule(grads), rule(grads[[0, 3, 1, 2]]))


def test_real_gradients_are_finite() -> None:
    for scope in ("table", "row"):
        rule = GradientAdjustment(gamma=0.5, scope=scope)  # type: ignore[arg-type]
        update = rule.update(task_gradients(0), epoch=1)
        assert all(rows.isfinite().all() for rows in update.rows.values())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"projection": -0.1}, "'projection' needs to be at least 0"),
        ({"gamma": 1.5}, "'gamma' needs to be between 0 and 1"),
        ({"clip": 0.0}, "'clip' needs to be positive"),
        ({"clip": 0.5, "clip_below": True}, "'clip' needs to be at least 1"),
        ({"norm": "during"}, "'norm' needs to be 'after' or 'before'"),
        ({"per": "row"}, "'per' needs to be 'all' or 'tensor'"),
        ({"scope": "column"}, "'scope' needs to be 'table' or 'row'"),
    ],
)
def test_wrong_arguments_get_one_line(kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GradientAdjustment(**kwargs)  # type: ignore[arg-type]
