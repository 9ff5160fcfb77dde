"""Loss reduction: a mean or a sum over the batch, which changes the scale of every gradient.

    python -m benchmarks.paper.questions.reduction --dataset amazon-office --root DIR

PMTRec's temperature has the unit of a gradient norm, so a sum over a batch of B needs tau * B. Adam
hides the scale of gradients, but for two things that are added to them: coupled weight decay and
epsilon. With all three multiplied by B nothing is left of the reduction; where B is a power of two,
not even in the last digit.
"""

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.paper._tables import Table
from benchmarks.paper.questions._common import main
from benchmarks.paper.questions._rows import SINGLE, Row, Setup
from benchmarks.paper.questions._rules import ScaledGradients
from benchmarks.paper.questions._table import Found, question_table
from pyg_mtrec._errors import InputError

NAME = "reduction"
QUESTION = "How does the reduction of the losses over the batch matter?"
ALONE, MEAN = "main task alone", "mean over the batch"


def rows(setup: Setup) -> list[Row]:
    """The mean over the batch, the sum, and the sum with what cancels it, one by one."""
    if setup.weight_decays:
        raise InputError("'--weight-decays' is no option here: weight decay is what is scaled")
    made = [setup.single(ALONE)]
    for arm in ("sum", "pmtrec"):
        plain = setup.row(MEAN, arm, arm)
        batch = plain.settings.batch_size  # every data set fills more than one
        decay = {"weight_decay": plain.settings.weight_decay * batch}
        tau = {"tau": plain.settings.tau * batch} if arm == "pmtrec" else {}
        conditions: dict[str, tuple[dict[str, Any], float]] = {
            "sum over the batch": ({}, 1.0),
            "sum, τ·B": (tau, 1.0),
            "sum, τ·B, weight decay·B": ({**tau, **decay}, 1.0),
            "sum, τ·B, weight decay·B, ε·B": ({**tau, **decay}, float(batch)),
        }
        if arm == "sum":  # which has no temperature
            del conditions["sum, τ·B"]
        references = {SINGLE: (ALONE, SINGLE)}
        if arm != "sum":
            references["sum"] = (MEAN, "sum")
        # Both reductions go the same way through the wrapper, so that no other rounding differs.
        made.append(
            setup.row(MEAN, arm, arm, wrap=partial(ScaledGradients, factor=1.0), against=references)
        )
        made += [
            setup.row(
                condition,
                arm,
                arm,
                changes=changes,
                wrap=partial(ScaledGradients, factor=float(batch)),
                eps_factor=eps,
                against={**references, MEAN: (MEAN, arm)},
            )
            for condition, (changes, eps) in conditions.items()
        ]
    return made


def table(results: Path | None = None) -> Table:
    """Both reductions, and how much of the difference each correction takes away."""
    notes = [
        "B is the batch size. The last columns hold a row against the same rule with means over "
        "the batch: users whose Recall@20 is equal, and the largest difference between the "
        "validation curves. With τ, weight decay and Adam's ε multiplied by B the two are the same "
        "run."
    ]
    extra = {"users that tie": _ties, "curves differ by at most": _curves}
    return question_table(NAME, results, notes, extra)


def _ties(row: Found) -> str:
    entry = row["against"].get(MEAN, {}).get("recall@20")
    return f"{entry['ties']:,} of {entry['users']:,}" if entry else ""


def _curves(row: Found) -> str:
    entry = row["against"].get(MEAN)
    return f"{entry['largest_difference_of_curves']:.2g}" if entry else ""


if __name__ == "__main__":
    main(NAME, QUESTION, rows, table)
