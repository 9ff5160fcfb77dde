"""Figures of the HTLNet benchmark, from what benchmarks/results/htlnet-*.json hold."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from benchmarks.paper._htlnet_labels import MAIN, MODE_LABELS, label, load
from benchmarks.paper._plots import _RAMP, image
from pyg_mtrec.runs._plots import _COLORS, _GREY, _INK, _clean


@dataclass(frozen=True)
class Plot:
    """One kind of figure.

    Args:
        data: What it is about, which begins the name of its image.
        caption: What stands below it.
        pick: Returns what it shows, None if that was not run.
        draw: Draws it.
    """

    data: str
    caption: str
    pick: Callable[[Path], Any]
    draw: Callable[[Any], Figure]


def _maps(results: Path) -> Any:
    found = load(results, MAIN).get("maps")
    return found and {
        "seeds": found["seeds"],
        "points": [[*map(float, at.split(",")), value] for at, value in found["value"].items()],
    }


def _draw_map(found: Any) -> Figure:
    """Lower is better, so the ramp runs downwards."""
    alphas, gammas = (sorted({point[axis] for point in found["points"]}) for axis in (0, 1))
    figure = Figure(figsize=(2.4 + 0.95 * len(gammas), 1.6 + 0.55 * len(alphas)))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    values = [value for _, _, value in found["points"]]
    low, high = min(values), max(values)
    scale = Normalize(-max(high, low + 1e-9), -low)
    for alpha, gamma, value in found["points"]:
        column, row = gammas.index(gamma), alphas.index(alpha)
        corner, best = (column - 0.5, row - 0.5), value == low
        axes.add_patch(Rectangle(corner, 1, 1, color=_RAMP(scale(-value)), lw=0))
        if best:
            edge = Rectangle(corner, 1, 1, fill=False, edgecolor=_COLORS[1], lw=2.5, zorder=3)
            axes.add_patch(edge)
        axes.text(
            column,
            row,
            f"{value:.3f}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if scale(-value) > 0.4 else _INK,
            fontweight="bold" if best else "normal",
        )
    axes.set_xlim(-0.5, len(gammas) - 0.5)
    axes.set_ylim(-0.5, len(alphas) - 0.5)
    axes.set_xticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
    axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_xlabel("magnitude γ", color=_INK)
    axes.set_ylabel("projection α", color=_INK)
    title = f"Validation RMSE of watch time, mean of {found['seeds']} seeds"
    axes.set_title(title, loc="left", color=_INK)
    axes.tick_params(colors=_INK, length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(ScalarMappable(scale, _RAMP), ax=axes, shrink=0.9, pad=0.02)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{-value:.3f}")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=_INK)
    return figure


def _curves(results: Path) -> Any:
    """The first seed's validation over the epochs: γ at the largest α, α at the largest γ."""
    found = load(results, MAIN).get("maps")
    if not found:
        return None
    points = {tuple(map(float, at.split(","))): runs[0] for at, runs in found["curves"].items()}
    alpha, gamma = (max(point[axis] for point in points) for axis in (0, 1))
    return {
        f"over γ, α = {alpha:g}": {
            f"γ = {other:g}": curve for (at, other), curve in sorted(points.items()) if at == alpha
        },
        f"over α, γ = {gamma:g}": {
            f"α = {at:g}": curve for (at, other), curve in sorted(points.items()) if other == gamma
        },
    }


def _draw_curves(found: Any) -> Figure:
    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (title, curves) in zip(panels, found.items(), strict=True):
        for number, (name, curve) in enumerate(curves.items()):
            color = _RAMP(0.25 + 0.75 * number / max(1, len(curves) - 1))
            axes.plot(range(1, len(curve) + 1), curve, color=color, linewidth=2, label=name)
            best = min(range(len(curve)), key=curve.__getitem__)
            axes.plot(best + 1, curve[best], "o", color=color, markersize=6)
        axes.set_title(title, loc="left", color=_INK)
        axes.set_xlabel("epoch", color=_INK)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(frameon=False, labelcolor=_INK)
        _clean(axes, "both")
    panels[0].set_ylabel("validation RMSE of watch time", color=_INK)
    return figure


def _shares(results: Path) -> Any:
    modes = load(results, "planted").get("modes")
    if not modes:
        return None
    core = f"{load(results, 'planted')['core']}/mse"
    return {
        mode: {name: cell["share"][core] for name, cell in part["cells"].items()}
        for mode, part in modes.items()
    }


def _draw_shares(found: Any) -> Figure:
    names = list(dict.fromkeys(name for cells in found.values() for name in cells))
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(names)), layout="constrained")
    axes = figure.subplots()
    for number, (mode, cells) in enumerate(found.items()):
        shift = 0.17 * (2 * number - 1)
        at = [place for place, name in enumerate(names) if name in cells]
        means = [100 * cells[names[place]]["mean"] for place in at]
        spreads = [100 * (cells[names[place]]["sd"] or 0.0) for place in at]
        places = [place + shift for place in at]
        axes.errorbar(
            means,
            places,
            xerr=spreads,
            fmt="o",
            color=_COLORS[number],
            elinewidth=1.5,
            capsize=3,
            label=MODE_LABELS[mode],
        )
    axes.axvline(0, color=_GREY, linewidth=1)
    axes.set_yticks(range(len(names)), [label(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("share of the gap in squared error of watch time, in %", color=_INK)
    _clean(axes, "x")
    axes.legend(frameon=False, labelcolor=_INK, title="discrete targets")
    return figure


PLOTS = {
    "maps": Plot(
        MAIN,
        "HTLNet with gradient adjustment over the two parameters of the rule; all else as found. "
        "Validation alone. The darkest is the best.",
        _maps,
        _draw_map,
    ),
    "curves": Plot(
        MAIN,
        "Validation over the epochs, one seed; dots: the epoch kept. Training stops when validation"
        " has not gained for a while.",
        _curves,
        _draw_curves,
    ),
    "shares": Plot(
        "planted",
        "How much of the way from the best constant to the true expectation of the watch time each "
        "head goes, where the discrete targets are informative and where they are not. Means over "
        "worlds, whiskers one standard deviation.",
        _shares,
        _draw_shares,
    ),
}


def png(name: str, picked: Any) -> bytes:
    """The image, with the hash of what it shows."""
    return image(PLOTS[name].draw(picked), f"htlnet-{name}", picked)
