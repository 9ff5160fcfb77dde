"""Useless and harmful auxiliary tasks: does a rule leave the main task unharmed?

    python -m benchmarks.paper.questions.no_harm --dataset amazon-office --root DIR

Beside the main task stands one task that cannot help: random links between users or items,
categories (or ratings) that were shuffled, and the main task's own loss on random pairs; or one
that has to hurt: the main task with its labels reversed. What counts is the difference from the
single task, which a harmless rule keeps at zero.
"""

from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.paper._tables import METRICS, SIGNIFICANT, Table
from benchmarks.paper.questions import _changes as changes
from benchmarks.paper.questions._common import main
from benchmarks.paper.questions._rows import SINGLE, Row, Setup
from benchmarks.paper.questions._rules import RandomPairsBPR, ReversedBPR
from benchmarks.paper.questions._table import Found, question_table

NAME = "no_harm"
QUESTION = "Does a useless or harmful auxiliary task harm the main task?"
ALONE, OWN = "main task alone", "the data's own tasks"
ARMS = ("sum", "rlw", "pmtrec")


def rows(setup: Setup) -> list[Row]:
    """Every bad task beside the main one, under every rule."""
    made = [setup.single(ALONE)]
    for condition, fields in {OWN: {"tasks": setup.data.tasks}, **_bad_tasks(setup)}.items():
        for arm in ARMS:
            against = {SINGLE: (ALONE, SINGLE)}
            if arm != "sum":
                against["sum"] = (condition, "sum")
            made.append(setup.row(condition, arm, arm, against=against, **fields))
    return made


def _bad_tasks(setup: Setup) -> dict[str, dict[str, Any]]:
    main_task = setup.data.tasks[0]
    bad: dict[str, dict[str, Any]] = {
        f"random {node_type} links": {
            "tasks": [main_task, f"random-{node_type}-links"],
            "change": partial(changes.random_links, node_type=node_type),
        }
        for node_type in ("user", "item")
    }
    kinds = setup.data.kinds.values()
    if "same-category" in kinds:
        bad["shuffled categories"] = {
            "tasks": [main_task, "same-category"],
            "change": changes.shuffled_categories,
        }
    elif "rating-regression" in kinds:
        bad["shuffled ratings"] = {
            "tasks": [main_task, "rating-regression"],
            "change": changes.shuffled_ratings,
        }
    bad["random pairs"] = {
        "tasks": [main_task],
        "extra_tasks": (("random-pairs", RandomPairsBPR),),
        "change": changes.random_pairs,
    }
    bad["reversed labels"] = {
        "tasks": [main_task],
        "extra_tasks": (("reversed-labels", ReversedBPR),),
    }
    return bad


def table(results: Path | None = None) -> Table:
    """Every bad task, and whether it did harm."""
    notes = [
        "Random links and pairs are as many as training interactions and are drawn anew under "
        "every split seed. A rule does harm where the main task alone is better with p < "
        f"{SIGNIFICANT} in Recall@20 or NDCG@20; where nothing is decided, the interval says how "
        "large a loss the runs leave possible. Learning rate and weight decay of a rule are those "
        "found for it with the data's own tasks."
    ]
    extra = {"harm": _verdict, "95 % interval of Recall@20 less single task": _interval}
    return question_table(NAME, results, notes, extra)


def _verdict(row: Found) -> str:
    if SINGLE not in row["against"]:
        return ""
    found = [row["against"][SINGLE][metric] for metric in METRICS]
    decided = [entry["difference"] for entry in found if entry["p_holm"] < SIGNIFICANT]
    if not decided:
        return "none shown"
    return "yes" if min(decided) < 0 else "no, a gain"


def _interval(row: Found) -> str:
    if SINGLE not in row["against"]:
        return ""
    entry = row["against"][SINGLE]["recall@20"]
    return f"{entry['low']:+.4f} to {entry['high']:+.4f}".replace("-", "−")


if __name__ == "__main__":
    main(NAME, QUESTION, rows, table)
