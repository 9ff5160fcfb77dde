import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prediction_bank import amount_columns
from torch import Tensor

from pyg_mtrec.metrics import calibration_error, reliability_curve


@given(st.integers(1, 60), st.integers(1, 20))
def test_counts_differ_by_one_at_most(size: int, num_bins: int) -> None:
    pred = torch.randperm(size, generator=torch.Generator().manual_seed(size)).double()
    mean, _, count = reliability_curve(pred, pred, num_bins)
    assert count.numel() == min(size, num_bins) and int(count.sum()) == size
    assert int(count.max() - count.min()) <= 1
    # The bins are runs of the sorted predictions.
    runs = pred.sort().values.split(count.tolist())
    assert torch.equal(mean, torch.stack([run.mean() for run in runs]))


@given(amount_columns(distinct=False), st.integers(1, 20))
def test_the_weighted_distance_is_the_calibration_error(
    columns: tuple[Tensor, Tensor], num_bins: int
) -> None:
    x, y, count = reliability_curve(*columns, num_bins)
    assert bool((x.diff() > 0).all()) and bool((count > 0).all())
    total = sum(abs(a - b) * n for a, b, n in zip(*map(Tensor.tolist, (x, y, count)), strict=True))
    assert total / columns[0].numel() == pytest.approx(
        calibration_error(*columns, num_bins), rel=1e-9, abs=1e-30
    )


def test_equal_predictions_are_never_torn_apart() -> None:
    pred = torch.tensor([0.5] * 6 + [0.1, 0.9])
    x, y, count = reliability_curve(pred, torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 1]), 4)
    assert count.tolist() == [1, 6, 1]
    assert x.tolist() == pytest.approx([0.1, 0.5, 0.9])
    assert y.tolist() == pytest.approx([0.0, 1 / 6, 1.0])
