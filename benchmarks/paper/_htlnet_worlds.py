"""Reports of the HTLNet benchmark on planted worlds and on the census table."""

import statistics
from pathlib import Path

from benchmarks.paper._htlnet_cells import MODES, PAIRS, SEARCH_WORLD, SHARED
from benchmarks.paper._htlnet_census import describe
from benchmarks.paper._htlnet_paired import compare, over_worlds
from benchmarks.paper._htlnet_runs import finished, rows_of
from benchmarks.paper._htlnet_summary import Found, cell, cells_in, common, paired


def shares(run: Found) -> dict[str, float]:
    """How much of the way from the best constant to the oracle a run goes, by metric."""
    found = {}
    for target, kind in run["targets"].items():
        names = ("log_loss", "auc") if kind == "binary" else ("mse",)
        for name in names:
            model, constant, oracle = (
                _value(run[of], target, name) for of in ("test", "constant", "oracle")
            )
            found[f"{target}/{name}"] = (constant - model) / (constant - oracle)
    return found


def planted(work: Path) -> Found | None:
    """Shares of the gap in both modes, and HTLNet against SharedBottom on the core target."""
    out: Found = {"modes": {}, "search_world": SEARCH_WORLD}
    share: dict[str, dict[str, dict[int, dict[str, float]]]] = {}
    for mode in MODES:
        names = cells_in(work / mode)
        if not names:
            continue
        runs = {name: finished(work / mode / name) for name in names}
        share[mode] = {
            name: {seed: shares(run) for seed, run in of.items()} for name, of in runs.items()
        }
        first = runs[names[0]]
        some = next(iter(first.values()))
        out |= {name: some[name] for name in ("core", "targets", "settings")}
        out["modes"][mode] = {
            "worlds": {
                str(seed): {
                    **{name: run[name] for name in ("constant", "oracle")},
                    "checksum": run["provenance"]["sha256"],
                }
                for seed, run in first.items()
            },
            "cells": {
                name: {
                    **cell(work / mode / name),
                    "share": _spread(list(share[mode][name].values())),
                }
                for name in names
            },
        }
    if not out["modes"]:
        return None
    core = f"{out['core']}/mse"
    for ours, theirs in PAIRS:
        name, gains = f"{ours} - {theirs}", {}
        for mode, of in share.items():
            one, other = work / mode / str(ours), work / mode / str(theirs)
            seeds = common(one, other)
            if not seeds:
                continue
            gains[mode] = {
                seed: of[str(ours)][seed][core] - of[str(theirs)][seed][core] for seed in seeds
            }
            a, b = ([rows_of(folder, seed) for seed in seeds] for folder in (one, other))
            loss = f"{out['core']}/squared_error"
            out["modes"][mode].setdefault("compared", {})[name] = {
                "share": over_worlds(list(gains[mode].values())),
                "users": compare(a, b, loss, same_rows=False),
            }
        both = sorted(set.intersection(*(set(of) for of in gains.values()))) if gains else []
        if len(gains) == len(MODES) and both:
            # With information in the discrete targets, less without it, world by world
            difference = [gains[MODES[0]][seed] - gains[MODES[1]][seed] for seed in both]
            out.setdefault("difference_of_differences", {})[name] = over_worlds(difference)
    return out


def census(work: Path, file: Path | None) -> Found | None:
    """Heads on the census table."""
    names = cells_in(work)
    if not names:
        return None
    first = next(iter(finished(work / names[0]).values()))
    core, kinds = first["core"], first["targets"]
    found: Found = {
        "dataset": first["provenance"] if file is None else describe(file),
        "targets": kinds,
        "core": core,
        "metric": first["metric"],
        "settings": first["settings"],
        "constant": first["constant"],
        "cells": {name: cell(work / name) for name in names},
    }
    if str(SHARED) in names:
        found["paired"] = paired(
            work, names, str(SHARED), core, kinds, same_rows=False, row_is_user=True
        )
    return found


def _value(metrics: Found, target: str, name: str) -> float:
    if name == "mse":
        return float(metrics[f"{target}/rmse"]) ** 2
    return float(metrics[f"{target}/{name}"])


def _spread(runs: list[dict[str, float]]) -> Found:
    return {
        name: {
            "mean": statistics.mean(run[name] for run in runs),
            "sd": statistics.stdev(run[name] for run in runs) if len(runs) > 1 else None,
            "values": [run[name] for run in runs],
        }
        for name in runs[0]
    }
