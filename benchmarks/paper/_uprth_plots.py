"""The figure of attention, from what benchmarks/results/uprth-steam.json holds."""

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.paper._plots import image
from pyg_mtrec.runs._plots import _COLORS, _GREY, _INK, _clean

CAPTION = (
    "The share of attention that an item, as a hyperedge of its users, gives to each of its tasks,"
    " against its number of users in training: median, the middle half and the middle four fifths"
    " of the items. The dashed line is an equal share."
)


def pick(results: Path) -> Any:
    """The attention of items, None if it was not measured."""
    path = results / "uprth-steam.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    attention = found.get("ablation", {}).get("attention", {}).get("item")
    if not attention:
        return None
    # Nobody asks an item without users, whose query is zero.
    return {**attention, "bins": [part for part in attention["bins"] if part["low"] > 0]}


def draw(picked: Any) -> Figure:
    """One panel a task."""
    tasks, bins = picked["tasks"], picked["bins"]
    figure = Figure(figsize=(3.6 * len(tasks), 3.2), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    at = range(len(bins))
    for number, (task, axes) in enumerate(zip(tasks, panels, strict=True)):
        low, lower, middle, upper, high = zip(
            *(part["quantiles"][number] for part in bins), strict=True
        )
        color = _COLORS[number % len(_COLORS)]
        axes.fill_between(at, low, high, color=color, alpha=0.15, linewidth=0)
        axes.fill_between(at, lower, upper, color=color, alpha=0.3, linewidth=0)
        axes.plot(at, middle, color=color, marker="o", markersize=4)
        axes.axhline(1 / len(tasks), color=_GREY, linestyle="--", linewidth=1)
        axes.set_title(task, color=_INK, fontsize=10)
        axes.set_xticks(at, [_label(part) for part in bins], rotation=45, ha="right", fontsize=8)
        axes.set_xlabel("users of the item", color=_INK)
        axes.set_ylim(0, 1)
        _clean(axes, "y")
    panels[0].set_ylabel("share of attention", color=_INK)
    return figure


def png(picked: Any) -> bytes:
    """The image, with the hash of what it shows."""
    return image(draw(picked), "attention", picked)


def _label(part: dict[str, Any]) -> str:
    last = part["high"] - 1
    return str(last) if part["low"] == last else f"{part['low']}-{last}"
