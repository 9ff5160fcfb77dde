"""The report of the DTRN benchmark on planted worlds: shares of gaps, and what relevance was found.

A share is that of the way to the best possible predictions: from the best constant, and from the
same head without any behaviour.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.paper._dtrn_cells import ARMS, HEADS, MODES, PAIRS, PLANTED_GRID, SEARCH_WORLD, Cell
from benchmarks.paper._dtrn_runs import METRIC
from benchmarks.paper._htlnet_paired import compare, corrected, over_worlds
from benchmarks.paper._htlnet_runs import finished, rows_of
from benchmarks.paper._htlnet_summary import Found, cell, common
from benchmarks.paper._search import read_json


def share(model: float, start: float, best: float) -> float:
    """How much of the way from a start to the best possible value a model goes."""
    return (start - model) / (start - best)


def shares(run: Found, bare: Found | None) -> dict[str, dict[str, float]]:
    """Metric to the shares of the gap from the constant, and from the bare head of this world."""
    metrics = [METRIC, *(f"{target}/log_loss" for target in run["targets"])]
    metrics += [f"{target}/auc" for target in run["targets"]]
    starts = {"constant": run["constant"]} | ({} if bare is None else {"bare": bare["test"]})
    return {
        metric: {
            name: share(run["test"][metric], start[metric], run["oracle"][metric])
            for name, start in starts.items()
        }
        for metric in metrics
    }


def planted(work: Path) -> Found | None:
    """Shares, paired differences and relevance in the set and in its control."""
    out: Found = {"modes": {}, "search_world": SEARCH_WORLD, "grid": PLANTED_GRID}
    gained: dict[str, dict[str, dict[int, Found]]] = {}
    for mode in MODES:
        cells = [Cell(head, arm) for head in HEADS for arm in ARMS]
        runs = {one: finished(work / mode / str(one)) for one in cells}
        runs = {one: of for one, of in runs.items() if of}
        if not runs:
            continue
        gained[mode] = {
            str(one): {
                seed: shares(run, runs.get(Cell(one.head, "bare"), {}).get(seed))
                for seed, run in of.items()
            }
            for one, of in runs.items()
        }
        first = next(iter(runs.values()))
        some = next(iter(first.values()))
        out |= {name: some[name] for name in ("targets", "metric")}
        out.setdefault("settings", some["settings"])
        out["modes"][mode] = {
            "worlds": {
                str(seed): {
                    "checksum": run["provenance"]["sha256"],
                    **{name: run[name] for name in ("constant", "oracle")},
                }
                for seed, run in first.items()
            },
            "cells": {
                str(one): {
                    **_without_search(cell(work / mode / str(one)), mode),
                    "share": _spread(list(gained[mode][str(one)].values())),
                }
                for one in runs
            },
            "paired": _paired(work / mode, list(runs), gained[mode]),
            "relevance": _relevance(work / mode, list(runs)),
        }
    if not out["modes"]:
        return None
    out["difference_of_differences"] = _second(out["modes"])
    return out


def _without_search(found: Found, mode: str) -> Found:
    """The control has no search of its own."""
    return found if mode == MODES[0] else {**found, "search": None}


def _paired(work: Path, cells: Sequence[Cell], gained: dict[str, dict[int, Found]]) -> Found:
    """Every pair of arms of every head, loss by loss: over worlds, and over users within them."""
    found: Found = {}
    losses = list(next(iter(next(iter(gained.values())).values())))
    for head in dict.fromkeys(one.head for one in cells):
        for ours, theirs in PAIRS:
            one, other = str(Cell(head, ours)), str(Cell(head, theirs))
            seeds = common(work / one, work / other)
            if not seeds:
                continue
            a, b = ([rows_of(work / it, seed) for seed in seeds] for it in (one, other))
            for metric in losses:
                values = [
                    gained[one][seed][metric]["constant"] - gained[other][seed][metric]["constant"]
                    for seed in seeds
                ]
                entry: Found = {"seeds": seeds, "share": over_worlds(values)}
                if metric.endswith("log_loss"):
                    entry["users"] = compare(a, b, metric, same_rows=False)
                found.setdefault(metric, {})[f"{one} - {other}"] = entry
    for entries in found.values():
        users = {name: entry["users"] for name, entry in entries.items() if "users" in entry}
        corrected(users)
        corrected({n: e["share"] for n, e in entries.items() if "p" in e["share"]})
    return found


def _second(modes: Found) -> Found:
    """What a pair gains in the set, less what it gains in the control, world by world."""
    found: Found = {}
    if len(modes) < len(MODES):
        return found
    one, other = (modes[mode]["paired"] for mode in MODES)
    for metric, entries in one.items():
        for name, entry in entries.items():
            against = other.get(metric, {}).get(name)
            both = [] if against is None else [s for s in entry["seeds"] if s in against["seeds"]]
            if against is not None and both:
                values = [
                    entry["share"]["values"][entry["seeds"].index(seed)]
                    - against["share"]["values"][against["seeds"].index(seed)]
                    for seed in both
                ]
                found.setdefault(metric, {})[name] = over_worlds(values)
    return found


def _relevance(work: Path, cells: Sequence[Cell]) -> Found:
    """What targets lose without a behaviour over worlds, and how that agrees with the truth."""
    found: Found = {}
    for one in cells:
        paths = sorted((work / str(one) / "relevance").glob("seed*.json"))
        runs = [read_json(path) for path in paths]
        if runs:
            found[str(one)] = {
                "planted": runs[0]["planted"],
                "increase": {
                    target: {
                        name: {"mean": statistics.mean(values), "values": values}
                        for name in of
                        for values in [[run["increase"][target][name] for run in runs]]
                    }
                    for target, of in runs[0]["increase"].items()
                },
                **{
                    name: over_worlds([run[name] for run in runs])
                    for name in ("pearson", "spearman", "on_planted")
                },
            }
    return found


def _spread(runs: Sequence[dict[str, dict[str, float]]]) -> Found:
    return {
        metric: {
            start: over_worlds([run[metric][start] for run in runs if start in run[metric]])
            for start in ("constant", "bare")
            if any(start in run[metric] for run in runs)
        }
        for metric in runs[0]
    }
