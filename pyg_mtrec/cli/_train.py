"""``pyg-mtrec train``: settings to a run directory and a table."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pyg_mtrec.cli import _predictions, _table
from pyg_mtrec.cli._settings import resolve
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.runs._labels import arm_label, metric_label


def run(arguments: argparse.Namespace) -> None:
    flags = vars(arguments).copy()
    del flags["command"]
    resume, config = flags.pop("resume"), flags.pop("config")
    settings = resolve(flags, config, resume)
    directory = RunDirectory(str(settings.out))
    directory.check(asdict(settings), resume)  # before torch takes its seconds
    try:
        from pyg_mtrec.training import run_experiment

        progress = sys.stderr.isatty()  # a bar in a log file is noise
        results = run_experiment(settings, directory, resume, _echo, progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_interrupted(directory)) from None
    print(f"\n{report(results, directory.path)}")


def report(results: dict[str, Any], path: Path) -> str:
    r"""Returns the table of a run with what its numbers mean and where its files are."""
    if "targets" in results:
        return _predictions.report(results, path)
    cut_off = results["selection"]["metric"].rpartition("@")[2]
    wanted = [f"{name}@{cut_off}" for name in ("recall", "ndcg", "hit_ratio", "coverage")]
    metrics = [metric for metric in wanted if metric in results["test"]]
    arms, comparison = results.get("arms", {}), results["comparison"]
    stages = results.get("pretraining", {})
    rows = []
    for arm, values in comparison.items():
        trained, seconds = arms.get(arm, {}), results["seconds"].get(arm)
        parts = [part for part in (stages.get(arm), trained) if part]  # the stages of one run
        if "seconds" in trained:  # these count what was before a resume, too
            seconds = sum(sum(part["seconds"].values()) for part in parts)
        rows.append(
            [
                arm_label(arm),
                *(_table.number(values.get(metric)) for metric in metrics),
                "+".join(str(part["epoch"]) for part in parts if "epoch" in part) or "-",
                _table.number(seconds, 1),
            ]
        )
    main = list(arms)[-1] if arms else None
    bold = [index for index, arm in enumerate(comparison) if arm == main]
    header = ["test", *(metric_label(metric) for metric in metrics), "epoch", "seconds"]
    selection, users = results["selection"], results.get("users", {})
    first = "of stage 1 by its own loss, of stage 2 " if stages else ""
    chosen = (
        f"epoch: {first}selected by {metric_label(selection['metric'])}"
        f" (here {_table.number(selection['value'])}) on {selection['split']}"
    )
    if "evaluated" in users:
        chosen += f"; tested on all {users['evaluated']:,} users with test interactions"
    files = {"results": str(path / "results.json")}
    for name in ("pretrain.png", "curve.png", "comparison.png"):
        if (path / name).exists():
            files[name.removesuffix(".png")] = str(path / name)
    return "\n".join(
        [
            _table.render(header, rows, bold),
            "",
            _table.wrap(chosen),
            _table.definitions(metrics, results.get("metrics", {})),
            "",
            _table.pairs(files, indent=""),
        ]
    )


def _echo(line: str) -> None:
    print(line, flush=True)


def _interrupted(directory: RunDirectory) -> str:
    if (directory.path / "config.toml").exists():
        return f"interrupted: continue with 'pyg-mtrec train --resume --out {directory.path}'"
    return "interrupted before anything was written: start again with the same command"
