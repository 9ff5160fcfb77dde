"""Plots of the PMTRec benchmark, from what benchmarks/results/pmtrec-DATASET.json holds.

A figure is chosen and drawn in two steps: what it shows is picked from the results first, and the
hash of that is kept in the image. So whether an image is stale can be told without drawing it.
"""

import hashlib
import io
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

from benchmarks.paper._tables import (
    METRICS,
    PAPER_RULES,
    PMTREC,
    SINGLE,
    VARIANTS,
    Report,
    rule_label,
)
from pyg_mtrec.runs._labels import metric_label
from pyg_mtrec.runs._plots import _COLORS, _GREY, _INK, _clean

_RAMP = LinearSegmentedColormap.from_list("ramp", ["#EAF3F9", "#0072B2", "#002B45"])
_DASHES = ("-", "--", "-.", ":")
_FEW = 10  # users that a bin needs to have quantiles worth drawing
_KEY = "Drawn from"


@dataclass(frozen=True)
class Plot:
    """One kind of figure.

    Args:
        caption: What stands below it, for a data set.
        pick: Returns what it shows, None if that was not run.
        draw: Draws it.
    """

    caption: str
    pick: Callable[[Report], Any]
    draw: Callable[[Any], Figure]


def _pick_ablation(report: Report) -> Any:
    found = {
        rule_label(cell): {metric: report.values(cell, metric) for metric in METRICS}
        for cell in VARIANTS
        if report.values(cell, METRICS[0])
    }
    return found if rule_label(PMTREC) in found and len(found) > 1 else None


def _draw_ablation(found: dict[str, dict[str, list[float]]]) -> Figure:
    figure = Figure(figsize=(9, 1.2 + 0.5 * len(found)), layout="constrained")
    panels = figure.subplots(1, len(METRICS), sharey=True)
    labels = list(found)
    for axes, metric in zip(panels, METRICS, strict=True):
        means = [statistics.mean(found[label][metric]) for label in labels]
        axes.barh(
            range(len(labels)),
            means,
            xerr=[_sd(found[label][metric]) for label in labels],
            color=[_COLORS[0] if label == rule_label(PMTREC) else "#8FBEDB" for label in labels],
            height=0.72,
            error_kw={"ecolor": _INK, "elinewidth": 1.2, "capsize": 3},
        )
        longest = max([*means, 1e-9])
        for place, (label, mean) in enumerate(zip(labels, means, strict=True)):
            color = "white" if label == rule_label(PMTREC) else _INK
            axes.text(0.02 * longest, place, f"{mean:.4f}", va="center", color=color)
        axes.axvline(means[0], color=_GREY, linewidth=1, linestyle="--", zorder=0.5)
        axes.set_xlim(0, 1.1 * longest)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_title(f"{metric_label(metric)} on the test split", loc="left", color=_INK)
        _clean(axes, grid="x")
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    return figure


def _pick_sensitivity(report: Report) -> Any:
    return report.found.get("sensitivity")


def _draw_sensitivity(found: dict[str, Any]) -> Figure:
    alphas, taus, values = found["alpha"], found["tau"], found["value"]
    figure = Figure(figsize=(2 + 0.85 * len(taus), 1.6 + 0.5 * len(alphas)), layout="constrained")
    axes = figure.subplots()
    low, high = min(values.values()), max(values.values())
    scale = Normalize(low, max(high, low + 1e-9))
    for row, alpha in enumerate(alphas):
        for column, tau in enumerate(taus):
            value = values.get(f"{alpha:g},{tau:g}")
            corner = (column - 0.5, row - 0.5)
            if value is None:
                axes.add_patch(
                    Rectangle(corner, 1, 1, facecolor="white", edgecolor=_GREY, hatch="///", lw=0)
                )
                continue
            axes.add_patch(Rectangle(corner, 1, 1, color=_RAMP(scale(value)), lw=0))
            axes.text(
                column,
                row,
                f"{value:.4f}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if scale(value) > 0.4 else _INK,
                fontweight="bold" if value == high else "normal",
            )
            if value == high:
                axes.add_patch(
                    Rectangle(corner, 1, 1, fill=False, edgecolor=_COLORS[1], lw=2.5, zorder=3)
                )
    axes.set_xlim(-0.5, len(taus) - 0.5)
    axes.set_ylim(-0.5, len(alphas) - 0.5)
    axes.set_xticks(range(len(taus)), [f"{tau:g}" for tau in taus])
    axes.set_yticks(range(len(alphas)), [f"{alpha:.2f}" for alpha in alphas])
    axes.set_xlabel("temperature τ", color=_INK)
    axes.set_ylabel("focusing α", color=_INK)
    axes.set_title("Validation Recall@20 of PMTRec, seed 0", loc="left", color=_INK)
    axes.tick_params(colors=_INK, length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, _RAMP), ax=axes, shrink=0.9, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_INK)
    return figure


def _pick_curves(report: Report) -> Any:
    cells = [SINGLE, *(f"mf.all.{rule}" for rule in PAPER_RULES)]
    curves = {cell: report.cells.get(cell, {}).get("curve") for cell in cells}
    return {cell: curve for cell, curve in curves.items() if curve} or None


