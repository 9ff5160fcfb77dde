import math

import pytest
import torch
from hypothesis import given
from prediction_bank import amount_columns, with_missing
from scipy import stats
from torch import Tensor

from pyg_mtrec.metrics import spearman


@given(amount_columns())
def test_against_scipy(columns: tuple[Tensor, Tensor]) -> None:
    pred, label = columns
    pred[0] = pred.max() + pred.abs().max() + 1  # not constant
    expected = float(stats.spearmanr(pred.numpy(), label.numpy()).statistic)
    assert spearman(pred, label) == pytest.approx(expected, abs=1e-12)
    assert spearman(*with_missing(pred, label)) == spearman(pred, label)


@given(amount_columns())
def test_only_the_order_counts(columns: tuple[Tensor, Tensor]) -> None:
    pred, label = columns
    pred[0] = pred.max() + pred.abs().max() + 1
    ranks = [torch.unique(x, return_inverse=True)[1].double() for x in columns]
    assert spearman(ranks[0].exp(), ranks[1].exp()) == spearman(pred, label)
    assert spearman(-pred, label) == -spearman(pred, label)
    assert spearman(label, label) == 1.0


def test_more_ties_than_32_bits_sum() -> None:
    values = torch.cat([torch.zeros(70_000), torch.arange(1.0, 1001.0)])
    other = torch.cat([torch.arange(70_000.0) % 7, torch.arange(1.0, 1001.0)])
    expected = float(stats.spearmanr(values.numpy(), other.numpy()).statistic)
    assert spearman(values, other) == pytest.approx(expected, abs=1e-12)


def test_zeros_of_either_sign_tie() -> None:
    assert spearman(torch.tensor([0.0, -0.0, 1.0]), torch.tensor([1.0, 2.0, 3.0])) == (
        spearman(torch.tensor([-0.0, 0.0, 1.0]), torch.tensor([1.0, 2.0, 3.0]))
    )


def test_a_constant_prediction_is_zero() -> None:
    with pytest.warns(UserWarning, match=r"set to 0: all 3 predictions are 0.1"):
        assert spearman(torch.full((3,), 0.1), torch.tensor([1.0, 2.0, 3.0])) == 0.0


@pytest.mark.parametrize("size", [1, 4])
def test_equal_labels_have_no_order(size: int) -> None:
    with pytest.warns(UserWarning, match=rf"is NaN: all {size} labels are 2.5"):
        assert math.isnan(spearman(torch.arange(float(size)), torch.full((size,), 2.5)))
