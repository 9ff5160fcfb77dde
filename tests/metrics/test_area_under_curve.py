import math

import pytest
import torch
from hypothesis import given
from prediction_bank import binary_columns
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import auc


def every_pair(pred: Tensor, label: Tensor) -> float:
    wins, pairs = 0.0, 0
    for s, y in zip(pred.tolist(), label.tolist(), strict=True):
        for t, z in zip(pred.tolist(), label.tolist(), strict=True):
            if y == 1 and z == 0:
                wins += 1.0 if s > t else 0.5 if s == t else 0.0
                pairs += 1
    return wins / pairs


@given(binary_columns())
def test_against_every_pair(columns: tuple[Tensor, Tensor]) -> None:
    assert auc(*columns) == pytest.approx(every_pair(*columns), rel=1e-15, abs=0)


@given(binary_columns())
def test_only_the_order_counts(columns: tuple[Tensor, Tensor]) -> None:
    pred, label = columns
    rank = torch.unique(pred, return_inverse=True)[1]
    assert auc(rank.double().exp(), label) == auc(pred, label)
    assert auc(-pred, label) == pytest.approx(1 - auc(pred, label), abs=1e-15)
    order = torch.arange(pred.numel()).flip(0)
    assert auc(pred[order], label[order]) == auc(pred, label)


def test_against_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(5000, generator=generator).mul(200).round() / 200  # many ties
    label = (torch.rand(5000, generator=generator) < pred).long()
    assert auc(pred, label) == pytest.approx(float(binary_auroc(pred, label)), abs=1e-6)


def test_large_logits_do_not_become_equal() -> None:
    # A float32 sigmoid makes one of all four.
    assert auc(torch.tensor([40.0, 30.0, 20.0, 19.0]), torch.tensor([1, 0, 1, 0])) == 0.75


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("size", [1, 3])
def test_one_class_has_no_auc(value: float, size: int) -> None:
    label = torch.full((size,), value)
    with pytest.warns(UserWarning, match=rf"AUC is NaN: all {size} labels are {value:g}"):
        assert math.isnan(auc(torch.rand(size), label))


def test_the_warning_names_the_line_of_the_caller() -> None:
    with pytest.warns(UserWarning) as caught:
        auc(torch.rand(2), torch.ones(2))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [
        ([0.1, 0.2], [1.0], "same length"),
        ([[0.1, 0.2]], [[1.0, 0.0]], r"one dimension.*\(1, 2\)"),
        ([0.1, 0.2], [math.nan, math.nan], "at least one number in 'auc' .got 2 rows"),
        ([0.1, math.inf], [1.0, 0.0], "'pred' needs to be finite .*got 1 values of 2"),
        ([0.1, 0.2], [2.0, 0.0], r"0, 1 and NaN only in 'auc' \(got 2\)"),
        ([], [], "got 0 rows"),
    ],
)
def test_bad_input(pred: list[float], label: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        auc(torch.tensor(pred), torch.tensor(label))


def test_predictions_of_unlabelled_rows_may_be_anything() -> None:
    pred, label = torch.tensor([0.1, math.nan, 0.3]), torch.tensor([0.0, math.nan, 1.0])
    assert auc(pred, label) == 1.0


def test_gradients_are_left_alone() -> None:
    assert auc(torch.rand(3, requires_grad=True), torch.tensor([True, False, True])) >= 0
