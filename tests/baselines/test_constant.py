import math

import pytest
import torch
from hypothesis import given
from prediction_bank import amount_columns, with_missing
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import Constant
from pyg_mtrec.metrics import log_loss, rmse

TARGETS = {"click": "binary", "amount": "continuous"}
NAN = math.nan


@given(amount_columns(distinct=False))
def test_the_mean_of_what_is_labelled(columns: tuple[Tensor, Tensor]) -> None:
    _, label = with_missing(*columns)
    predicted = Constant(label.view(-1, 1), {"amount": "continuous"}).predict(3)["amount"]
    expected = math.fsum(columns[1].tolist()) / columns[1].numel()
    size = float(label.nan_to_num().abs().max())
    assert predicted.tolist() == pytest.approx([expected] * 3, rel=1e-12, abs=1e-15 * size)


def test_no_other_constant_is_better() -> None:
    label = torch.tensor([[1.0, 3.0], [0.0, NAN], [0.0, 9.0], [NAN, 0.0]])
    predictions = Constant(label, TARGETS).predict(4)
    assert float(predictions["click"][0]) == pytest.approx(1 / 3)
    for shift in (-0.05, 0.05):
        assert log_loss(predictions["click"] + shift, label[:, 0]) > log_loss(
            predictions["click"], label[:, 0]
        )
        assert rmse(predictions["amount"] + shift, label[:, 1]) > rmse(
            predictions["amount"], label[:, 1]
        )


def test_no_rows_to_predict() -> None:
    assert Constant(torch.ones(1, 2), TARGETS).predict(0)["click"].shape == (0,)


@pytest.mark.parametrize(
    ("label", "targets", "message"),
    [
        ([[1.0, NAN], [0.0, NAN]], TARGETS, "target 'amount' has no label among 2 rows"),
        ([[1.0, 2.0], [2.0, 2.0]], TARGETS, "'click' need to be 0 or 1 or NaN .*got 2 in row 1"),
        ([[1.0, 2.0], [0.0, -math.inf]], TARGETS, "'amount' need to be finite .*got -inf in row 1"),
        ([[1.0]], TARGETS, r"one column per target in 'Constant' \(got \(1, 1\) and 2 targets\)"),
        ([1.0, 0.0], {"click": "binary"}, r"one column per target .*got \(2,\) and 1 targets"),
        ([[1.0]], {"click": "count"}, "kind of target 'click' needs to be .*got 'count'"),
        ([[]], {}, "one column per target"),
    ],
)
def test_bad_labels(label: list[list[float]], targets: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Constant(torch.tensor(label), targets)
