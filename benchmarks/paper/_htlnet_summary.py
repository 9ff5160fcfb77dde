"""What is said of cells: their searches, their seeds, and paired tests between them."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.paper._htlnet_cells import HEADS, RULES, Cell
from benchmarks.paper._htlnet_paired import compare, compare_auc, corrected
from benchmarks.paper._htlnet_runs import finished, rows_of
from benchmarks.paper._search import read_json

Found = dict[str, Any]


def cells_in(work: Path) -> list[str]:
    """The cells that were run with a test, in the order of heads and rules."""
    names = [str(Cell(head, rule)) for head in HEADS for rule in RULES]
    return [name for name in names if finished(work / name)]


def cell(folder: Path) -> Found:
    """What is said of a cell: its search, and every seed."""
    runs = finished(folder)
    metric = next(iter(runs.values()))["metric"]
    return {
        "search": _search(folder / "search.json"),
        "params": next(iter(runs.values()))["params"],
        "parameters": next(iter(runs.values()))["parameters"],
        "valid": statistics.mean(run["valid"][metric] for run in runs.values()),
        "seconds": statistics.median(run["seconds"] for run in runs.values()),
        "seeds": {
            str(seed): {name: run[name] for name in ("test", "epoch", "epochs", "seconds")}
            for seed, run in runs.items()
        },
    }


def paired(
    work: Path, names: Sequence[str], against: str, core: str, kinds: Found, **how: bool
) -> Found:
    """Every cell against one of them, on the seeds that both have; Holm over the cells."""
    found: Found = {"core": {}, "auc": {}}
    binary = [target for target, kind in kinds.items() if kind == "binary"]
    loss = f"{core}/{'log_loss' if core in binary else 'squared_error'}"
    tests: Found = {"core": {}, **{target: {} for target in binary}}
    for name in names:
        seeds = common(work / name, work / against)
        if name == against or not seeds:
            continue
        ours, theirs = ([rows_of(work / it, seed) for seed in seeds] for it in (name, against))
        tests["core"][name] = compare(ours, theirs, loss, **how)
        if how.get("same_rows", True):
            for target in binary:
                tests[target][name] = compare_auc(ours, theirs, target)
    found["core"] = corrected(tests.pop("core"))
    found["auc"] = {target: corrected(entries) for target, entries in tests.items() if entries}
    return {"against": against, "loss": loss, **found}


def common(one: Path, other: Path) -> list[int]:
    """The seeds that two cells have."""
    return sorted(finished(one).keys() & finished(other).keys())


def _search(path: Path) -> Found | None:
    content = read_json(path)
    if content is None or not content["trials"]:
        return None
    top = max(content["trials"], key=lambda trial: trial["value"])
    return {
        "budget": content["budget"],
        "trials": len(content["trials"]),
        "params": top["params"],
        "value": -top["value"],
        "seconds": sum(trial["seconds"] for trial in content["trials"]),
    }


def rounded(value: Any) -> Any:
    """Six significant digits are plenty, and make a file that can be read; NaN is null."""
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(entry) for entry in value]
    return value
