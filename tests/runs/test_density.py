import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pyg_mtrec.runs._density import (
    density,
    limits,
    number,
    rate_interval,
    rate_limits,
    squash,
    tail_unit,
    ticks,
)

RNG = np.random.default_rng(0)
SCALES = st.sampled_from([1e-10, 1e-3, 1.0, 1e10])


@pytest.mark.parametrize(
    "label",
    [
        RNG.normal(size=5000),
        RNG.uniform(size=5000),
        RNG.integers(1, 6, size=5000).astype(float),
        -RNG.exponential(size=5000),
        np.array([1.0, 1.0, 1.0, 5.0]),
        np.array([2.0]),
        np.zeros(10),
    ],
    ids=["normal", "uniform", "ratings", "left", "few", "one", "zeros"],
)
def test_a_linear_axis_shows_these(label: np.ndarray) -> None:
    assert tail_unit(label) is None


@pytest.mark.parametrize(
    "label",
    [
        RNG.exponential(size=5000),
        RNG.lognormal(2, 1.5, size=5000),
        RNG.lognormal(2, 1.5, size=5000) * (RNG.uniform(size=5000) < 0.02),
    ],
    ids=["exponential", "lognormal", "mostly zero"],
)
def test_heavy_tails_look_alike_in_every_unit(label: np.ndarray) -> None:
    unit = tail_unit(label)
    assert unit is not None
    median = np.median(label[label > 0])
    assert 10 <= median / unit < 100
    assert tail_unit(1000 * label) == pytest.approx(1000 * unit)
    assert np.allclose(squash(1000 * label, 1000 * unit), squash(label, unit))


def test_squash() -> None:
    assert squash(np.array([-9.0, 0.0, 99.0]), 1.0).tolist() == pytest.approx(
        [-math.log(10), 0.0, math.log(100)]
    )
    assert squash(np.array([-9.0, 5.0]), None).tolist() == [-9.0, 5.0]


@given(
    st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=30),
    SCALES,
    st.booleans(),
)
def test_every_row_is_in_its_cell(
    rows: list[tuple[int, int]], scale: float, squashed: bool
) -> None:
    x, y = (np.array(column, dtype=float) * scale for column in zip(*rows, strict=True))
    grid = density(x, y, squashed, 7)
    assert grid.rows.shape == (7, 7) and grid.rows.sum() == len(rows)
    assert grid.x[0] < x.min() and x.max() < grid.x[-1]
    expected = np.zeros((7, 7), dtype=int)
    for a, b in zip(x, y, strict=True):
        column = max(i for i in range(7) if grid.x[i] <= a)
        row = max(i for i in range(7) if grid.y[i] <= b)
        expected[row, column] += 1
    assert np.array_equal(grid.rows, expected)


def test_a_linear_axis_leaves_out_what_would_double_it() -> None:
    x = np.append(np.linspace(0, 1, 10_000), 50.0)
    low, high = limits(x, squashed=False)
    assert -0.1 < low < 0.01 and 0.99 < high < 1.1
    assert limits(x, squashed=True)[1] > 50
    grid = density(x, x, squashed=False, cells=5)
    assert grid.rows.sum() == 10_001  # at the end of the axis


@given(
    SCALES,
    st.floats(-3, 6),
    st.floats(0.01, 8),
)
def test_ticks_are_where_their_numbers_lie(unit: float, low: float, length: float) -> None:
    high = low + length
    shown = ticks(low, high, unit)
    places = list(shown)
    assert places == sorted(places)
    assert all(low <= place <= high for place in places)
    assert all(b - a >= 0.0999 * length for a, b in pairwise(places))
    for place, text in shown.items():
        value = float(text.replace(",", "").replace("\N{MINUS SIGN}", "-"))
        back = math.copysign(math.log1p(abs(value) / unit), value)
        assert back == pytest.approx(place, abs=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, math.log1p(2000), ["0", "10", "100", "1,000"]),  # 0 to 1 is too short
        (math.log1p(3), math.log1p(60), ["5", "10", "20", "50"]),
        (-math.log1p(50), math.log1p(50), ["−10", "0", "10"]),
        (math.log1p(1005), math.log1p(1035), ["1,010", "1,020", "1,030"]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[str]) -> None:
    assert list(ticks(low, high, 1.0).values()) == expected


def test_numbers() -> None:
    texts = [number(x) for x in (0.0, -0.001, 1e6, 1e-5, 2e9, 0.05)]
    assert texts == ["0", "−0.001", "1,000,000", "1e-05", "2e+09", "0.05"]


@given(st.integers(1, 500), st.floats(0, 1))
def test_intervals_of_rates_against_scipy(count: int, share: float) -> None:
    hits = round(share * count)
    low, high = rate_interval(np.array([hits / count]), np.array([float(count)]))
    expected = stats.binomtest(hits, count).proportion_ci(0.95, "wilson")
    assert low[0] == pytest.approx(expected.low, abs=1e-7)
    assert high[0] == pytest.approx(expected.high, abs=1e-7)
    assert high[0] > low[0]


def test_axes_of_rates() -> None:
    def axes(predicted: list[float], count: float) -> tuple[float, float, bool]:
        x = np.array(predicted)
        return rate_limits(x, *rate_interval(x, np.full_like(x, count)))

    start, end, logarithmic = axes([0.3, 0.9], 1e6)
    assert not logarithmic and 0.2 < start < 0.3 and 0.9 < end < 1.0
    start, end, logarithmic = axes([0.001, 0.01, 0.2], 1e4)
    assert logarithmic and 1e-4 < start < 1e-3 and 0.2 < end < 0.5
    assert not axes([0.01, 0.9], 1e4)[2] and not axes([0.0, 0.2], 1e4)[2]
    start, end, _ = axes([0.5], 1.0)
    assert start < 0.5 < end
