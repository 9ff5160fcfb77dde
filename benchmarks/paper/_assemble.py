"""The trials and runs of the PMTRec benchmark, brought into one JSON file per data set.

A work folder holds one folder per cell (``mf.all.pmtrec``, ``ease``, ...) with ``search.json``,
``seedN.json`` and ``seedN.users.pt``, beside ``sensitivity/`` and ``cost.json``. What is missing is
left out, and the tables say that it was not run.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.paper._cells import ABLATION, OWN, PRESETS, YARDSTICKS
from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import PairedComparison, holm
from pyg_mtrec.runs._atomic import write_atomic
from pyg_mtrec.training._report import versions

CUTS = (5, 10, 20, 40)
METRICS = [f"{name}@{k}" for name in ("recall", "ndcg") for k in CUTS]
TESTED = ("recall@20", "ndcg@20")
PMTREC = "mf.all.pmtrec"
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Lower ends of the bins of history lengths, which double every other bin.
EDGES = [0, 1, 2, 3, 4, *(size for power in range(1, 20) for size in (3 * 2**power, 4 * 2**power))]
DRAWS, RESAMPLES = 10_000, 1000  # sign vectors of a test, resamples of an interval

Pairs = Mapping[str, str]  # cell to the cell that it is held against


def assemble(work: Path, dataset: str) -> dict[str, Any]:
    """Returns what the tables and plots of a data set need, without any value of a single user.

    Args:
        work: The folder of the data set's cells.
        dataset: Its name.

    Raises:
        InputError: If two cells that are compared were not tested on the same users.
    """
    runs = {folder.name: finished(folder) for folder in sorted(work.glob("*")) if _is_cell(folder)}
    cells = {
        name: _cell(name, work / name, seeds)
        for name, seeds in runs.items()
        if seeds or (work / name / "search.json").exists()
    }
    tasks = PRESETS[dataset].tasks
    cost = _read(work / "cost.json")
    content: dict[str, Any] = rounded(
        {
            "dataset": dataset,
            "tasks": {"main": tasks[0], "t1": tasks[1], "t2": tasks[2]},
            "protocol": _protocol(cells, runs),
            "machine": cost["machine"] if cost else None,
            "git": versions()["git"],
            "cells": cells,
            "cost": cost,
            "sensitivity": _sensitivity(work / "sensitivity"),
            "weights": _weights(work / PMTREC, runs.get(PMTREC, {})),
            "paired": _paired(work, runs),
        }
    )
    return content


def write_results(path: Path, content: dict[str, Any]) -> None:
    """Replaces a file as a whole; lists and dicts that hold no others take one line each."""
    text = re.sub(
        r"[\[{][^\[\]{}]*[\]}]",
        lambda found: re.sub(r"\s*\n\s*", " ", found[0]),
        json.dumps(content, indent=1),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, lambda file: file.write(f"{text}\n".encode()))


def _is_cell(folder: Path) -> bool:
    return folder.is_dir() and (folder.name in YARDSTICKS or folder.name.count(".") == 2)


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else None


def finished(folder: Path) -> dict[int, dict[str, Any]]:
    """Seed to its run; one whose users are not there was not finished."""
    runs = {int(path.stem.removeprefix("seed")): path for path in folder.glob("seed*.json")}
    done = {seed: runs[seed] for seed in sorted(runs) if _users_path(folder, seed).exists()}
    return {seed: _read(path) for seed, path in done.items()}


def _users_path(folder: Path, seed: int) -> Path:
    return folder / f"seed{seed}.users.pt"


def _cell(name: str, folder: Path, seeds: dict[int, dict[str, Any]]) -> dict[str, Any]:
    search = searched(_read(folder / "search.json"))
    cell: dict[str, Any] = {
        "search": search,
        "seeds": {str(seed): shortened(run, search) for seed, run in seeds.items()},
    }
    # Shown for the main encoder only
    if name in YARDSTICKS or name.startswith(("mf.all.", "mf.bpr.")):
        cell["buckets"] = mean_buckets([run["buckets"] for run in seeds.values()])
        cell["curve"] = [round(value, 5) for value in seeds.get(0, {}).get("curve", [])]
    return cell


def searched(content: dict[str, Any] | None) -> dict[str, Any] | None:
    if content is None or not content["trials"]:
        return None
    trials = content["trials"]
    best = max(trials, key=lambda trial: trial["value"])
    return {
        "space": content["space"],
        "budget": content["budget"],
        "trials": len(trials),
        "pruned": sum(trial["pruned"] for trial in trials),
        "best": best["params"],
        "value": best["value"],
        "seconds": round(sum(trial["seconds"] for trial in trials), 1),
    }


def shortened(run: dict[str, Any], search: dict[str, Any] | None) -> dict[str, Any]:
    kept = {"test": {metric: run["test"][metric] for metric in METRICS}}
    if "valid" in run:
        kept["valid"] = {metric: run["valid"][metric] for metric in TESTED}
    if "selection" in run:
        kept |= {"epoch": run["selection"]["epoch"], "epochs": run["epochs"]}
    # The parameters are the search's as a rule: they are said once then.
    if search is None or run["params"] != search["best"]:
        kept["params"] = run["params"]
    return {**kept, "seconds": run["seconds"]}


def mean_buckets(seeds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Mean over the seeds that had users of such a history."""
    means: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(name for seed in seeds for name in seed):
        found = [seed[name] for seed in seeds if seed.get(name, {}).get("users", 0) > 0]
        if found:
            means[name] = {
                metric: sum(bucket[metric] for bucket in found) / len(found)
                for metric in ("users", *TESTED)
            }
    return means


