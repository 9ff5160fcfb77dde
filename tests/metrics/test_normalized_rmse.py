import math

import numpy as np
import pytest
import torch
from hypothesis import given
from prediction_bank import amount_columns, with_missing
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import nrmse


@given(amount_columns())
def test_against_numpy(columns: tuple[Tensor, Tensor]) -> None:
    pred, label = (column.numpy() for column in columns)
    error = np.sqrt(np.mean((pred - label) ** 2))
    assert nrmse(*columns) == pytest.approx(error / np.std(label), rel=1e-9)
    assert nrmse(*columns, "range") == pytest.approx(error / np.ptp(label), rel=1e-9)
    assert nrmse(*with_missing(*columns)) == pytest.approx(nrmse(*columns), rel=1e-12)
    if abs(label.sum()) > 0:
        mean = abs(label.mean())
        assert nrmse(*columns, "mean") == pytest.approx(error / mean, rel=1e-9)


@given(amount_columns())
def test_the_mean_costs_one_standard_deviation(columns: tuple[Tensor, Tensor]) -> None:
    _, label = columns
    assert nrmse(label.mean().expand_as(label), label) == pytest.approx(1.0, rel=1e-9)


def test_a_change_of_unit_changes_nothing() -> None:
    pred, label = torch.tensor([[1.0, 2.0, 4.0], [0.0, 3.0, 9.0]]).double()
    for normalizer in ("std", "mean", "range"):
        value = nrmse(pred, label, normalizer)
        assert nrmse(1e9 * pred, 1e9 * label, normalizer) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("label", "normalizer"), [(0.1, "std"), (7.0, "range"), (0.0, "mean")])
def test_a_normaliser_of_zero(label: float, normalizer: str) -> None:
    labels = torch.full((7,), label)  # in float64 the mean of 0.1s is not 0.1
    with pytest.warns(UserWarning, match=f"NRMSE is NaN: the {normalizer} of the 7 labels is zero"):
        assert math.isnan(nrmse(torch.rand(7), labels, normalizer))  # type: ignore[arg-type]


def test_labels_below_zero_have_a_positive_error() -> None:
    assert nrmse(torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -2.0]), "mean") > 0


def test_an_unknown_normaliser() -> None:
    with pytest.raises(InputError, match=r"'std', 'mean', 'range' \(got 'iqr'\)"):
        nrmse(torch.ones(2), torch.tensor([1.0, 2.0]), "iqr")  # type: ignore[arg-type]
