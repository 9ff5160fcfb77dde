"""The images of a run, drawn without a display and without pyplot's global state."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._direction import is_smaller_better
from pyg_mtrec.runs._labels import arm_label, is_ln2, metric_label

# Okabe and Ito's palette: told apart with every common colour vision
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#9A9A9A"
_INK = "#333333"
_YARDSTICKS = ("popularity", "item-knn", "ease", "oracle", "constant")


def curve(rows: Sequence[Mapping[str, Any]], metric: str | None = None) -> bytes:
    r"""Draws the validation metric above the losses of the tasks.

    Args:
        rows: The history, with columns ``epoch``, ``valid/METRIC`` and ``loss/TASK``.
        metric: The validation metric to draw (default: the first column of its kind).

    Returns:
        The image as PNG.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    valid = [column for column in columns if column.startswith("valid/")]
    losses = [column for column in columns if column.startswith("loss/")]
    if not valid or not losses:
        raise InputError("'history.csv' has no finished epoch: there is no curve to draw")
    chosen = f"valid/{metric}" if f"valid/{metric}" in valid else valid[0]
    figure = Figure(figsize=(8, 6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))

    epochs, values = _points(rows, chosen)
    top.plot(epochs, values, color=_COLORS[0], linewidth=2, **_dots(epochs))
    if values:
        best = (min if is_smaller_better(chosen) else max)(
            range(len(values)), key=values.__getitem__
        )
        top.plot(epochs[best], values[best], "o", color=_COLORS[1], markersize=9, zorder=3)
        top.set_title(
            f"Validation {metric_label(chosen.removeprefix('valid/'))}:"
            f" best {values[best]:.4f} in epoch {epochs[best]:g}",
            loc="left",
            color=_INK,
        )
    epochs = _draw_losses(bottom, rows, losses)
    bottom.set_title("Training loss per task", loc="left", color=_INK)
    bottom.set_xlabel("epoch", color=_INK)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    bottom.set_xlim(0, 1.02 * max([*epochs, 1.0]))
    figure.legend(
        *bottom.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    for axes in (top, bottom):
        _clean(axes, grid="both")
    return _png(figure)


def pretraining(
    rows: Sequence[Mapping[str, Any]], guesses: Mapping[str, float | None], epoch: int
) -> bytes:
    r"""Draws the losses of a first stage: above those that a guess brings to ln 2, below others.

    Args:
        rows: The history, with columns ``epoch`` and ``loss/TASK``.
        guesses: Task to what a guess costs, :obj:`None` where nothing does.
        epoch: The one whose tables were kept.

    Returns:
        The image as PNG.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    losses = [column for column in columns if column.startswith("loss/")]
    if not losses:
        raise InputError("'pretrain.csv' has no finished epoch: there is nothing to draw")
    coins = [column for column in losses if is_ln2(guesses.get(column.removeprefix("loss/")))]
    panels = [panel for panel in (coins, [c for c in losses if c not in coins]) if panel]
    figure = Figure(figsize=(8, 1 + 3 * len(panels)), layout="constrained")
    several = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(several, panels, strict=True):
        epochs = _draw_losses(axes, rows, panel, losses.index)
        title = "Pretraining loss per task"
        if panel is coins:
            axes.axhline(
                math.log(2), color=_GREY, linewidth=1.5, linestyle="--", label="ln 2, a guess"
            )
        elif len(panels) > 1:
            title = "Pretraining loss of the other tasks"
        axes.axvline(epoch, color=_GREY, linewidth=1.5, label=f"epoch {epoch}, kept")
        axes.set_title(title, loc="left", color=_INK)
        axes.legend(loc="best", frameon=False, fontsize="small")
        _clean(axes, grid="both")
    several[-1].set_xlabel("epoch", color=_INK)
    several[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    several[-1].set_xlim(0, 1.02 * max([*epochs, 1.0]))
    return _png(figure)


def comparison(values: Mapping[str, float], metric: str) -> bytes:
    r"""Draws one bar per arm, with its value; yardsticks are grey.

    Args:
        values: Arm to value, drawn from the top in this order.
        metric: What the values are.

    Returns:
        The image as PNG.
    """
    if not values:
        raise InputError(f"no arm has a value of {metric!r}: there is nothing to compare")
    arms = list(values)
    heights = [values[arm] for arm in arms]
    colors = [_GREY if arm in _YARDSTICKS else _COLORS[0] for arm in arms]
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(arms)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(arms)), heights, color=colors, height=0.72)
    axes.bar_label(bars, labels=[f"{height:.4f}" for height in heights], padding=5, color=_INK)
    axes.set_yticks(range(len(arms)), [arm_label(arm) for arm in arms])
    axes.invert_yaxis()
    high, low = max([*heights, 1e-9]), min([*heights, 0.0])
    axes.set_xlim(low - 0.12 * (high - low) * (low < 0), high + 0.12 * (high - low))
    smaller = ", smaller is better" if is_smaller_better(metric) else ""
    axes.set_title(f"{metric_label(metric)} on the test split{smaller}", loc="left", color=_INK)
    _clean(axes, grid="x")
    axes.tick_params(axis="y", length=0)
    return _png(figure)


def _draw_losses(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    place: Callable[[str], int] | None = None,
) -> list[float]:
    r"""Draws one line per column and returns the epochs of the last one."""
    everything: list[float] = []
    epochs: list[float] = []
    for column in columns:
        index = (place or columns.index)(column)
        epochs, values = _points(rows, column)
        everything += values
        axes.plot(
            epochs,
            values,
            color=_COLORS[index % len(_COLORS)],
            linestyle=("-", "--", "-.", ":")[index % 4],
            linewidth=2,
            label=column.removeprefix("loss/"),
            **_dots(epochs),
        )
    if everything and min(everything) > 0 and max(everything) > 20 * min(everything):
        axes.set_yscale("log")
    return epochs


def _points(rows: Sequence[Mapping[str, Any]], column: str) -> tuple[list[float], list[float]]:
    pairs = [
        (float(row.get("epoch", index)), float(row[column]))
        for index, row in enumerate(rows, start=1)
        if isinstance(row.get(column), (int, float))
    ]
    return [epoch for epoch, _ in pairs], [value for _, value in pairs]


def _dots(epochs: Sequence[float]) -> dict[str, Any]:
    return {"marker": "o", "markersize": 4} if len(epochs) <= 30 else {}


def _clean(axes: Axes, grid: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_GREY)
    axes.tick_params(colors=_INK)
    axes.grid(axis=grid, color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=120)
    return buffer.getvalue()