def _protocol(
    cells: dict[str, dict[str, Any]], runs: dict[str, dict[int, dict[str, Any]]]
) -> dict[str, Any]:
    """The settings that all trained cells share, and the budgets of their searches."""
    trained = [
        run["settings"] for seeds in runs.values() for run in seeds.values() if "curve" in run
    ]
    shared = {
        name: value
        for name, value in (trained[0] if trained else {}).items()
        if name in _SHARED and all(settings.get(name) == value for settings in trained)
    }
    budgets = sorted({cell["search"]["budget"] for cell in cells.values() if cell["search"]})
    seeds = sorted({seed for found in runs.values() for seed in found})
    return {**shared, "trials": budgets, "seeds": seeds, "draws": DRAWS, "resamples": RESAMPLES}


_SHARED = (
    "dim",
    "layers",
    "at",
    "scale",
    "mask_inactive",
    "batch_size",
    "epochs",
    "patience",
    "select_metric",
    "valid_users",
    "auxiliary",
    "message_edges",
)


def _sensitivity(folder: Path) -> dict[str, Any] | None:
    points = [_read(path) for path in sorted(folder.glob("*.json"))]
    if not points:
        return None
    space = OWN["pmtrec"]
    params = points[0]["params"]
    return {
        "alpha": sorted({*space["alpha"][::2], *(point["alpha"] for point in points)}),
        "tau": sorted({*space["tau"], *(point["tau"] for point in points)}),
        "params": {name: params[name] for name in ("lr", "weight_decay")},
        "seed": 0,
        "value": {f"{point['alpha']:g},{point['tau']:g}": point["value"] for point in points},
    }


