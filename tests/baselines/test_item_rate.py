import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import Constant, ItemRate

TARGETS = {"click": "binary", "amount": "continuous"}
NAN = math.nan
ROWS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from([0.0, 1.0, NAN]),
        st.floats(-1e6, 1e6, width=32) | st.just(NAN),
    ),
    min_size=1,
    max_size=30,
)


@given(ROWS, st.sampled_from([1e-6, 0.5, 10.0, 1e9]))
def test_a_loop_over_items(rows: list[tuple[int, float, float]], smoothing: float) -> None:
    rows = [*rows, (0, 1.0, 3.0)]  # no target is without any label
    item = torch.tensor([row[0] for row in rows])
    label = torch.tensor([row[1:] for row in rows], dtype=torch.double)
    found = ItemRate(item, label, TARGETS, num_items=6, smoothing=smoothing)
    predicted = found.predict(torch.arange(6))
    for column, target in enumerate(TARGETS):
        known = [(row[0], row[1 + column]) for row in rows if not math.isnan(row[1 + column])]
        mean = math.fsum(value for _, value in known) / len(known)
        size = max(abs(value) for _, value in known)
        for one in range(6):
            own = [value for what, value in known if what == one]
            expected = (smoothing * mean + math.fsum(own)) / (smoothing + len(own))
            assert float(predicted[target][one]) == pytest.approx(
                expected, rel=1e-9, abs=1e-9 * size
            )


def test_much_smoothing_is_a_constant_and_little_the_item_s_mean() -> None:
    item = torch.tensor([2, 2, 0, 2])
    label = torch.tensor([[1.0, 3.0], [0.0, NAN], [0.0, 9.0], [NAN, 0.0]])
    constant = Constant(label, TARGETS).predict(4)
    flat = ItemRate(item, label, TARGETS, 3, smoothing=1e15).predict(item)
    own = ItemRate(item, label, TARGETS, 3, smoothing=1e-12).predict(item)
    for target, values in constant.items():
        assert torch.allclose(flat[target], values)
    assert own["click"].tolist() == pytest.approx([0.5, 0.5, 0.0, 0.5])
    assert own["amount"].tolist() == pytest.approx([1.5, 1.5, 9.0, 1.5])


@pytest.mark.parametrize(
    ("item", "label", "smoothing", "message"),
    [
        ([0], [[1.0]], 0.0, r"'smoothing' needs to be positive in 'ItemRate' \(got 0.0\)"),
        ([0], [[1.0]], NAN, "'smoothing' needs to be positive"),
        ([0, 1], [[1.0]], 1.0, r"one id per row of 'label' .*got \[2\] and 1 rows"),
        ([3], [[1.0]], 1.0, r"ids in 0..2 in 'ItemRate' \(got 3..3\)"),
        ([-1], [[1.0]], 1.0, r"got -1..-1"),
        ([0], [[0.5]], 1.0, "'click' need to be 0 or 1"),
    ],
)
def test_bad_input(
    item: list[int], label: list[list[float]], smoothing: float, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ItemRate(torch.tensor(item), torch.tensor(label), {"click": "binary"}, 3, smoothing)


def test_an_item_that_is_not_there_is_refused() -> None:
    rate = ItemRate(torch.tensor([0]), torch.ones(1, 1), {"click": "binary"}, num_items=2)
    with pytest.raises(InputError, match=r"got 0..2"):
        rate.predict(torch.tensor([0, 2]))
    assert rate.predict(torch.empty(0, dtype=torch.long))["click"].shape == (0,)
