import math

import pytest
import torch
from hypothesis import given
from prediction_bank import amount_columns, with_missing
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import rmse


@given(amount_columns(distinct=False))
def test_against_a_loop(columns: tuple[Tensor, Tensor]) -> None:
    pairs = list(zip(*(column.tolist() for column in columns), strict=True))
    expected = math.sqrt(math.fsum((p - y) ** 2 for p, y in pairs) / len(pairs))
    assert rmse(*columns) == pytest.approx(expected, rel=1e-12, abs=0)
    assert rmse(*with_missing(*columns)) == rmse(*columns)


def test_float32_is_summed_in_float64() -> None:
    pred = torch.full((3_000_000,), 0.1)
    assert rmse(pred, torch.zeros_like(pred)) == pytest.approx(float(pred[0]), rel=1e-12)


def test_an_infinite_label_is_refused() -> None:
    with pytest.raises(InputError, match=r"finite numbers and NaN only in 'rmse' \(got inf\)"):
        rmse(torch.tensor([1.0]), torch.tensor([math.inf]))
