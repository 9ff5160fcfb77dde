import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import holm


def by_closure(p_values: list[float]) -> list[float]:
    """Closed testing: a hypothesis falls when Bonferroni rejects every set that contains it."""
    every = range(len(p_values))
    subsets = [s for size in every for s in itertools.combinations(every, size + 1)]
    return [
        max(min(1.0, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s)
        for i in every
    ]


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        # ascending 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, then not below 0.06
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        # 3 * 0.5 is capped, and what follows cannot be lower
        ([0.9, 0.5, 0.8], [1.0, 1.0, 1.0]),
        # equal ones: 3 * 0.02, and neither 2 * 0.02 nor 0.02 below it
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.0, 1.0], [0.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_worked_by_hand(p_values: list[float], expected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.floats(0.0, 1.0) | st.sampled_from([0.0, 0.01, 1.0]), max_size=6))
@settings(max_examples=50)
def test_against_closed_testing(p_values: list[float]) -> None:
    assert holm(p_values) == by_closure(p_values)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=10), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_order_does_not_matter(p_values: list[float], random: object) -> None:
    order = list(range(len(p_values)))
    random.shuffle(order)  # type: ignore[attr-defined]
    adjusted = holm(p_values)
    assert holm([p_values[i] for i in order]) == [adjusted[i] for i in order]


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_bad_input(p: float) -> None:
    with pytest.raises(InputError, match=r"'holm' \(got .* at position 1\)"):
        holm([0.5, p])
