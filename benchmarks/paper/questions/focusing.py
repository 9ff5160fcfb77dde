"""Focusing alone, balancing alone, both or neither: which half of PMTRec does the work?

    python -m benchmarks.paper.questions.focusing --dataset amazon-office --root DIR

Balancing alone is PMTRec without growth (alpha = 1). Focusing alone is asked three times: with a
temperature at which norms play no role until the growth has made them large (tau = 1, which the
paper calls "without balancing", and tau = 10), and as a fixed schedule that gives all rows the same
weights and never looks at a gradient. Neither is the plain sum, and the mean: PMTRec's weights sum
to one, and the mean has that scale.
"""

from dataclasses import replace
from pathlib import Path

from benchmarks.paper._tables import Table
from benchmarks.paper.questions._common import main
from benchmarks.paper.questions._rows import DEFAULTS, SINGLE, Row, Setup
from benchmarks.paper.questions._rules import FocusSchedule
from benchmarks.paper.questions._table import question_table

NAME = "focusing"
QUESTION = "Does focusing or balancing do the work, or does it take both?"
ALONE, NEITHER, BOTH = "main task alone", "neither", "both"


def rows(setup: Setup) -> list[Row]:
    """PMTRec, its halves, and what is left without either."""
    found, _ = setup.params("pmtrec")
    # Where the search found no growth there is no focusing to look at, so a common one is taken.
    alpha = found["alpha"] if found["alpha"] > 1 else DEFAULTS["alpha"]
    against = {
        SINGLE: (ALONE, SINGLE),
        "sum": (NEITHER, "sum"),
        "mean": (NEITHER, "mean"),
        "both": (BOTH, "pmtrec"),
    }
    halves = {
        BOTH: {"alpha": alpha},
        "balancing alone (α = 1)": {"alpha": 1.0},
        "focusing alone (τ = 1)": {"alpha": alpha, "tau": 1.0},
        "focusing alone (τ = 10)": {"alpha": alpha, "tau": 10.0},
        "neither (α = 1, τ = 10)": {"alpha": 1.0, "tau": 10.0},
    }
    made = [setup.single(ALONE)]
    made += [setup.row(name, "pmtrec", "pmtrec", changes=half) for name, half in halves.items()]
    made += [
        setup.row(
            "focusing alone",
            "fixed schedule",
            "pmtrec",
            changes={"alpha": alpha},
            wrap=FocusSchedule,
        ),
        setup.row(NEITHER, "sum", "sum"),
        setup.row(NEITHER, "mean", "mean"),
    ]
    return [
        replace(row, against={label: key for label, key in against.items() if key != row.key})
        for row in made
    ]


def table(results: Path | None = None) -> Table:
    """PMTRec's halves beside the whole."""
    notes = [
        "All variants of PMTRec keep the learning rate and weight decay found for it. The mean is "
        "the sum at the scale of PMTRec, whose weights sum to one: with Adam the two differ in how "
        "strongly weight decay acts. The fixed schedule gives the main task α^s times the weight "
        "of another one in epoch s, in every row alike."
    ]
    return question_table(NAME, results, notes)


if __name__ == "__main__":
    main(NAME, QUESTION, rows, table)
