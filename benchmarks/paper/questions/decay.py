"""Direction mixing or relative weight decay: what is PMTRec's lead over the sum made of?

    python -m benchmarks.paper.questions.decay --dataset amazon-office --root DIR

PMTRec's weights sum to one, so its gradients are about T times smaller than the sum's, and weight
decay that Adam adds to the gradient acts T times more strongly. Hence every arm is tried over a
range of weight decays on validation: the sum, the mean (whose curve is the sum's, moved by T),
PMTRec, and PMTRec at the scale of the sum; and the sum and PMTRec with decoupled weight decay
(AdamW), which does not pass through the gradient. If the lead is one of weight decay alone, the
best points of the curves meet. The best of each is then trained on every seed and tested.
"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.paper._cells import DECOUPLED, GRID
from benchmarks.paper._tables import Table, rule_label
from benchmarks.paper.questions._common import main
from benchmarks.paper.questions._rows import SINGLE, Row, Setup
from benchmarks.paper.questions._table import Found, question_table
from pyg_mtrec.runs._plots import _COLORS, _GREY, _INK, _clean

NAME = "decay"
QUESTION = "Is PMTRec's lead one of mixing directions, or of relative weight decay?"
ADAM, ADAMW = "Adam", "AdamW"
SUM_SCALE = "PMTRec at the scale of the sum"
CAPTION = (
    "Validation Recall@20 over weight decay; large dots: what was chosen. With Adam the mean's "
    "curve is the sum's, moved by the number of tasks."
)
Curves = dict[str, dict[str, dict[str, list[float]]]]  # optimiser, arm, weight decays and values


def rows(setup: Setup) -> list[Row]:
    """Every arm, each with its best weight decay."""
    coupled = setup.weight_decays or tuple(GRID["weight_decay"])
    decoupled = tuple(DECOUPLED)
    if setup.smoke:
        coupled, decoupled = coupled[4:6], decoupled[3:4]
    made = [
        setup.single(ADAM, weight_decays=coupled),
        setup.row(ADAM, "sum", "sum", weight_decays=coupled),
        # With the sum's learning rate: with another its curve would not be the sum's, moved.
        setup.row(ADAM, "mean", "sum", changes={"balancer": "mean"}, weight_decays=coupled),
        setup.row(ADAM, "pmtrec", "pmtrec", weight_decays=coupled),
        setup.row(ADAM, SUM_SCALE, "pmtrec", changes={"scale": "sum"}, weight_decays=coupled),
        setup.row(ADAMW, "sum", "sum-adamw", weight_decays=decoupled),
        setup.row(ADAMW, "pmtrec", "pmtrec-adamw", weight_decays=decoupled),
    ]
    return [replace(row, against=_references(row)) for row in made]


def _references(row: Row) -> dict[str, tuple[str, str]]:
    wanted = {SINGLE: (ADAM, SINGLE), "sum": (row.condition, "sum"), "mean": (ADAM, "mean")}
    if row.condition == ADAMW:  # the mean is the sum there
        del wanted["mean"]
    return {label: key for label, key in wanted.items() if key != row.key}


def table(results: Path | None = None) -> Table:
    """The best of each arm on test."""
    notes = [
        "Each arm with the weight decay that is best on validation. AdamW's weight decay does not "
        "pass through the gradient and has another scale. A sum's and a mean's gradients have the "
        "same direction, so with Adam the mean at some weight decay is the sum at T times that."
    ]
    return question_table(NAME, results, notes, {"weight decay": _decay, "validation": _valid})


def _decay(row: Found) -> str:
    return f"{row['weight_decay']:g}" if row["seeds"] else ""


def _valid(row: Found) -> str:
    return f"{max(entry['valid'] for entry in row['sweep']):.4f}" if row["sweep"] else ""


def curves(content: Found) -> Curves:
    """What the plot shows of a data set."""
    found: Curves = {}
    for row in content["rows"]:
        if row["sweep"]:
            sweep = sorted(row["sweep"], key=lambda entry: float(entry["weight_decay"]))
            found.setdefault(row["condition"], {})[row["arm"]] = {
                "weight_decay": [entry["weight_decay"] for entry in sweep],
                "valid": [entry["valid"] for entry in sweep],
            }
    return found


def draw(found: Curves) -> Figure:
    """Validation over weight decay, one panel an optimiser."""
    arms = list(dict.fromkeys(arm for panel in found.values() for arm in panel))
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panels = figure.subplots(1, max(1, len(found)), sharey=True, squeeze=False)[0]
    for axes, (optimizer, panel) in zip(panels, found.items(), strict=False):
        for arm, curve in panel.items():
            style: dict[str, Any] = {"color": _COLORS[arms.index(arm) % len(_COLORS)]}
            if arm == SINGLE:
                style = {"color": _GREY, "linestyle": "--"}
            name = arm if arm == SINGLE else rule_label(arm)
            axes.plot(
                curve["weight_decay"],
                curve["valid"],
                marker="o",
                markersize=4,
                linewidth=2,
                label=name,
                **style,
            )
            best = max(range(len(curve["valid"])), key=curve["valid"].__getitem__)
            axes.plot(
                curve["weight_decay"][best],
                curve["valid"][best],
                "o",
                color=style["color"],
                markersize=9,
            )
        axes.set_xscale("log")
        axes.set_xlabel("weight decay", color=_INK)
        axes.set_title(optimizer, loc="left", color=_INK)
        _clean(axes, grid="both")
    panels[0].set_ylabel("validation Recall@20", color=_INK)
    handles = dict(
        pair[::-1]
        for axes in panels
        for pair in zip(*axes.get_legend_handles_labels(), strict=True)
    )
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        labelcolor=_INK,
    )
    return figure


def png(content: Found) -> bytes:
    """The plot as an image."""
    buffer = io.BytesIO()
    FigureCanvasAgg(draw(curves(content))).print_figure(
        buffer, format="png", dpi=110, metadata={"Software": None}
    )
    return buffer.getvalue()


if __name__ == "__main__":
    main(NAME, QUESTION, rows, table, draw=png)
