"""The images of predictions: do rates come true, and how far are amounts off."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._prediction_metrics import r2
from pyg_mtrec.metrics.reliability import reliability_curve
from pyg_mtrec.runs._density import (
    Floats,
    density,
    number,
    rate_interval,
    rate_limits,
    squash,
    tail_unit,
    ticks,
)
from pyg_mtrec.runs._plots import _COLORS, _GREY, _INK, _clean, _png

_COLUMNS = 3
_CELLS = 48
_BLUES = LinearSegmentedColormap.from_list("blues", ["#E1EEF7", "#5FA8D3", _COLORS[0]])


def reliability(curves: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> bytes:
    r"""Draws observed rates over predicted ones, with what chance alone would move them by.

    Args:
        curves: Target to mean prediction, observed rate and number of rows of its bins.

    Returns:
        The image as PNG.
    """
    figure, panels = _panels(len(curves), "binary")
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        x, y, count = (_floats(values) for values in curve)
        low, high = rate_interval(y, count)
        start, end, logarithmic = rate_limits(x, low, high)
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log")
        axes.plot(
            [start, end], [start, end], "--", color=_GREY, linewidth=1.5, label="as predicted"
        )
        bottom = np.maximum(low, start)  # a rate of zero has no place on a logarithmic axis
        axes.vlines(
            x, bottom, high, color=_COLORS[0], alpha=0.3, linewidth=5, label="95 % interval"
        )
        shown = np.where(y >= start, y, np.nan)
        axes.plot(x, shown, "o-", color=_COLORS[0], linewidth=1.5, markersize=5)
        axes.set_xlim(start, end)
        axes.set_ylim(start, end)
        axes.set_box_aspect(1)
        for axis in (axes.xaxis, axes.yaxis):
            _rate_ticks(axis, start, end, logarithmic)
        error = float(np.abs(x - y) @ count / count.sum())
        axes.set_title(f"{name}: calibration error {error:.4f}", loc="left", color=_INK)
        bins = f"{len(x)} bin{'s' if len(x) > 1 else ''}"
        axes.set_xlabel(f"predicted rate ({bins}, {count.sum():,.0f} rows)", color=_INK)
        axes.set_ylabel("observed rate", color=_INK)
        axes.legend(loc="upper left", frameon=False, fontsize="small", labelcolor=_INK)
        _clean(axes, grid="both")
    return _png(figure)


def predicted(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> bytes:
    r"""Draws how many rows have which label under which prediction, and the mean label.

    Heavy-tailed targets have axes that grow with the logarithm.

    Args:
        pairs: Target to predictions and labels, NaN where unlabelled.

    Returns:
        The image as PNG.
    """
    figure, panels = _panels(len(pairs), "continuous")
    for axes, (name, (pred, label)) in zip(panels, pairs.items(), strict=True):
        mean_x, mean_y, _ = (_floats(values) for values in reliability_curve(pred, label, 20))
        known = ~label.isnan()
        x, y = _floats(pred[known]), _floats(label[known])
        unit = tail_unit(y)
        grid = density(squash(x, unit), squash(y, unit), unit is not None, _CELLS)
        mesh = axes.pcolormesh(
            grid.x,
            grid.y,
            np.ma.masked_equal(grid.rows, 0),
            cmap=_BLUES,
            norm=LogNorm(1, max(2, int(grid.rows.max()))),
            rasterized=True,
        )
        _color_bar(figure, axes, mesh)
        ends = [min(grid.x[0], grid.y[0]), max(grid.x[-1], grid.y[-1])]
        axes.plot(ends, ends, "--", color=_INK, linewidth=1.2, label="as predicted")
        axes.plot(
            squash(mean_x, unit),
            squash(mean_y, unit),
            "o-",
            color=_COLORS[1],
            markeredgecolor="white",
            markeredgewidth=0.8,
            markersize=6,
            linewidth=2,
            label="mean label",
        )
        axes.set_xlim(grid.x[0], grid.x[-1])
        axes.set_ylim(grid.y[0], grid.y[-1])
        axes.set_box_aspect(1)
        if unit is not None:
            for axis, edges in ((axes.xaxis, grid.x), (axes.yaxis, grid.y)):
                shown = ticks(float(edges[0]), float(edges[-1]), unit)
                axis.set_ticks(list(shown), list(shown.values()))
        share = r2(pred[known].double(), label[known].double())
        title = name if share != share else f"{name}: R² {number(round(share, 3))}"
        axes.set_title(title, loc="left", color=_INK)
        axes.set_xlabel(f"predicted {name}", color=_INK)
        axes.set_ylabel(f"true {name}", color=_INK)
        axes.legend(loc="upper left", frameon=False, fontsize="small", labelcolor=_INK)
        _clean(axes, grid="both")
    return _png(figure)


def _panels(number: int, kind: str) -> tuple[Figure, list[Axes]]:
    if number == 0:
        raise InputError(f"no {kind} target has predictions: there is nothing to draw")
    columns = min(number, _COLUMNS)
    rows = -(-number // columns)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(5.2 * columns, 4.8 * rows), layout=layout)
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for empty in panels[number:]:
        empty.set_axis_off()
    return figure, panels[:number]


def _color_bar(figure: Figure, axes: Axes, mesh: QuadMesh) -> None:
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=25, pad=0.02)
    shown = [10**k for k in range(10) if 10**k <= mesh.norm.vmax]
    bar.set_ticks(shown, labels=[f"{count:,}" for count in shown])
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_INK, labelsize="small", length=0)
    bar.ax.set_title("rows", color=_INK, fontsize="small", loc="left")


def _rate_ticks(axis: Axis, start: float, end: float, logarithmic: bool) -> None:
    if not logarithmic:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        return
    powers = 10.0 ** np.arange(-12, 1)
    shown = [float(p) for p in powers if start <= p <= end]
    if len(shown) < 3:
        shown = [float(s * p) for p in powers for s in (1, 2, 5) if start <= s * p <= end]
    axis.set_major_locator(FixedLocator(shown))
    axis.set_major_formatter(lambda rate, _: f"{rate:g}")
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _floats(values: Tensor) -> Floats:
    return values.detach().cpu().double().numpy()