def _weights(folder: Path, seeds: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
    """PMTRec's mean weights over seed 0's epochs, and each user's over the run."""
    recorded = {seed: run for seed, run in seeds.items() if run.get("weights")}
    if 0 not in recorded:
        return None
    tasks, epochs = recorded[0]["weights"]["tasks"], recorded[0]["weights"]["epochs"]
    history, weights = [], []
    for seed in recorded:
        users = torch.load(_users_path(folder, seed), weights_only=True)
        touched = users["weights"].sum(0) > 0  # a user whom no step met has no weight
        history.append(users["history"][touched])
        weights.append(users["weights"][:, touched])
    return {
        "tasks": tasks,
        "epochs": {
            table: [[round(value, 4) for value in epoch[table]] for epoch in epochs]
            for table in ("user", "item")
        },
        "users": _by_history(tasks, torch.cat(history), torch.cat(weights, dim=1)),
    }


def _by_history(tasks: list[str], history: Tensor, weights: Tensor) -> dict[str, Any]:
    """Quantiles of ``weights`` [T, n] of users whose histories have about the same length."""
    longest = int(history.max()) if history.numel() else 0
    edges = EDGES[: 2 + sum(edge <= longest for edge in EDGES[1:])]
    places = torch.bucketize(history, torch.tensor(edges[1:]), right=True)
    levels = torch.tensor(QUANTILES, dtype=torch.double)
    quantiles: dict[str, list[list[float] | None]] = {task: [] for task in tasks}
    count = [int((places == place).sum()) for place in range(len(edges) - 1)]
    for place, size in enumerate(count):
        inside = weights[:, places == place].double()
        for task, values in zip(tasks, inside, strict=True):
            found = (
                [round(value, 4) for value in values.quantile(levels).tolist()] if size else None
            )
            quantiles[task].append(found)
    return {"history_edges": edges, "quantiles": quantiles, "count": count}


def _paired(work: Path, runs: dict[str, dict[int, dict[str, Any]]]) -> dict[str, Any]:
    """Every table's cells held against PMTRec, each table and metric a family of tests."""
    done = [name for name, seeds in runs.items() if seeds]
    return {
        "against": PMTREC,
        "metrics": _family(work, runs, _table_2(done)),
        "ablation": _family(work, runs, _ablation(done)),
        "table3": _family(work, runs, _table_3(done)),
    }


def _table_2(done: Iterable[str]) -> Pairs:
    ablations = [f"mf.all.{rule}" for rule in ABLATION]
    rows = [name for name in done if name in YARDSTICKS or name.startswith(("mf.all.", "mf.bpr."))]
    return {name: PMTREC for name in rows if name != PMTREC and name not in ablations}


def _ablation(done: Iterable[str]) -> Pairs:
    against = {f"mf.all.{rule}": PMTREC for rule in (*ABLATION, "sum", "mean")}
    against["mf.all.sum-adamw"] = "mf.all.pmtrec-adamw"
    return {name: against[name] for name in done if name in against}


def _table_3(done: Iterable[str]) -> Pairs:
    pairs = {}
    for name in done:
        encoder, _, rest = name.partition(".")
        tasks, _, rule = rest.partition(".")
        if tasks == "bpr":
            pairs[name] = f"{encoder}.all.pmtrec"
        elif rule in ("sum", "rlw"):
            pairs[name] = f"{encoder}.{tasks}.pmtrec"
    return pairs


def _family(
    work: Path, runs: dict[str, dict[int, dict[str, Any]]], pairs: Pairs
) -> dict[str, dict[str, Any]]:
    """Metric to cell to how it compares, cell minus what it is held against."""
    metrics: dict[str, dict[str, Any]] = {}
    for metric in TESTED:
        found = {}
        for cell, against in pairs.items():
            seeds = [seed for seed in runs[cell] if seed in runs.get(against, {})]
            if seeds:
                found[cell] = {"against": against, **compare(work, cell, against, seeds, metric)}
        adjusted = holm([entry["p"] for entry in found.values()])
        for entry, p in zip(found.values(), adjusted, strict=True):
            entry["p_holm"] = p
        metrics[metric] = found
    return metrics


def compare(work: Path, cell: str, against: str, seeds: list[int], metric: str) -> dict[str, Any]:
    """A cell less another, on the users of the same seeds."""
    # A generator of its own: a comparison does not depend on what else was run.
    generator = torch.Generator().manual_seed(0)
    try:
        result = PairedComparison.from_seeds(
            _values(work / cell, seeds, metric),
            _values(work / against, seeds, metric),
            generator,
            num_draws=DRAWS,
            num_resamples=RESAMPLES,
        )
    except InputError as error:
        raise InputError(f"{cell} against {against}: {error}") from error
    return as_entry(result)


def as_entry(result: PairedComparison) -> dict[str, Any]:
    """A comparison as it is written down."""
    low, high = result.interval
    return {
        "difference": result.mean_difference,
        "relative": result.relative_difference,
        "p": result.p_value,
        "low": low,
        "high": high,
        "wins": result.wins,
        "ties": result.ties,
        "losses": result.losses,
        "users": result.num_users,
        "seeds": result.num_seeds,
    }


def _values(folder: Path, seeds: list[int], metric: str) -> list[tuple[Tensor, Tensor]]:
    files = [torch.load(_users_path(folder, seed), weights_only=True) for seed in seeds]
    return [(users["users"], users["metrics"][metric]) for users in files]


def rounded(content: Any) -> Any:
    """Six digits after the point, or six significant ones of what is below 1e-4."""
    if isinstance(content, float):
        return round(content, 6) if abs(content) >= 1e-4 else float(f"{content:.6g}")
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    return [rounded(value) for value in content] if isinstance(content, list) else content
