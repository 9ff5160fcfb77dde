"""Sparsity: do auxiliary tasks and their balance matter more where there are fewer interactions?

    python -m benchmarks.paper.questions.sparsity --dataset amazon-office --root DIR

Training keeps 10 to 100 % of its interactions, each share part of the next. Validation, test and
what is masked in them stay the same, and so do all other relations. With all interactions, users
are also compared by the length of their history.
"""

from functools import partial
from pathlib import Path

from benchmarks.paper._tables import METRICS, Table
from benchmarks.paper.questions._changes import thin
from benchmarks.paper.questions._common import main
from benchmarks.paper.questions._rows import SINGLE, Row, Setup
from benchmarks.paper.questions._table import (
    difference,
    difference_header,
    label,
    load,
    question_table,
)
from pyg_mtrec.runs._labels import metric_label

NAME = "sparsity"
QUESTION = "Do auxiliary tasks matter more where there are fewer interactions?"
SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)


def rows(setup: Setup) -> list[Row]:
    """Every share of the interactions, under the single task, the sum and PMTRec."""
    made = []
    for share in SHARES:
        condition = f"{share:.0%} of the interactions"
        change = None if share == 1 else partial(thin, fraction=share)
        by_history = share == 1
        made.append(setup.single(condition, change=change, by_history=by_history))
        for arm in ("sum", "pmtrec"):
            against = {SINGLE: (condition, SINGLE)}
            if arm != "sum":
                against["sum"] = (condition, "sum")
            made.append(
                setup.row(
                    condition, arm, arm, against=against, change=change, by_history=by_history
                )
            )
    return made


def table(results: Path | None = None) -> Table:
    """Every share of the training interactions."""
    notes = [
        "Test users, their items and what is masked are the same in all rows of a seed. Tasks on "
        "the interactions themselves (ratings, regulariser) are thinned with them. Learning rate "
        "and weight decay are those found with all interactions."
    ]
    return question_table(NAME, results, notes)


def history_table(results: Path | None = None) -> Table:
    """Users by the length of their history, with all training interactions."""
    made, references = [], (SINGLE, "sum")
    for content in load(NAME, results):
        title = content["dataset"]
        found = [row for row in content["rows"] if row.get("by_history")]
        for bucket in dict.fromkeys(bucket for row in found for bucket in row["by_history"]):
            entries = [(row, row["by_history"].get(bucket)) for row in found]
            name = bucket
            users = next(f"{entry['users']:,.0f}" for _, entry in entries if entry)
            for row, entry in entries:
                if entry is None:
                    continue
                differences = [difference(entry["against"].get(other)) for other in references]
                values = [f"{entry[metric]:.4f}" for metric in METRICS]
                made.append([title, name, users, label(row), *values, *differences])
                title = name = users = ""
    header = ["data", "interactions", "users", "ranked by", *map(metric_label, METRICS)]
    header += [difference_header(other) for other in references]
    notes = [
        "Users by the number of their training interactions; numbers of users and metrics are "
        "means over split seeds. Differences are means over users of their metric averaged over "
        "the seeds under which they had such a history; p: two-sided sign-flip test over users, "
        "Holm-corrected over the rows of a data set."
    ]
    return Table(header, made, notes if made else [])


if __name__ == "__main__":
    main(NAME, QUESTION, rows, table, history_table)
