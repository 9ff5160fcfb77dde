"""What the order of the tasks may change: nothing but which one is the main task.

Rules that visit tasks in random order or draw a number for each (PCGrad, GradVac, RLW) are
symmetric in law: single steps differ, their means do not. GradDrop draws one number an entry, for
all tasks, so the same draws give the same step. PMTRec and MetaBalance know the main task: their
auxiliary tasks may change places among themselves only.
"""

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest
import torch
import torchjd.aggregation as torchjd
from gradient_bank import task_gradients
from torch import Tensor

from pyg_mtrec import balancing
from pyg_mtrec.balancing import Balancer, FromTorchJD
from pyg_mtrec.gradients import RowGradients, TaskGradients

TASKS = 4
SYMMETRIC: list[tuple[str, dict[str, Any]]] = [
    ("AlignedMTL", {}),
    ("AlignedMTL", {"scope": "row"}),
    ("CAGrad", {}),
    ("CAGrad", {"scope": "row"}),
    ("DWA", {}),
    ("GradDrop", {"leak": 0.1}),
    ("IMTLG", {}),
    ("IMTLG", {"scope": "row"}),
    ("MGDA", {}),
    ("MGDA", {"scope": "row"}),
    ("Mean", {}),
    ("NashMTL", {}),
    ("NashMTL", {"scope": "row"}),
    ("Sum", {}),
    ("UPGrad", {}),
    ("UPGrad", {"scope": "row"}),
    ("UncertaintyWeighting", {"num_tasks": TASKS}),
]
MAIN: list[tuple[str, dict[str, Any]]] = [
    ("GradientAdjustment", {"gamma": 0.3, "scope": "table"}),
    ("GradientAdjustment", {"gamma": 0.3, "scope": "row"}),
    ("MetaBalance", {}),
    ("PMTRec", {"alpha": 1.2, "tau": 0.3}),
]
IN_LAW: list[tuple[str, dict[str, Any]]] = [
    ("GradVac", {}),
    ("PCGrad", {}),
    ("PCGrad", {"scope": "row"}),
    ("RLW", {}),
]
BY_POSITION = {"Constant", "FromTorchJD"}  # tried below: their arguments have an order, or decide


def ids(rules: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [" ".join([name, *map(str, kwargs.values())]) for name, kwargs in rules]


def make(name: str, kwargs: dict[str, Any]) -> Balancer:
    rule: Balancer = getattr(balancing, name)(**kwargs)
    return rule


def permuted(given: TaskGradients, order: list[int]) -> TaskGradients:
    return replace(
        given,
        losses=given.losses[order],
        rows={n: RowGradients(r.ids, r.grads[order]) for n, r in given.rows.items()},
        dense={name: grads[order] for name, grads in given.dense.items()},
    )


def run(rule: Balancer, order: list[int], steps: int = 4) -> Tensor:
    """The updates of some steps, one an epoch, as one vector."""
    found = []
    for epoch in range(1, steps + 1):
        given = permuted(task_gradients(seed=epoch, tasks=TASKS), order)
        update = rule.update(given, epoch=epoch)
        with torch.no_grad():
            for parameter in rule.parameters():
                parameter -= 0.1 * parameter.grad
        found += [grad.flatten() for grad in (*update.rows.values(), *update.dense.values())]
    return torch.cat(found)


@pytest.mark.parametrize(("name", "kwargs"), SYMMETRIC, ids=ids(SYMMETRIC))
def test_no_order_of_tasks_matters(name: str, kwargs: dict[str, Any]) -> None:
    want = run(make(name, kwargs), [0, 1, 2, 3])
    for order in permutations(range(TASKS)):
        found = run(make(name, kwargs), list(order))
        torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "kwargs"), MAIN, ids=ids(MAIN))
def test_the_order_of_auxiliary_tasks_does_not_matter(name: str, kwargs: dict[str, Any]) -> None:
    want = run(make(name, kwargs), [0, 1, 2, 3])
    for order in permutations(range(1, TASKS)):
        found = run(make(name, kwargs), [0, *order])
        torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(run(make(name, kwargs), [1, 0, 2, 3]), want, rtol=1e-2)


@pytest.mark.parametrize(("name", "kwargs"), IN_LAW, ids=ids(IN_LAW))
def test_the_order_of_tasks_does_not_matter_in_law(name: str, kwargs: dict[str, Any]) -> None:
    def sample(order: list[int], first: int) -> Tensor:
        seeds = range(first, first + 150)
        return torch.stack([run(make(name, {**kwargs, "seed": s}), order, 2) for s in seeds])

    want, found = sample([0, 1, 2, 3], 0), sample([0, 3, 1, 2], 1000)
    error = ((want.var(dim=0) + found.var(dim=0)) / len(want)).sqrt()
    assert float(error.max()) > 0  # it does draw
    assert ((want.mean(dim=0) - found.mean(dim=0)).abs() <= 5 * error + 1e-9).all()


@pytest.mark.parametrize(("name", "kwargs"), IN_LAW[:3], ids=ids(IN_LAW[:3]))
def test_two_tasks_leave_no_order_to_draw(name: str, kwargs: dict[str, Any]) -> None:
    given = task_gradients(seed=0, tasks=2)
    want = make(name, kwargs).update(given, epoch=1).rows["user"]
    for seed in range(5):
        rule = make(name, {**kwargs, "seed": seed})
        found = rule.update(permuted(given, [1, 0]), epoch=1).rows["user"]
        torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-12)


def test_weights_by_position_move_with_their_tasks() -> None:
    weights = [1.0, 0.25, 0.5, 2.0]
    want = run(balancing.Constant(weights), [0, 1, 2, 3])
    for order in permutations(range(TASKS)):
        rule = balancing.Constant([weights[task] for task in order])
        torch.testing.assert_close(run(rule, list(order)), want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["AlignedMTL", "ConFIG", "GradDrop", "IMTLG", "MGDA", "Sum"])
def test_symmetric_rules_of_torchjd_stay_symmetric(name: str) -> None:
    want = run(FromTorchJD(getattr(torchjd, name)()), [0, 1, 2, 3])
    found = run(FromTorchJD(getattr(torchjd, name)()), [0, 3, 1, 2])
    assert math.isfinite(float(want.norm()))
    torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-7)


def test_every_rule_is_here() -> None:
    tried = {name for name, _ in (*SYMMETRIC, *MAIN, *IN_LAW)} | BY_POSITION
    assert tried == set(balancing.__all__) - {"Balancer", "GramBalancer", "LossBalancer"}
