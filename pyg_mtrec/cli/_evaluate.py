"""``pyg-mtrec evaluate``: a finished run, ranked again."""

import argparse
from collections.abc import Mapping
from typing import Any

from pyg_mtrec.cli import _predictions, _table
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.runs._labels import metric_label


def run(arguments: argparse.Namespace) -> None:
    directory = RunDirectory(arguments.run_dir)
    results = directory.read_results()  # before torch takes its seconds
    from pyg_mtrec.training.evaluation import evaluate_run

    print(report(evaluate_run(directory, arguments.root), results))


def report(found: dict[str, Any], results: dict[str, Any]) -> str:
    r"""Returns the tables of all metrics and of the history lengths."""
    test, recorded = found["test"], found["recorded"]
    if "targets" in results:
        return f"{_predictions.evaluation(found, results)}\n\n{_verdict(test, recorded)}"
    names = list(dict.fromkeys(metric.partition("@")[0] for metric in test))
    cut_offs = sorted({int(metric.rpartition("@")[2]) for metric in test})
    by_cut_off = [
        [metric_label(name), *(_table.number(test.get(f"{name}@{k}")) for k in cut_offs)]
        for name in names
    ]
    parts = [_table.render(["test", *(f"@{k}" for k in cut_offs)], by_cut_off)]
    selected = results["selection"]["metric"].rpartition("@")[2]
    shown = [f"{name}@{selected}" for name in ("recall", "ndcg") if f"{name}@{selected}" in test]
    if found.get("buckets") and shown:
        by_bucket = [
            [
                bucket,
                f"{int(values['users']):,}" if "users" in values else "-",
                *(_table.number(values.get(metric)) for metric in shown),
            ]
            for bucket, values in found["buckets"].items()
        ]
        header = ["training interactions", "users", *(metric_label(metric) for metric in shown)]
        parts.append(_table.render(header, by_bucket))
    parts.append(_table.definitions(names, results.get("metrics", {})))
    parts.append(_verdict(test, recorded))
    return "\n\n".join(parts)


def _verdict(test: Mapping[str, float], recorded: Mapping[str, float | None]) -> str:
    both = [
        (value, other)
        for name, value in test.items()
        if (other := recorded.get(name)) is not None  # what has no value is null
    ]
    apart = max((abs(value - other) / max(1.0, abs(other)) for value, other in both), default=0.0)
    if apart < 5e-7:
        return "same numbers as in results.json"
    return f"results.json holds other numbers: they differ by up to {apart:.2g}"
