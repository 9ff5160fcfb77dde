"""Predictions and labels, reduced to what a plot of them shows."""

import math
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_Z = 1.959964  # 95 % of a normal distribution
_APART = 0.1  # of a squashed axis: what two ticks need between them


class Density(NamedTuple):
    r"""How many rows lie in each cell of a grid."""

    x: Floats  # [cells + 1], edges
    y: Floats  # [cells + 1]
    rows: NDArray[np.int64]  # [cells of y, cells of x]


def tail_unit(label: Floats) -> float | None:
    r"""Returns the amount up to which the axis of a heavy-tailed target is about linear.

    A target is heavy-tailed if its maximum lies several times as far from the median as its minimum
    and above the median amount. The unit is the power of ten a decade below that amount, so that
    the picture does not depend on what is counted in; :obj:`None` where a linear axis shows all.
    """
    low, middle, high = np.quantile(label, [0.0, 0.5, 1.0])
    amounts = np.abs(label[label != 0])
    if amounts.size == 0 or high - middle <= 4 * (middle - low):
        return None
    amount = float(np.median(amounts))
    return 10.0 ** (math.floor(math.log10(amount)) - 1) if high > 5 * amount else None


def squash(x: Floats, unit: float | None) -> Floats:
    r"""Returns ``log(1 + x / unit)``, mirrored at zero; ``x`` itself without a unit."""
    return x if unit is None else np.sign(x) * np.log1p(np.abs(x) / unit)


def limits(x: Floats, squashed: bool) -> tuple[float, float]:
    r"""Returns the ends of an axis; a linear one leaves out 2 in 1,000 if they would double it."""
    low, inner_low, inner_high, high = np.quantile(x, [0.0, 0.001, 0.999, 1.0]).tolist()
    if not squashed and high - low > 2 * (inner_high - inner_low) > 0:
        low, high = inner_low, inner_high
    margin = 0.02 * (high - low) or abs(low) or 1.0  # an axis needs a length
    return low - margin, high + margin


def density(x: Floats, y: Floats, squashed: bool, cells: int) -> Density:
    r"""Counts rows in cells; what lies beyond the end of an axis counts there."""
    x_edges, y_edges = (np.linspace(*limits(values, squashed), cells + 1) for values in (x, y))
    x, y = np.clip(x, x_edges[0], x_edges[-1]), np.clip(y, y_edges[0], y_edges[-1])
    count, _, _ = np.histogram2d(x, y, bins=(x_edges, y_edges))
    return Density(x_edges, y_edges, count.T.astype(np.int64))


def ticks(low: float, high: float, unit: float) -> dict[float, str]:
    r"""Returns places on a squashed axis from ``low`` to ``high`` and what to write there.

    Powers of ten, or 1-2-5 steps where these are too few, or whatever is round; zero comes first,
    then what is far from it, and nothing that has no room.
    """
    start, end = (math.copysign(unit * math.expm1(abs(x)), x) for x in (low, high))
    top = math.ceil(math.log10(max(abs(start), abs(end), unit) / unit))
    for steps in ((1,), (1, 2, 5)):
        amounts = [step * unit * 10.0**k for k in range(top + 1) for step in steps]
        values = [0.0, *(sign * amount for amount in reversed(amounts) for sign in (1, -1))]
        inside = [value for value in values if start <= value <= end]
        if len(inside) >= 3:
            break
    else:
        inside = [
            float(v)
            for v in MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(start, end)
            if start <= v <= end
        ]
    shown: dict[float, str] = {}
    for value in inside:
        place = math.copysign(math.log1p(abs(value) / unit), value)
        if all(abs(place - other) >= _APART * (high - low) for other in shown):
            shown[place] = number(value)
    return dict(sorted(shown.items()))


def number(value: float) -> str:
    r"""Returns a number as it is written on an axis."""
    text = f"{value:,.7g}" if abs(value) < 1e7 else f"{value:g}"
    return text.replace("-", "\N{MINUS SIGN}") if abs(value) >= 1e-4 else text


def rate_interval(rate: Floats, count: Floats) -> tuple[Floats, Floats]:
    r"""Returns Wilson's 95 % interval of a rate, which has a length at 0 and 1 too."""
    weight = _Z**2 / count
    center = (rate + weight / 2) / (1 + weight)
    half = _Z / (1 + weight) * np.sqrt(rate * (1 - rate) / count + weight / (4 * count))
    return np.clip(center - half, 0.0, 1.0), np.clip(center + half, 0.0, 1.0)


def rate_limits(predicted: Floats, low: Floats, high: Floats) -> tuple[float, float, bool]:
    r"""Returns the ends that both axes of a reliability diagram share, and whether they are logs.

    They are for rare events: no bin predicts a half, and predictions span a decade and a half.
    """
    least, most = float(predicted.min()), float(max(predicted.max(), high.max()))
    if 0 < 30 * least < float(predicted.max()) < 0.5:
        least = min(least, float(low[low > 0].min(initial=1.0)))
        return least / 1.5, min(1.0, 1.5 * most), True
    least = min(least, float(low.min()))
    margin = 0.04 * (most - least)  # of an interval, which has a length
    return least - margin, most + margin, False
