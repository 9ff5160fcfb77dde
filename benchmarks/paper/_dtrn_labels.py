"""How the tables and figures of the DTRN benchmark write what was found."""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.paper._htlnet_labels import HEAD_LABELS, p_text

Found = dict[str, Any]
DATASETS = {"kuairand-slice": "the slice of KuaiRand", "retailrocket": "Retailrocket"}
ARM_LABELS = {
    "bare": "bare",
    "plain": "one Transformer",
    "trm": "DTRN without TIM",
    "tim": "DTRN without TRM",
    "dtrn": "DTRN",
}
MODE_LABELS = {"sequences": "set", "sequences-control": "control"}
BLOCK_LABELS = {
    "all": "everything shared",
    "tables": "tables",
    "head": "head",
    "bottom": "bottom",
    "rows": "single rows of tables",
}


def load(results: Path, name: str) -> Found:
    """What a results file holds, nothing if there is none."""
    path = results / f"dtrn-{name}.json"
    found: Found = json.loads(path.read_text()) if path.exists() else {}
    return found


def label(cell: str) -> str:
    """How a cell is written."""
    head, _, arm = cell.partition(".")
    return f"{HEAD_LABELS[head]}, {ARM_LABELS[arm]}"


def pair_label(pair: str) -> str:
    """How a pair of cells of one head is written."""
    ours, theirs = pair.split(" - ")
    head, _, arm = ours.partition(".")
    return f"{HEAD_LABELS[head]}: {ARM_LABELS[arm]} less {ARM_LABELS[theirs.partition('.')[2]]}"


def target_text(target: str) -> str:
    """How a target or a behaviour is written."""
    return target.replace("_", " ")


def minus(text: str) -> str:
    """A text with real minus signs."""
    return text.replace("-", "−")


def mean_interval(entry: Found | None, scale: float = 1.0, digits: int = 3, sign: str = "") -> str:
    """A mean over seeds with its 95 % interval."""
    if entry is None:
        return ""
    mean = f"{scale * entry['mean']:{sign}.{digits}f}"
    if "low" not in entry:
        return minus(mean)
    low, high = (f"{scale * entry[end]:{sign}.{digits}f}" for end in ("low", "high"))
    return minus(f"{mean} ({low} to {high})")


def with_p(entry: Found | None, scale: float = 1.0, digits: int = 3) -> str:
    """A difference over seeds with its 95 % interval and p-value."""
    text = mean_interval(entry, scale, digits, "+")
    if entry is None or "p" not in entry:
        return text
    return f"{text}, {p_text(p_value(entry))}"


def p_value(entry: Found) -> float:
    """The p-value of a test, by Holm's method where it is one of a family."""
    return float(entry["p_holm"] if "p_holm" in entry else entry["p"])


def difference(entry: Found | None, digits: int = 4) -> str:
    """A difference of losses with its 95 % interval and p-value."""
    if entry is None:
        return ""
    low, high = (f"{entry[end]:+.{digits}f}" for end in ("low", "high"))
    p = p_text(p_value(entry))
    return minus(f"{entry['difference']:+.{digits}f} ({low} to {high})") + f", {p}"


def spread3(values: list[float]) -> str:
    """Mean ± standard deviation, with three digits."""
    if len(values) == 1:
        return minus(f"{values[0]:.3f}")
    return minus(f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}")
