import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prediction_bank import amount_columns, with_missing
from torch import Tensor

from pyg_mtrec.metrics import normalized_gini


def area(label: list[float]) -> float:
    """Twice the area between the gain curve of rows in this order and the diagonal."""
    total, gains = sum(label), [0.0]
    for amount in label:
        gains.append(gains[-1] + amount / total)
    trapezoids = sum((a + b) / 2 for a, b in itertools.pairwise(gains)) / len(label)
    return 2 * trapezoids - 1


def every_order(pred: list[float], label: list[float]) -> float:
    """The mean over all orders that sort the predictions, over the best order's."""
    orders = [
        [label[row] for row in order]
        for order in itertools.permutations(range(len(pred)))
        if all(pred[a] >= pred[b] for a, b in itertools.pairwise(order))
    ]
    return math.fsum(map(area, orders)) / len(orders) / area(sorted(label, reverse=True))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=2, max_size=6),
    st.sampled_from([1e-10, 1.0, 1e10]),
)
@settings(max_examples=40)
def test_against_the_gain_curves_of_every_order(rows: list[tuple[int, int]], scale: float) -> None:
    pred, label = [float(p) for p, _ in rows], [scale * y for _, y in rows]
    label[0] = label[1] + scale
    value = normalized_gini(torch.tensor(pred), torch.tensor(label, dtype=torch.double))
    assert value == pytest.approx(every_order(pred, label), abs=1e-12)


def test_against_sums_over_rows_without_ties() -> None:
    # The published measure, which starts its curve at the first row: 1 / n apart.
    generator = torch.Generator().manual_seed(0)
    label = torch.rand(4000, generator=generator, dtype=torch.double).pow(8)
    pred = label + torch.rand(4000, generator=generator, dtype=torch.double)
    raw = []
    for by in (pred, label):
        share = label[by.argsort(descending=True)].cumsum(0) / label.sum()
        raw.append(2 * float(share.mean()) - 1)
    value = normalized_gini(pred, label)
    assert value == pytest.approx((raw[0] - 1 / 4000) / (raw[1] - 1 / 4000), rel=1e-10)
    assert value == pytest.approx(raw[0] / raw[1], abs=5e-4)


@given(amount_columns())
def test_closed_forms(columns: tuple[Tensor, Tensor]) -> None:
    pred, label = columns
    value = normalized_gini(pred, label)
    ranks = torch.unique(pred, return_inverse=True)[1].double()
    assert normalized_gini(label, label) == 1.0
    assert normalized_gini(-label, label) == pytest.approx(-1.0, rel=1e-9)
    assert normalized_gini(torch.zeros_like(label), label) == 0.0
    assert abs(value) <= 1 + 1e-9
    assert normalized_gini(ranks.exp(), label) == pytest.approx(value, abs=1e-12)
    assert normalized_gini(pred.flip(0), label.flip(0)) == pytest.approx(value, abs=1e-9)
    assert normalized_gini(pred, 3 * label) == pytest.approx(value, abs=1e-9)
    assert normalized_gini(*with_missing(pred, label)) == value
    shifted = label / label.abs().max() + 5
    assert normalized_gini(pred, shifted) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("size", [1, 5])
def test_equal_labels_have_no_order(size: int) -> None:
    with pytest.warns(UserWarning, match=rf"Gini index is NaN: all {size} labels are 0"):
        assert math.isnan(normalized_gini(torch.arange(float(size)), torch.zeros(size)))
