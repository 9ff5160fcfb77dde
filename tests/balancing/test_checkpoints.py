"""Every rule goes on from its checkpoint as if it had never stopped, bit for bit."""

import io
from typing import Any

import pytest
import torch
import torchjd.aggregation as torchjd
from gradient_bank import task_gradients
from torch import Tensor

from pyg_mtrec import balancing
from pyg_mtrec.balancing import Balancer
from pyg_mtrec.gradients import TaskGradients
from pyg_mtrec.runs import Checkpoint

# For three tasks; every public rule at least once.
RULES: list[tuple[str, dict[str, Any]]] = [
    ("AlignedMTL", {"scope": "table"}),
    ("AlignedMTL", {"scope": "row"}),
    ("CAGrad", {"scope": "table"}),
    ("CAGrad", {"scope": "row"}),
    ("Constant", {"weights": [1.0, 0.3, 0.1]}),
    ("DWA", {}),
    ("DWA", {"lower_bounds": [0.0, -8.0, 0.0]}),
    ("FromTorchJD", {"aggregator": "GradDrop"}),
    ("FromTorchJD", {"aggregator": "GradVac"}),
    ("FromTorchJD", {"aggregator": "MGDA"}),
    ("FromTorchJD", {"aggregator": "PCD"}),
    ("FromTorchJD", {"aggregator": "PCGrad"}),
    ("FromTorchJD", {"aggregator": "Random"}),
    ("GradDrop", {}),
    ("GradDrop", {"leak": [0.0, 0.2, 0.2]}),
    ("GradVac", {}),
    ("GradientAdjustment", {"gamma": 0.5, "scope": "table"}),
    ("GradientAdjustment", {"gamma": 0.5, "scope": "row"}),
    ("IMTLG", {"scope": "table"}),
    ("IMTLG", {"scope": "row"}),
    ("MGDA", {"scope": "table"}),
    ("MGDA", {"scope": "row"}),
    ("Mean", {}),
    ("MetaBalance", {}),
    ("NashMTL", {"scope": "table"}),
    ("NashMTL", {"scope": "row"}),
    ("PCGrad", {"scope": "table"}),
    ("PCGrad", {"scope": "row"}),
    ("PMTRec", {"alpha": 1.06, "tau": 0.3}),
    ("RLW", {}),
    ("Sum", {}),
    ("UPGrad", {"scope": "table"}),
    ("UPGrad", {"scope": "row"}),
    ("UncertaintyWeighting", {"num_tasks": 3, "regression": [True, False, False]}),
]
IDS = [" ".join([name, *map(str, kwargs.values())]) for name, kwargs in RULES]
ABSTRACT = {"Balancer", "GramBalancer", "LossBalancer"}
REMEMBER = {"DWA", "GradVac", "MetaBalance", "UncertaintyWeighting"}
DRAW = {"GradDrop", "GradVac", "PCGrad", "RLW"}
STEPS = 9


def make(name: str, kwargs: dict[str, Any]) -> Balancer:
    if name == "FromTorchJD":
        kwargs = {"aggregator": getattr(torchjd, kwargs["aggregator"])()}
    rule: Balancer = getattr(balancing, name)(**kwargs)
    return rule


def step(rule: Balancer, number: int, dtype: torch.dtype, like: int | None = None) -> list[Tensor]:
    """Takes a step and returns all that it decided; three steps are an epoch."""
    found = task_gradients(seed=number if like is None else like)
    for rows in found.rows.values():
        rows.grads = rows.grads.to(dtype)
    dense = {name: grads.to(dtype) for name, grads in found.dense.items()}
    given = TaskGradients(found.losses.to(dtype), found.rows, dense, found.own)
    update = rule.update(given, epoch=1 + number // 3)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter -= 0.1 * parameter.grad
    return [*update.rows.values(), *update.dense.values()]


def same(ours: list[list[Tensor]], theirs: list[list[Tensor]]) -> bool:
    pairs = [pair for a, b in zip(ours, theirs, strict=True) for pair in zip(a, b, strict=True)]
    return all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


def on_disk(state: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "kwargs"), RULES, ids=IDS)
def test_a_resumed_rule_is_the_rule(name: str, kwargs: dict[str, Any], dtype: torch.dtype) -> None:
    for cut in (0, 1, 5, 6):  # before the first step, within an epoch and between two
        whole, stopped, fresh = (make(name, kwargs) for _ in range(3))
        want = [step(whole, number, dtype) for number in range(STEPS)][cut:]
        for number in range(cut):
            step(stopped, number, dtype)
        state = on_disk(stopped.state_dict())
        fresh.load_state_dict(state)
        assert same([step(fresh, number, dtype) for number in range(cut, STEPS)], want)


@pytest.mark.parametrize(("name", "kwargs"), RULES, ids=IDS)
def test_saved_again_before_the_next_step(name: str, kwargs: dict[str, Any]) -> None:
    stopped, between, fresh = (make(name, kwargs) for _ in range(3))
    for number in range(5):
        step(stopped, number, torch.float64)
    between.load_state_dict(on_disk(stopped.state_dict()))
    fresh.load_state_dict(on_disk(between.state_dict()))
    want = [step(stopped, number, torch.float64) for number in range(5, STEPS)]
    assert same([step(fresh, number, torch.float64) for number in range(5, STEPS)], want)


@pytest.mark.parametrize(("name", "kwargs"), RULES, ids=IDS)
def test_what_the_run_directory_writes(name: str, kwargs: dict[str, Any], tmp_path: Any) -> None:
    rule, fresh = make(name, kwargs), make(name, kwargs)
    for number in range(4):
        step(rule, number, torch.float32)
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt")
    checkpoint.save({"balancer": rule.state_dict()})
    loaded = checkpoint.load()
    assert loaded is not None
    fresh.load_state_dict(loaded["balancer"])
    assert same([step(fresh, 4, torch.float32)], [step(rule, 4, torch.float32)])


@pytest.mark.parametrize(("name", "kwargs"), RULES, ids=IDS)
def test_the_state_holds_what_is_remembered(name: str, kwargs: dict[str, Any]) -> None:
    """Control: without the state, rules that remember or draw go on differently."""
    rule, fresh, other = (make(name, kwargs) for _ in range(3))
    for number in range(6):
        step(rule, number, torch.float64)
        step(other, number, torch.float64, like=50 + number)
    want = step(rule, 6, torch.float64)
    aggregator = kwargs.get("aggregator", name)
    if aggregator in REMEMBER | {"PCD"}:
        assert not same([step(other, 6, torch.float64)], [want])
    if aggregator in DRAW | REMEMBER | {"PCD", "Random"} and aggregator != "PCGrad":
        assert not same([step(fresh, 6, torch.float64)], [want])
    elif aggregator != "PCGrad":  # whose few orders may come out alike
        assert same([step(fresh, 6, torch.float64)], [want])


@pytest.mark.parametrize(("name", "kwargs"), RULES, ids=IDS)
def test_reset_starts_anew(name: str, kwargs: dict[str, Any]) -> None:
    rule = make(name, kwargs)
    want = [step(rule, number, torch.float64) for number in range(STEPS)]
    rule.reset()
    assert same([step(rule, number, torch.float64) for number in range(STEPS)], want)


def test_every_rule_is_here() -> None:
    assert {name for name, _ in RULES} == set(balancing.__all__) - ABSTRACT
