import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prediction_bank import with_missing

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import log_loss


@given(
    st.lists(st.tuples(st.floats(1e-7, 1 - 1e-7), st.booleans()), min_size=1, max_size=20),
)
def test_against_a_loop(rows: list[tuple[float, bool]]) -> None:
    pred = torch.tensor([p for p, _ in rows], dtype=torch.double)
    label = torch.tensor([float(y) for _, y in rows])
    expected = math.fsum(-math.log(p if y else 1 - p) for p, y in rows) / len(rows)
    assert log_loss(pred, label) == pytest.approx(expected, rel=1e-9)


def test_against_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    pred = torch.rand(1000, generator=generator, dtype=torch.double)
    label = torch.randint(2, (1000,), generator=generator).double()
    expected = float(torch.nn.functional.binary_cross_entropy(pred, label))
    assert log_loss(pred, label) == pytest.approx(expected, rel=1e-12)


def test_the_rate_is_the_best_constant() -> None:
    label = torch.tensor([1.0, 0.0, 0.0, 0.0])
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert log_loss(torch.full((4,), 0.25), label) == pytest.approx(entropy, rel=1e-12)


def test_certain_and_wrong_costs_something_finite() -> None:
    wrong = log_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]))
    assert wrong == pytest.approx(-math.log(1e-7), rel=1e-8)
    right = log_loss(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0]))
    assert right == pytest.approx(1e-7, rel=1e-6)


def test_unlabelled_rows_are_left_out() -> None:
    pred, label = torch.tensor([0.2, 0.9]), torch.tensor([0.0, 1.0])
    assert log_loss(*with_missing(pred, label)) == log_loss(pred, label)


def test_logits_are_refused() -> None:
    with pytest.raises(InputError, match=r"between 0 and 1 \(got -2 to 0.5\): apply a sigmoid"):
        log_loss(torch.tensor([-2.0, 0.5]), torch.tensor([0.0, 1.0]))
