import math

import pytest
import torch
from gradient_bank import Training
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torchjd.scalarization import UW

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Sum, UncertaintyWeighting

LOSSES = st.lists(st.sampled_from([0.0, 1e-10, 1e-3, 0.7, 3.0, 1e10]), min_size=1, max_size=5)


@given(LOSSES, st.sampled_from([-3.0, -0.5, 0.0, 2.0]), st.sampled_from([0.0, -8.0, 0.5]))
@pytest.mark.parametrize("form", [None, True, False])
def test_weights_and_gradient_are_those_of_the_objective(
    form: bool | None, losses: list[float], start: float, bound: float
) -> None:
    tasks = len(losses)
    rule = UncertaintyWeighting(
        tasks, None if form is None else [form] * tasks, [bound] * tasks, init=start
    )
    given_ = torch.tensor(losses, dtype=torch.float64)
    weights = rule.loss_weights(given_, epoch=1)
    s = torch.full((tasks,), start, dtype=torch.float64, requires_grad=True)
    leaf = given_.clone().requires_grad_()
    factor = 1.0 if form is False else 0.5
    objective = (factor * (-s).exp() * (leaf - bound) + s / 2).sum()
    d_loss, d_s = torch.autograd.grad(objective, [leaf, s])
    assert not weights.requires_grad
    torch.testing.assert_close(weights, d_loss, rtol=1e-12, atol=0)
    assert rule.log_variance.grad is not None
    torch.testing.assert_close(rule.log_variance.grad.double(), d_s, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("regression", [[True, True, True], [False, False, False], [True, False]])
def test_comes_to_rest_where_every_weight_is_half_the_inverse_loss(regression: list[bool]) -> None:
    losses = torch.tensor([0.02, 1.0, 7.0])[: len(regression)]
    rule = UncertaintyWeighting(len(regression), regression)
    optimizer = torch.optim.Adam(rule.parameters(), lr=0.05)
    for _ in range(500):
        weights = rule.loss_weights(losses, epoch=1)
        optimizer.step()
    torch.testing.assert_close(weights, 1 / (2 * losses), rtol=1e-3, atol=0)


def test_forms_differ_in_their_start() -> None:
    both = UncertaintyWeighting(2, [True, False]).loss_weights(torch.ones(2), epoch=1)
    assert both.tolist() == [0.5, 1.0]


def test_a_run_is_that_of_torchjd() -> None:
    theirs, ours = UW(3), UncertaintyWeighting(3)
    x, y = (torch.tensor([1.0, -2.0, 0.5]) for _ in range(2))
    x.requires_grad_()
    their = torch.optim.Adam([x, *theirs.parameters()], lr=0.05)
    our = torch.optim.Adam(ours.parameters(), lr=0.05)
    y.requires_grad_()
    model = torch.optim.Adam([y], lr=0.05)
    scale = torch.tensor([1.0, 10.0, 0.1])
    for _ in range(50):
        their.zero_grad()
        theirs((x - 3).square() * scale).backward()
        their.step()
        losses = (y - 3).square() * scale
        weights = ours.loss_weights(losses.detach(), epoch=1)
        model.zero_grad()
        (weights * losses).sum().backward()
        model.step()
        our.step()
    torch.testing.assert_close(y, x, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.log_variance, theirs.log_var, rtol=1e-5, atol=1e-6)


def test_bounds_keep_a_negative_loss_from_running_away() -> None:
    losses = torch.tensor([0.5, -3.9])
    free, bound = (UncertaintyWeighting(2, lower_bounds=b) for b in (None, [0.0, -8.0]))
    for rule in (free, bound):
        optimizer = torch.optim.SGD(rule.parameters(), lr=0.1)
        for _ in range(200):
            weights = rule.loss_weights(losses, epoch=1)
            optimizer.step()
        assert (weights[1] > 1) == (rule is free)
    torch.testing.assert_close(weights, 1 / (2 * torch.tensor([0.5, 4.1])), rtol=1e-3, atol=0)


def test_steps_of_training() -> None:
    rule = UncertaintyWeighting(3, lower_bounds=[0.0, -8.0, 0.0])
    training, plain = Training(rule), Training(Sum())
    optimizer = torch.optim.SGD([rule.log_variance], lr=0.1)  # the tables stay as they are
    start = rule.log_variance.detach().clone()
    for batches in training.loader:
        weights = 0.5 * (-rule.log_variance.detach().double()).exp()
        losses = training.step(batches, epoch=1)
        optimizer.step()
        gradients = plain.collector.collect(batches, plain.adj_dict)
        torch.testing.assert_close(losses, gradients.losses)
        for name, rows in gradients.rows.items():
            want = torch.einsum("t,trd->rd", weights, rows.grads)
            found = training.embedding.weight_dict[name].grad
            torch.testing.assert_close(found[rows.ids], want, rtol=1e-6, atol=1e-12)
    assert (rule.log_variance != start).all()
    rule.reset()
    assert torch.equal(rule.log_variance, start)


def test_a_step_never_waits() -> None:
    rule = UncertaintyWeighting(2, [True, False], [0.0, -1.0])
    with NoSync():
        rule.loss_weights(torch.ones(2), epoch=1)
    assert list(rule.state_dict()) == ["log_variance"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_that_of_the_losses(dtype: torch.dtype) -> None:
    rule = UncertaintyWeighting(2)
    assert rule.loss_weights(torch.ones(2, dtype=dtype), epoch=1).dtype == dtype
    assert rule.log_variance.grad is not None and rule.log_variance.grad.dtype == torch.float32


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_tasks": 0}, r"'num_tasks' needs to be at least 1 .* \(got 0\)"),
        ({"num_tasks": 1, "init": math.nan}, "'init' needs to be finite"),
        ({"num_tasks": 2, "regression": [True]}, r"'regression' .* \(got 1 for 2 tasks\)"),
        ({"num_tasks": 1, "lower_bounds": [0.0, 1.0]}, r"'lower_bounds' .* \(got 2 for 1 tasks\)"),
        ({"num_tasks": 1, "lower_bounds": [-math.inf]}, "'lower_bounds' need to be finite"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        UncertaintyWeighting(**kwargs)


def test_other_tasks_than_it_was_made_for() -> None:
    rule = UncertaintyWeighting(2)
    with pytest.raises(InputError, match=r"made for 2 tasks \(got 3 losses\)"):
        rule.loss_weights(torch.ones(3), epoch=1)
    assert repr(rule).startswith("UncertaintyWeighting(\n  num_tasks=2")
