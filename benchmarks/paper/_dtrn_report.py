"""The trials and runs of the DTRN benchmark, brought into one JSON file per log."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.paper._assemble import write_results
from benchmarks.paper._dtrn_cells import ARMS, GRID, HEADS, PAIRS, Cell
from benchmarks.paper._dtrn_runs import METRIC
from benchmarks.paper._dtrn_unseen import VARIANTS
from benchmarks.paper._dtrn_worlds import planted
from benchmarks.paper._htlnet_paired import compare, compare_auc, corrected, over_worlds
from benchmarks.paper._htlnet_runs import finished, rows_of
from benchmarks.paper._htlnet_summary import Found, cell, common, rounded
from benchmarks.paper._search import read_json
from benchmarks.speed._machine import machine
from pyg_mtrec.training._report import versions

Pair = tuple[Path, Path]


def report(args: argparse.Namespace) -> list[str]:
    """Writes the files whose runs are there, and returns their names."""
    written = []
    makers = {
        "planted": partial(planted, args.work / "planted"),
        args.dataset if args.dataset != "planted" else "planted-table": partial(
            tables, args.work / args.dataset
        ),
    }
    for name, make in makers.items():
        found = make()
        if found is not None:
            path = args.results / f"dtrn-{name}.json"
            write_results(path, rounded({**found, "machine": machine(), "git": versions()["git"]}))
            written.append(path.name)
    return written


def tables(work: Path) -> Found | None:
    """Heads and arms on a log, and what starts from them."""
    names = [str(Cell(head, arm)) for head in HEADS for arm in ARMS]
    names = [name for name in names if finished(work / name)]
    if not names:
        return None
    first = next(iter(finished(work / names[0]).values()))
    targets = list(first["targets"])
    pairs = {
        f"{head}.{ours} - {head}.{theirs}": (work / f"{head}.{ours}", work / f"{head}.{theirs}")
        for head in HEADS
        for ours, theirs in PAIRS
    }
    rate = read_json(work / "item-rate.json")
    return {
        "dataset": first["provenance"],
        "split": first["split"],
        "targets": targets,
        "metric": METRIC,
        "protocol": _protocol(first),
        "constant": first["constant"],
        "item_rate": rate and {name: rate[name] for name in ("smoothing", "valid", "test")},
        "cells": {name: cell(work / name) for name in names},
        "paired": paired(pairs, targets),
        "conflict": _conflict(work / "conflict"),
        "representations": _representations(work / "representations"),
        "behaviours": _behaviours(work, targets),
        "unseen": _unseen(work, targets),
    }


def paired(pairs: dict[str, Pair], targets: Sequence[str]) -> Found:
    """Losses and areas of every pair on the seeds that both have; Holm over the pairs."""
    seeds = {name: common(*of) for name, of in pairs.items()}
    rows = {
        name: tuple([rows_of(folder, seed) for seed in seeds[name]] for folder in of)
        for name, of in pairs.items()
        if seeds[name]
    }
    losses = [METRIC, *(f"{target}/log_loss" for target in targets)]
    return {
        "loss": {
            loss: corrected({name: compare(of[0], of[1], loss) for name, of in rows.items()})
            for loss in losses
        },
        "auc": {
            target: corrected(
                {name: compare_auc(of[0], of[1], target) for name, of in rows.items()}
            )
            for target in targets
        },
    }


def _conflict(folder: Path) -> Found | None:
    """Shares of negative cosines, and how they differ from the bare head's, seed by seed."""
    runs = {
        name: finished(folder / name)
        for name in [str(Cell(head, arm)) for head in HEADS for arm in ARMS]
        if finished(folder / name)
    }
    if not runs:
        return None
    out: Found = {}
    for name, of in runs.items():
        bare = runs.get(f"{name.partition('.')[0]}.bare", {})
        both = [seed for seed in of if seed in bare]
        blocks = list(next(iter(of.values()))["share"])
        out[name] = {
            "share": {block: [run["share"][block] for run in of.values()] for block in blocks},
            "less_bare": {
                block: over_worlds(
                    [of[seed]["share"][block] - bare[seed]["share"][block] for seed in both]
                )
                for block in blocks
                if both and not name.endswith(".bare") and block in bare[both[0]]["share"]
            },
            "by_epoch": [
                [counts["all"][1] / max(counts["all"][0], 1) for counts in run["epochs"]]
                for run in of.values()
            ],
        }
    return out


def _representations(folder: Path) -> Found | None:
    """Similarities of every seed, and the points of the one that was drawn."""
    runs = list(finished(folder).values())
    if not runs:
        return None

    def over(of: Sequence[Found]) -> Found:
        return {name: [run[name] for run in of] for name in of[0]}

    drawn: Found = next((run["points"] for run in runs if run["points"]), {})
    return {
        "rows": runs[0]["rows"],
        "between": {
            name: over([run["between"][name] for run in runs]) for name in runs[0]["between"]
        },
        "dtrn and ple": over([run["dtrn and ple"] for run in runs]),
        "points": {
            name: [[[float(f"{x:.4g}") for x in point] for point in of] for of in parts]
            for name, parts in drawn.items()
        },
    }


def _behaviours(work: Path, targets: Sequence[str]) -> Found | None:
    """Every set of behaviours beside all of them, and beside none."""
    folders = sorted(path for path in (work / "behaviours").glob("*/*") if finished(path))
    if not folders:
        return None
    pairs = {f"{path.parent.name} {path.name}": (path, work / path.name) for path in folders}
    cells = {f"{path.parent.name} {path.name}": cell(path) for path in folders}
    return {"cells": cells, "paired": paired(pairs, targets)}


def _unseen(work: Path, targets: Sequence[str]) -> Found | None:
    """A target that came later, beside the bare head's way and training from the start."""
    out: Found = {}
    for held in targets:
        folder = work / "unseen" / held
        runs = {name: finished(folder / name) for name in VARIANTS if finished(folder / name)}
        if not runs:
            continue
        out[held] = {
            "learned": {name: next(iter(of.values()))["learned"] for name, of in runs.items()},
            "test": {
                name: {
                    metric: [run["test"][f"{held}/{metric}"] for run in of.values()]
                    for metric in ("log_loss", "auc")
                }
                for name, of in runs.items()
            },
        }
        against = {
            "dtrn-frozen - bare-frozen": (folder / "dtrn-frozen", folder / "bare-frozen"),
            "dtrn-frozen - plain-frozen": (folder / "dtrn-frozen", folder / "plain-frozen"),
            "dtrn-frozen - bare-alone": (folder / "dtrn-frozen", folder / "bare-alone"),
            "dtrn-frozen - dtrn-alone": (folder / "dtrn-frozen", folder / "dtrn-alone"),
            "dtrn-frozen - whole": (folder / "dtrn-frozen", work / "shared-bottom.dtrn"),
        }
        out[held]["paired"] = paired(against, [held])["loss"][f"{held}/log_loss"]
    return out or None


def _protocol(first: Found) -> Found:
    wanted = ("dim", "batch_size", "epochs", "patience", "optimizer", "sequence_length", "balancer")
    return {
        "settings": {name: first["settings"][name] for name in wanted},
        "behaviours": first["behaviours"],
        "grid": GRID,
        "arms": {name: list(options or ()) for name, options in ARMS.items()},
        "select": "mean log loss of the targets on validation, for settings and epoch alike",
        "tests": "rows' losses summed by user; sign-flip over users of means over seeds, Holm;"
        " intervals resample seeds and users; AUC by DeLong, clustered by user",
    }
