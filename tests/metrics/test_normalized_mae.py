import math

import numpy as np
import pytest
import torch
from hypothesis import given
from prediction_bank import amount_columns, with_missing
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import nmae, nrmse


@given(amount_columns())
def test_against_numpy(columns: tuple[Tensor, Tensor]) -> None:
    pred, label = (column.numpy() for column in columns)
    error = np.mean(np.abs(pred - label))
    assert nmae(*columns, "std") == pytest.approx(error / np.std(label), rel=1e-9)
    assert nmae(*columns, "range") == pytest.approx(error / np.ptp(label), rel=1e-9)
    if abs(label.sum()) > 0:
        assert nmae(*columns) == pytest.approx(error / abs(label.mean()), rel=1e-9)
        assert nmae(*with_missing(*columns)) == pytest.approx(nmae(*columns), rel=1e-12)


@given(amount_columns())
def test_never_above_the_nrmse_of_the_same_normaliser(columns: tuple[Tensor, Tensor]) -> None:
    for normalizer in ("std", "range"):
        assert nmae(*columns, normalizer) <= nrmse(*columns, normalizer) * (1 + 1e-12)


def test_the_default_is_the_mean() -> None:
    assert nmae(torch.zeros(3), torch.tensor([1.0, 2.0, 9.0])) == 1.0


@pytest.mark.parametrize(("label", "normalizer"), [(0.1, "std"), (7.0, "range"), (0.0, "mean")])
def test_a_normaliser_of_zero(label: float, normalizer: str) -> None:
    with pytest.warns(UserWarning, match=f"NMAE is NaN: the {normalizer} of the 7 labels is zero"):
        assert math.isnan(nmae(torch.rand(7), torch.full((7,), label), normalizer))  # type: ignore[arg-type]


def test_an_unknown_normaliser() -> None:
    with pytest.raises(InputError, match=r"'std', 'mean', 'range' \(got ''\)"):
        nmae(torch.ones(2), torch.tensor([1.0, 2.0]), "")  # type: ignore[arg-type]
