"""Kinds of auxiliary task: which of them help, each alone beside the main task?

    python -m benchmarks.paper.questions.task_kinds --dataset epinions --root DIR

Links between users or items, groups of items, ratings and a regulariser, as far as the data offers
them. The sum tells what the task is worth, PMTRec what the rule makes of it.
"""

from pathlib import Path

from benchmarks.paper._tables import Table
from benchmarks.paper.questions._common import main
from benchmarks.paper.questions._rows import SINGLE, Row, Setup
from benchmarks.paper.questions._table import question_table

NAME = "task_kinds"
QUESTION = "Which kinds of auxiliary task help?"
ALONE = "main task alone"


def rows(setup: Setup) -> list[Row]:
    """Every kind that the data offers, under the sum and PMTRec."""
    made = [setup.single(ALONE)]
    for kind, task in setup.data.kinds.items():
        condition = f"{kind}: {task}"
        for arm in ("sum", "pmtrec"):
            against = {SINGLE: (ALONE, SINGLE)}
            if arm != "sum":
                against["sum"] = (condition, "sum")
            tasks = [setup.data.tasks[0], task]
            made.append(setup.row(condition, arm, arm, tasks, against=against))
    return made


def table(results: Path | None = None) -> Table:
    """Every kind of task on every data set."""
    notes = [
        "One auxiliary task at a time. So that no kind is favoured, a rule has one learning rate "
        "and weight decay for all of them: those found for it with all tasks of the data set."
    ]
    return question_table(NAME, results, notes)


if __name__ == "__main__":
    main(NAME, QUESTION, rows, table)
