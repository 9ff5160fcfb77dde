"""The tables of the questions, from benchmarks/results/question-NAME-DATASET.json."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.paper._tables import METRICS, NOT_RUN, Table, rule_label, spread
from benchmarks.paper.questions._rows import SINGLE
from pyg_mtrec.runs._labels import metric_label

RESULTS = Path(__file__).parents[2] / "results"
Found = dict[str, Any]


def question_table(
    name: str,
    results: Path | None = None,
    notes: Iterable[str] = (),
    extra: Mapping[str, Callable[[Found], str]] | None = None,
) -> Table:
    """Every data set on which a question was asked.

    Args:
        name: The question's name.
        results: Where its files lie.
        notes: What stands below.
        extra: Title to the text of a further column.
    """
    found = load(name, results)
    extra = extra or {}
    against = {other for content in found for row in content["rows"] for other in row["against"]}
    references = sorted(against, key=lambda name: ((SINGLE, "sum", name).index(name), name))
    rows = []
    for content in found:
        title, condition = content["dataset"], None
        for row in content["rows"]:
            texts = [title, "" if row["condition"] == condition else row["condition"]]
            texts += [label(row), *(seeds_text(row, metric) for metric in METRICS)]
            texts += [difference(row["against"].get(other)) for other in references]
            rows.append([*texts, *(text(row) for text in extra.values())])
            title, condition = "", row["condition"]
    header = ["data", "condition", "ranked by", *map(metric_label, METRICS)]
    header += [difference_header(other) for other in references]
    return Table([*header, *extra], rows, [*notes, *_legend(found)] if found else [])


def load(name: str, results: Path | None = None) -> list[Found]:
    """A question's files, one a data set."""
    paths = sorted((results or RESULTS).glob(f"question-{name}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def label(row: Found) -> str:
    """How a row's rule is written."""
    return SINGLE if row["arm"] == SINGLE else rule_label(row["arm"])


def seeds_text(row: Found, metric: str) -> str:
    """Mean ± standard deviation over the seeds that were run."""
    values = [run[metric] for run in row["seeds"].values()]
    return spread(values) if values else NOT_RUN


def difference_header(other: str) -> str:
    """The title of a column of differences."""
    return f"less {other}: {' / '.join(map(metric_label, METRICS))}"


def difference(entry: Found | None) -> str:
    """Differences and their adjusted p-values."""
    if entry is None:
        return ""
    texts = []
    for metric in METRICS:
        p = entry[metric]["p_holm"]
        text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        texts.append(f"{signed(entry[metric]['difference'])} ({text})")
    return " / ".join(texts)


def signed(value: float) -> str:
    """A number with its sign."""
    return f"{value:+.4f}".replace("-", "−")


def _legend(found: list[Found]) -> list[str]:
    tuned = {row["parameters"] for content in found for row in content["rows"]}
    notes = [
        "Mean ± standard deviation over split seeds, MF. Differences are means over the test users "
        "of their metric averaged over seeds; p: two-sided sign-flip test over users, "
        "Holm-corrected over the rows of a data set."
    ]
    if "defaults" in tuned:
        notes.append(
            "Learning rate and weight decay were searched for some of these rows only."
            if len(tuned) > 1
            else "Learning rate and weight decay are defaults that were not searched."
        )
    return notes
