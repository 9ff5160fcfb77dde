"""Figures of the DTRN benchmark, from what benchmarks/results/dtrn-*.json and bottoms.json hold."""

import json
import statistics
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.paper._dtrn_labels import DATASETS, MODE_LABELS, label, load, minus, target_text
from benchmarks.paper._dtrn_study_tables import READ_LABELS
from benchmarks.paper._htlnet_plots import Plot
from benchmarks.paper._plots import _RAMP, image
from pyg_mtrec.runs._plots import _COLORS, _INK, _clean

SHOWN = ("shared-bottom.plain", "shared-bottom.dtrn")


def _relevance(results: Path) -> Any:
    """Mode to cell to the mean increases, and what was planted."""
    found: dict[str, Any] = {}
    for mode, part in load(results, "planted").get("modes", {}).items():
        cells = {cell: part.get("relevance", {}).get(cell) for cell in SHOWN}
        some = next((entry for entry in cells.values() if entry), None)
        if some is None:
            continue
        found[mode] = {"planted": some["planted"]}
        for cell, entry in cells.items():
            if entry:
                found[mode][cell] = {
                    target: {name: value["mean"] for name, value in of.items()}
                    for target, of in entry["increase"].items()
                }
    return found or None


def _draw_relevance(found: Any) -> Figure:
    panels = max(len(part) for part in found.values())
    figure = Figure(figsize=(3.3 * panels, 2.1 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), panels, squeeze=False)
    for row, (mode, part) in zip(grid, found.items(), strict=True):
        for axes in row[len(part) :]:
            axes.set_visible(False)
        for axes, (name, matrix) in zip(row, part.items(), strict=False):
            targets, names = list(matrix), list(next(iter(matrix.values())))
            values = [[matrix[target][one] for one in names] for target in targets]
            top = max(max(line) for line in values) or 1.0
            axes.imshow(values, cmap=_RAMP, vmin=0, vmax=top, aspect="auto")
            for y, line in enumerate(values):
                for x, value in enumerate(line):
                    color = "white" if value > 0.4 * top else _INK
                    text = f"{value:g}" if name == "planted" else minus(f"{value:z.3f}")
                    axes.text(x, y, text, ha="center", va="center", color=color, fontsize=9)
            axes.set_xticks(range(len(names)), names)
            axes.set_yticks(range(len(targets)), [target_text(target) for target in targets])
            axes.tick_params(colors=_INK, length=0)
            axes.spines[:].set_visible(False)
            text = "planted" if name == "planted" else label(name)
            axes.set_title(f"{MODE_LABELS[mode]}: {text}", loc="left", color=_INK, fontsize=9)
    return figure


def _conflict(results: Path, dataset: str) -> Any:
    """Cell to the share of negative cosines by epoch, mean over the seeds still training."""
    found = load(results, dataset).get("conflict")
    return found and {
        cell: [
            statistics.mean(value for value in values if value is not None)
            for values in zip_longest(*entry["by_epoch"])
        ]
        for cell, entry in found.items()
    }


def _draw_conflict(found: Any) -> Figure:
    heads = list(dict.fromkeys(cell.partition(".")[0] for cell in found))
    figure = Figure(figsize=(3.6 * len(heads), 3.4), layout="constrained")
    for axes, head in zip(
        figure.subplots(1, len(heads), sharey=True, squeeze=False)[0], heads, strict=True
    ):
        own = [cell for cell in found if cell.startswith(f"{head}.")]
        for number, cell in enumerate(own):
            text = label(cell).partition(", ")[2]
            epochs = range(1, len(found[cell]) + 1)
            axes.plot(epochs, found[cell], "o-", color=_COLORS[number], markersize=4, label=text)
        axes.set_title(label(own[0]).partition(",")[0], loc="left", color=_INK)
        axes.set_xlabel("epoch", color=_INK)
        axes.set_ylim(0, 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(frameon=False, labelcolor=_INK, fontsize="small")
        _clean(axes, "both")
    figure.axes[0].set_ylabel("share of negative cosines", color=_INK)
    return figure


def _components(results: Path, dataset: str) -> Any:
    found = load(results, dataset)
    part = found.get("representations")
    if not part or not part["points"]:
        return None
    return {"targets": found["targets"], "points": part["points"]}


def _draw_components(found: Any) -> Figure:
    figure = Figure(figsize=(3.1 * len(found["points"]), 3.3), layout="constrained")
    panels = figure.subplots(1, len(found["points"]), squeeze=False)[0]
    for axes, (name, parts) in zip(panels, found["points"].items(), strict=True):
        for number, (target, points) in enumerate(zip(found["targets"], parts, strict=True)):
            x, y = zip(*points, strict=True)
            color = _COLORS[number]
            axes.scatter(x, y, s=8, color=color, alpha=0.6, lw=0, label=target_text(target))
        axes.set_title(READ_LABELS[name], loc="left", color=_INK, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_color("#CCCCCC")
    panels[0].legend(frameon=False, labelcolor=_INK, fontsize="small")
    return figure


def _growth(results: Path) -> Any:
    path = results / "bottoms.json"
    if not path.exists():
        return None
    entries = json.loads(path.read_text())["growth"]
    widths = [entry["hyper_hidden"] for entry in entries]
    usual = max(set(widths), key=widths.count)
    keys = ("tasks", "behaviours", "ms")
    return [[entry[key] for key in keys] for entry in entries if entry["hyper_hidden"] == usual]


def _draw_growth(found: Any) -> Figure:
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, behaviours in enumerate(sorted({entry[1] for entry in found})):
        points = sorted((tasks * of, ms) for tasks, of, ms in found if of == behaviours)
        text = f"{behaviours} behaviour{'s' if behaviours > 1 else ''}"
        axes.plot(*zip(*points, strict=True), "o-", color=_COLORS[number], label=text)
    axes.set_xlabel("tasks × behaviours", color=_INK)
    axes.set_ylabel("ms a step", color=_INK)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, labelcolor=_INK)
    _clean(axes, "both")
    return figure


def _on(pick: Callable[[Path, str], Any], dataset: str) -> Callable[[Path], Any]:
    return lambda results: pick(results, dataset)


PLOTS: dict[str, Plot] = {
    "relevance": Plot(
        "planted",
        "By how much the test log loss of a target grows when the sequences of a behaviour go to"
        " other impressions, mean over worlds, beside what was planted.",
        _relevance,
        _draw_relevance,
    ),
    "growth": Plot(
        "bottoms",
        "Forward and backward of DTRN over the number of tasks times that of behaviours.",
        _growth,
        _draw_growth,
    ),
}
for _name, _text in DATASETS.items():
    PLOTS[f"conflict-{_name}"] = Plot(
        "log",
        f"Share of negative cosines between targets' gradients on everything that they share, on"
        f" {_text}, epoch by epoch; mean over the seeds that were still training.",
        _on(_conflict, _name),
        _draw_conflict,
    )
    PLOTS[f"components-{_name}"] = Plot(
        "log",
        f"What targets read, on test impressions of {_text}: the map that t-SNE makes of all"
        " targets' rows together; the first seed.",
        _on(_components, _name),
        _draw_components,
    )


def png(name: str, picked: Any) -> bytes:
    """The image, with the hash of what it shows."""
    return image(PLOTS[name].draw(picked), f"dtrn-{name}", picked)
