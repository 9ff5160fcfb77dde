import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prediction_bank import amount_columns, with_missing
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import calibration_error


def loop(pred: list[float], label: list[float], num_bins: int) -> float:
    """A row lies where the middle of the rows of its own prediction lies."""
    size, bins = len(pred), {}
    for s, y in zip(pred, label, strict=True):
        below, equal = sum(t < s for t in pred), sum(t == s for t in pred)
        place = (2 * below + equal) * num_bins // (2 * size)
        bins.setdefault(place, []).append((s, y))
    gaps = (abs(sum(s for s, _ in rows) - sum(y for _, y in rows)) for rows in bins.values())
    return sum(gaps) / size


@given(amount_columns(distinct=False), st.integers(1, 30))
def test_against_a_loop(columns: tuple[Tensor, Tensor], num_bins: int) -> None:
    pred, label = columns
    expected = loop(pred.tolist(), label.tolist(), num_bins)
    scale = float(torch.cat(columns).abs().max())
    value = calibration_error(pred, label, num_bins)
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-13 * scale)
    order = torch.arange(pred.numel()).flip(0)
    again = calibration_error(*with_missing(pred[order], label[order]), num_bins)
    assert again == pytest.approx(value, rel=1e-9, abs=1e-13 * scale)


def test_a_constant_is_off_by_the_distance_of_the_means() -> None:
    label = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0])
    assert calibration_error(torch.full((5,), 0.5), label) == pytest.approx(0.1, rel=1e-12)


def test_perfect_probabilities_are_off_by_their_standard_error() -> None:
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(200_000, generator=generator, dtype=torch.double)
    label = (torch.rand(200_000, generator=generator) < pred).double()
    assert calibration_error(pred, label) < 0.006
    assert calibration_error(pred.sqrt(), label) == pytest.approx(2 / 3 - 1 / 2, abs=0.005)


def test_a_shift_of_amounts_is_the_error() -> None:
    label = torch.arange(100.0)
    assert calibration_error(label + 3, label, 10) == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize("num_bins", [0, -1])
def test_no_bins(num_bins: int) -> None:
    with pytest.raises(InputError, match=rf"'num_bins' needs to be positive \(got {num_bins}\)"):
        calibration_error(torch.rand(2), torch.ones(2), num_bins)
