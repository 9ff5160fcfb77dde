"""The trials and runs of the HTLNet benchmark, brought into one JSON file per log.

A folder per cell (``htlnet.gradient-adjustment``, ...) holds ``search.json``, ``seedN.json`` and
the test rows ``seedN.rows.pt``; rows are compared in pairs here and are not written.
"""

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.paper._assemble import write_results
from benchmarks.paper._htlnet_cells import (
    ABLATION,
    GRID,
    HEADS,
    HTLNET,
    OWN,
    RULES,
    SHARED,
    WIDE_GRID,
    table_study,
    target_studies,
)
from benchmarks.paper._htlnet_paired import corrected
from benchmarks.paper._htlnet_runs import finished
from benchmarks.paper._htlnet_summary import Found, cell, cells_in, paired, rounded
from benchmarks.paper._htlnet_worlds import census, planted
from benchmarks.speed._machine import machine
from pyg_mtrec.training._report import versions


def report(args: argparse.Namespace) -> list[str]:
    """Writes the files whose runs are there, and returns their names."""
    written = []
    makers = {
        args.dataset if args.dataset != "planted" else "planted-table": partial(_table, args),
        "planted": partial(planted, args.work / "planted"),
        "census": partial(census, args.work / "census", args.census),
    }
    for name, make in makers.items():
        found = make()
        if found is not None:
            path = args.results / f"htlnet-{name}.json"
            write_results(path, rounded({**found, "machine": machine(), "git": versions()["git"]}))
            written.append(path.name)
    return written


def _table(args: argparse.Namespace) -> Found | None:
    """Heads and rules, and what starts from them."""
    work = args.work / args.dataset
    names = cells_in(work)
    if not names:
        return None
    runs = finished(work / names[0])
    first = next(iter(runs.values()))
    core, kinds = first["core"], first["targets"]
    found: Found = {
        "dataset": first["provenance"],
        "split": first["split"],
        "targets": kinds,
        "core": core,
        "metric": first["metric"],
        "protocol": _protocol(args.seeds, first),
        "constant": first["constant"],
        "cells": {name: cell(work / name) for name in names},
    }
    others = [name for name in names if not name.startswith("htlnet.")]
    references = {"shared": str(SHARED)} if str(SHARED) in names else {}
    if others:  # chosen on validation, like everything
        references["best_other"] = min(others, key=lambda name: found["cells"][name]["valid"])
    found["paired"] = {
        role: paired(work, names, name, core, kinds) for role, name in references.items()
    }
    found["rank"] = _rank(work, names, found)
    if (work / str(HTLNET)).exists():
        found["ablation"] = _ablation(work, core, kinds)
    found["maps"] = _maps(work / "maps")
    found["targets_changed"] = _targets(args, work)
    return found


def _rank(work: Path, names: list[str], found: Found) -> Found:
    """Where HTLNet stands among the heads under each rule, and with each head's best rule."""
    metric, core = found["metric"], found["core"]
    fields = {rule: [name for name in names if name.endswith(f".{rule}")] for rule in RULES}
    valid = {name: found["cells"][name]["valid"] for name in names}
    of_head = [[name for name in names if name.startswith(f"{head}.")] for head in HEADS]
    fields["best"] = [min(some, key=valid.__getitem__) for some in of_head if some]
    out: Found = {}
    for rule, field in fields.items():
        own = next((name for name in field if name.startswith("htlnet.")), None)
        others = [name for name in field if name != own]
        if own is None or not others:
            continue
        seeds = {name: found["cells"][name]["seeds"] for name in field}
        means = {
            name: statistics.mean(run["test"][metric] for run in seeds[name].values())
            for name in field
        }
        each = [
            1 + sum(seeds[name][seed]["test"][metric] < run["test"][metric] for name in others)
            for seed, run in seeds[own].items()
            if all(seed in seeds[name] for name in others)
        ]
        rival = min(others, key=valid.__getitem__)
        out[rule] = {
            "order": sorted(field, key=means.__getitem__),
            "rank": 1 + sum(means[name] < means[own] for name in others),
            "of": len(field),
            "rank_by_seed": each,
            "htlnet": own,
            "rival": rival,  # the best other one on validation
            "test": paired(work, [own], rival, core, found["targets"]),
        }
    corrected({rule: entry["test"]["core"][entry["htlnet"]] for rule, entry in out.items()})
    return out


def _ablation(work: Path, core: str, kinds: Found) -> Found | None:
    """Every variant against the whole."""
    names = [f"ablation/{name}" for name in ABLATION if finished(work / "ablation" / name)]
    if not names or not finished(work / str(HTLNET)):
        return None
    return {
        "cells": {name.partition("/")[2]: cell(work / name) for name in names},
        "paired": paired(work, names, str(HTLNET), core, kinds),
    }


def _maps(folder: Path) -> Found | None:
    """Validation over projection and gamma, with the curves of the epochs."""
    found: Found = {"value": {}, "curves": {}, "seeds": 0}
    for path in sorted(folder.glob("*,*")):
        runs = list(finished(path).values())
        if runs:
            metric = runs[0]["metric"]
            values = [run["valid"][metric] for run in runs]
            found["value"][path.name] = statistics.mean(values)
            found["curves"][path.name] = [run["curve"] for run in runs]
            found["seeds"], found["metric"] = max(found["seeds"], len(runs)), metric
            found["params"] = {n: v for n, v in runs[0]["params"].items() if "rule." not in n}
    return found if found["value"] else None


def _targets(args: argparse.Namespace, work: Path) -> Found:
    """HTLNet and SharedBottom on other sets of targets, and the core target alone."""
    out: Found = {}
    study = table_study(args.dataset, args.root, args.impressions)
    folders = {
        name: work if name == "3" else work / "targets" / name
        for name in target_studies(study, args.dataset)
    }
    for name, folder in folders.items():
        names = [str(one) for one in (HTLNET, SHARED) if finished(folder / str(one))]
        if not names:
            continue
        first = next(iter(finished(folder / names[0]).values()))
        core, kinds = first["core"], first["targets"]
        out[name] = {
            "targets": kinds,
            "core": core,
            "metric": first["metric"],
            "constant": first["constant"],
            "cells": {each: cell(folder / each) for each in names},
        }
        if len(names) == 2:
            out[name]["paired"] = paired(folder, names[:1], names[1], core, kinds)
    if finished(work / "targets" / "alone"):
        alone = "targets/alone"
        names = [str(one) for one in (HTLNET, SHARED) if finished(work / str(one))]
        one = next(iter(finished(work / alone).values()))
        out["alone"] = {
            "targets": one["targets"],
            "core": one["core"],
            "metric": one["metric"],
            "cells": {"single-task.sum": cell(work / alone)},
            # The core target's losses are on the same rows whatever else is predicted.
            "paired": {
                name: paired(work, [alone], name, one["core"], one["targets"]) for name in names
            },
        }
    return out


def _protocol(seeds: Sequence[int], first: Found) -> Found:
    return {
        "settings": {
            name: value
            for name, value in first["settings"].items()
            if name in ("dim", "batch_size", "epochs", "patience", "optimizer", "encoder")
        },
        "grid": GRID,
        "own": OWN,
        "wide_grid": WIDE_GRID,
        "seeds": list(seeds),
        "select": "the core target's error on validation, for settings and epoch alike",
        "tests": "rows' losses summed by user; sign-flip over users of means over seeds, Holm;"
        " intervals resample seeds and users; AUC by DeLong, clustered by user",
    }
