"""Losses of targets against loops over rows."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.tasks import Classification, Regression

NAN = float("nan")


def test_cross_entropy_is_the_mean_over_labelled_rows() -> None:
    logits = torch.tensor([0.3, -2.0, 100.0, -100.0, 1.0], dtype=torch.double)
    label = torch.tensor([1.0, 0.0, 0.0, 1.0, NAN])
    losses = []
    for z, y in zip(logits.tolist(), label.tolist(), strict=True):
        if not math.isnan(y):
            softplus = max(z, 0.0) + math.log1p(math.exp(-abs(z)))
            losses.append(softplus - y * z)
    found = Classification("click")(logits, label.double())
    assert found.item() == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@pytest.mark.parametrize("task", [Classification("a"), Regression("a", mean=2.0, std=3.0)])
def test_a_batch_without_labels_costs_zero_and_has_a_gradient(task: torch.nn.Module) -> None:
    prediction = torch.ones(3, requires_grad=True)
    loss = task(prediction, torch.full((3,), NAN))
    loss.backward()
    assert loss.item() == 0
    assert prediction.grad is not None
    assert prediction.grad.tolist() == [0, 0, 0]


def test_an_unlabelled_row_has_no_gradient() -> None:
    prediction = torch.tensor([0.5, 1e20], requires_grad=True)
    Regression("a")(prediction, torch.tensor([1.0, NAN])).backward()
    assert prediction.grad is not None
    assert prediction.grad.tolist() == [-1.0, 0.0]


@settings(max_examples=40)
@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=20),
    st.sampled_from(["none", "log1p"]),
    st.sampled_from(["mse", "huber"]),
)
def test_regression_is_standardised_on_its_labels(
    values: list[float], transform: str, loss: str
) -> None:
    label = torch.tensor([*values, NAN], dtype=torch.double)
    shown = [math.log1p(v) for v in values] if transform == "log1p" else values
    mean = sum(shown) / len(shown)
    std = math.sqrt(sum((v - mean) ** 2 for v in shown) / len(shown))
    if std <= 1e-6 * max(1.0, abs(mean)):
        return
    task = Regression.from_labels("a", label, transform, loss)  # type: ignore[arg-type]
    prediction = torch.linspace(-3, 3, len(values) + 1, dtype=torch.double)
    wanted = 0.0
    for z, v in zip(prediction.tolist(), shown, strict=False):
        error = abs(z - (v - mean) / std)
        square = error**2
        wanted += square if loss == "mse" else (square / 2 if error <= 1 else error - 0.5)
    assert task(prediction, label).item() == pytest.approx(wanted / len(values), rel=1e-7)
    # What stands for the labels themselves is predicted back as the labels
    standard = torch.tensor([(v - mean) / std for v in shown], dtype=torch.double)
    assert torch.allclose(
        task.predict(standard), label[:-1], rtol=1e-7, atol=1e-6 * max(1.0, max(values))
    )


def test_a_huge_mean_does_not_swallow_the_deviation() -> None:
    label = torch.tensor([1e9 + 64, 1e9 - 64], dtype=torch.float32)
    task = Regression.from_labels("time", label)
    assert task(torch.tensor([1.0, -1.0]), label).item() == pytest.approx(0, abs=1e-6)


def test_the_mean_predictor_costs_one() -> None:
    label = torch.tensor([1.0, 5.0, 9.0, 2.0])
    assert Regression.from_labels("a", label)(torch.zeros(4), label).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("label", "transform", "message"),
    [
        ([NAN, NAN], "none", "target 'minutes' needs finite training labels"),
        ([1.0, float("inf")], "none", "found an infinite one"),
        ([3.0, 3.0], "none", "the same training label 3 in all 2 rows"),
        ([1.0, -2.0], "log1p", r"labels of at least 0 for transform='log1p' \(found -2\)"),
        ([1.0, 2.0], "sqrt", "'transform' needs to be 'none' or 'log1p'"),
    ],
)
def test_labels_that_cannot_be_learned_get_one_line(
    label: list[float], transform: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Regression.from_labels("minutes", torch.tensor(label), transform)  # type: ignore[arg-type]


def test_statistics_travel_with_the_weights() -> None:
    saved = Regression("a", mean=7.0, std=2.0).state_dict()
    task = Regression("a")
    task.load_state_dict(saved)
    assert task.predict(torch.tensor([1.0])).item() == 9.0