def _draw_curves(curves: dict[str, list[float]]) -> Figure:
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    others = [color for color in _COLORS[1:] if color != "#000000"]
    rivals = [cell for cell in curves if cell not in (PMTREC, SINGLE)]
    for cell, curve in curves.items():
        if cell == PMTREC:
            style: dict[str, Any] = {"color": _COLORS[0], "linewidth": 3, "zorder": 3}
        elif cell == SINGLE:
            style = {"color": _GREY, "linewidth": 2}
        else:
            index = rivals.index(cell)
            style = {
                "color": others[index % len(others)],
                "linestyle": _DASHES[index // len(others)],
                "linewidth": 1.6,
            }
        axes.plot(range(1, len(curve) + 1), curve, label=rule_label(cell), **style)
        best = max(range(len(curve)), key=curve.__getitem__)
        axes.plot(best + 1, curve[best], "o", color=style["color"], markersize=6, zorder=4)
    axes.set_title("Validation Recall@20, seed 0; dots: the epoch kept", loc="left", color=_INK)
    axes.set_xlabel("epoch", color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    _clean(axes, grid="both")
    figure.legend(loc="outside right upper", frameon=False, labelcolor=_INK)
    return figure


def _pick_weights(report: Report) -> Any:
    weights = report.found.get("weights")
    return weights and {"tasks": weights["tasks"], "epochs": weights["epochs"]}


def _draw_weights(found: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, table in zip(panels, ("user", "item"), strict=True):
        epochs = found["epochs"][table]
        for index, task in enumerate(found["tasks"]):
            axes.plot(
                range(1, len(epochs) + 1),
                [epoch[index] for epoch in epochs],
                color=_COLORS[index % len(_COLORS)],
                linestyle=_DASHES[index % len(_DASHES)],
                linewidth=2,
                label=task,
            )
        _share_axis(axes, len(found["tasks"]))
        axes.set_title(f"Mean weight over {table} rows", loc="left", color=_INK)
        axes.set_xlabel("epoch", color=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(left=0)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=4, frameon=False, labelcolor=_INK
    )
    return figure


def _pick_users(report: Report) -> Any:
    weights = report.found.get("weights")
    return weights and {"tasks": weights["tasks"], **weights["users"]}


def _draw_users(found: dict[str, Any]) -> Figure:
    tasks, edges = found["tasks"], found["history_edges"]
    figure = Figure(figsize=(3.8 * max(len(tasks), 2), 4.2), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    bins = [place for place, count in enumerate(found["count"]) if count >= _FEW]
    for index, (axes, task) in enumerate(zip(panels, tasks, strict=True)):
        color = _COLORS[index % len(_COLORS)]
        columns = list(zip(*(found["quantiles"][task][place] for place in bins), strict=True))
        if columns:
            at = range(len(bins))
            q10, q25, q50, q75, q90 = columns
            axes.fill_between(at, q10, q90, color=color, alpha=0.18, lw=0, label="80 % of users")
            axes.fill_between(at, q25, q75, color=color, alpha=0.35, lw=0, label="50 % of users")
            axes.plot(at, q50, "o-", color=color, linewidth=2, markersize=4, label="median")
        labels = [_bin_label(edges[place], edges[place + 1]) for place in bins]
        turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor", "fontsize": 8}
        axes.set_xticks(range(len(bins)), labels, **turned)
        _share_axis(axes, len(tasks))
        axes.set_title(f"Weight of {task}", loc="left", color=_INK)
        axes.set_xlabel("training interactions of the user", color=_INK)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, frameon=False, labelcolor=_INK
    )
    return figure


def _bin_label(low: int, high: int) -> str:
    return str(low) if high == low + 1 else f"{low}–{high - 1}"


def _share_axis(axes: Axes, num_tasks: int) -> None:
    """An axis of weights that sum to one, with the line of equal ones."""
    axes.set_ylim(-0.02, 1.02)  # a line along 0 or 1 is seen whole
    axes.axhline(1 / num_tasks, color=_GREY, linewidth=1, linestyle=":", zorder=0.5)
    _clean(axes, grid="y")


def _sd(values: list[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


PLOTS = {
    "ablation": Plot(
        "PMTRec, PMTRec with one half left out, and the controls. Bars are means over the split "
        "seeds, whiskers one standard deviation.",
        _pick_ablation,
        _draw_ablation,
    ),
    "sensitivity": Plot(
        "Validation Recall@20 over focusing and temperature; learning rate and weight decay are "
        "those found for PMTRec. Hatched points were not run.",
        _pick_sensitivity,
        _draw_sensitivity,
    ),
    "curves": Plot(
        "Validation over the epochs, MF with all tasks; every rule with its own best parameters.",
        _pick_curves,
        _draw_curves,
    ),
    "weights": Plot(
        "The weights that PMTRec gives to the tasks: mean over the rows that any task touched, on "
        "seed 0. The dotted line is an equal weight.",
        _pick_weights,
        _draw_weights,
    ),
    "users": Plot(
        "The weights of single users, means over the run, against the length of their history; "
        f"users of all seeds, lengths with at least {_FEW}. The dotted line is an equal weight.",
        _pick_users,
        _draw_users,
    ),
}


def digest(name: str, picked: Any) -> str:
    """The hash of what a figure shows."""
    return hashlib.sha256(json.dumps([name, picked]).encode()).hexdigest()


def is_stale(path: Path, name: str, picked: Any) -> bool:
    """Whether an image is missing or shows something else."""
    if not path.exists():
        return True
    with Image.open(path) as image:
        return image.info.get(_KEY) != digest(name, picked)


def png(name: str, picked: Any) -> bytes:
    """Draws a figure."""
    return image(PLOTS[name].draw(picked), name, picked)


def image(figure: Figure, name: str, picked: Any) -> bytes:
    """A figure as a file, with the hash of what it shows."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(
        buffer, format="png", dpi=110, metadata={_KEY: digest(name, picked), "Software": None}
    )
    return buffer.getvalue()
