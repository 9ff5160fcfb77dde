"""What the runs of preset ``ours`` found, in one JSON file; what is missing is left out."""

import math
import re
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper._assemble import DRAWS, RESAMPLES, as_entry
from benchmarks.paper._runs import read_json
from benchmarks.paper._uprth_ours import EVERY, METRICS, PATIENCE, SELECT
from benchmarks.paper._uprth_preset import ARMS, PLAIN, best_arm
from benchmarks.paper._uprth_studies import ABLATION, COLD, RELATIONS, SHARES
from benchmarks.paper._uprth_trials import FIRST, SECOND
from benchmarks.speed._machine import machine
from pyg_mtrec.datasets import Steam
from pyg_mtrec.metrics import PairedComparison, holm

POPULARITY, CEILING = "popularity", "ceiling"
Seeds = dict[int, dict[str, Any]]
Found = dict[str, Any]


def report(work: Path, dataset: Steam) -> Found:
    """All that was run: means over seeds, and paired comparisons on the same test users."""
    runs = {folder.name: _seeds(folder) for folder in sorted(work.glob("*/"))}
    runs = {name: seeds for name, seeds in runs.items() if seeds and name != "cold"}
    searched = read_json(work / "search.json") or {}
    arms = [arm for arm in ARMS if arm in searched]
    full = best_arm(searched, arms) if set(arms) - {PLAIN} else None
    if full in runs:  # no mean over other seeds stands beside it
        runs = {
            name: {seed: run for seed, run in seeds.items() if seed in runs[full]}
            for name, seeds in runs.items()
        }
        runs = {name: seeds for name, seeds in runs.items() if seeds}
    found: Found = {
        "benchmark": "uprth",
        "preset": "ours",
        "dataset": {"name": "steam", "sha256": dataset.raw_sha256, "known": dataset.known},
        "protocol": (
            "published training part; the test users halved by a seed into validation and test;"
            " all items ranked, training items masked"
        ),
        "selection": {
            "metric": SELECT,
            "settings": (
                "validation of split seed 0; other seeds repeat them, and about half of their test"
                " users were in that validation"
            ),
            "epoch": "each seed's own validation",
            "looks": {"every": EVERY, "patience": PATIENCE},
        },
        "search": {
            "first_stage": FIRST,
            "second_stage": SECOND,
            "trials": {arm: len(trials) for arm, trials in searched.items()},
            "chosen": {
                arm: max(trials, key=lambda trial: float(trial[SELECT]))
                for arm, trials in searched.items()
            },
        },
        "full": full,
        "arms": {name: _arm(runs[name]) for name in (POPULARITY, CEILING, *ARMS) if name in runs},
        "machine": machine(),
    }
    found["comparisons"] = _family(
        work,
        runs,
        {
            f"{arm} - {against}": (arm, against)
            for arm in (CEILING, *ARMS)
            for against in (POPULARITY, PLAIN)
            if arm != against and (arm, against) != (CEILING, PLAIN)
        },
    )
    if full is not None:
        found["must"] = _must(found, full)
        parts = {name: f"ablation.{name}" for name in ABLATION}
        found["ablation"] = {
            "full": full,
            "arms": {name: _arm(runs[key]) for name, key in parts.items() if key in runs},
            "comparisons": _family(
                work, runs, {name: (key, full) for name, key in [*parts.items(), (PLAIN, PLAIN)]}
            ),
            "attention": _attention(runs.get(full, {})),
        }
        found["shares"] = _shares(work, runs, full)
    found["cold"] = _cold(work)
    return found


def _seeds(folder: Path) -> Seeds:
    names = {path: re.fullmatch(r"seed(\d+)", path.stem) for path in folder.glob("seed*.json")}
    found = {int(name[1]): read_json(path) for path, name in names.items() if name is not None}
    return dict(sorted(found.items()))


def _arm(seeds: Seeds) -> Found:
    """Each seed's numbers and their mean; curves are left out."""
    out: Found = {
        "seeds": {str(seed): _short(run) for seed, run in seeds.items()},
        "users": {str(seed): run["users"] for seed, run in seeds.items()},
    }
    for part in ("valid", "test"):
        values = {name: [_of(run, part)[name] for run in seeds.values()] for name in METRICS}
        out[part] = {name: spread_of(found) for name, found in values.items()}
    return out


def _of(run: Found, part: str) -> dict[str, float]:
    """Validation or test of a run: a trained one validates while it is finetuned."""
    found: dict[str, float] = run["finetuning"]["valid"] if _trained(run, part) else run[part]
    return found


def _trained(run: Found, part: str) -> bool:
    return part == "valid" and "finetuning" in run


def _short(run: Found) -> Found:
    out: Found = {"test": run["test"]}
    if "finetuning" in run:
        second = run["finetuning"]
        out |= {"valid": second["valid"], "epoch": second["epoch"], "seconds": second["seconds"]}
        if run["pretraining"] is not None:
            first = run["pretraining"]
            out["pretraining"] = {"losses": first["last"], "seconds": first["seconds"]}
    for key in ("penalty", "labels", "weights", "valid", "edges"):
        if key in run:
            out[key] = run[key]
    return out


def spread_of(values: list[float]) -> dict[str, float | None]:
    """Mean and standard deviation over seeds."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "sd": sd}


def _family(work: Path, runs: Mapping[str, Seeds], pairs: Mapping[str, tuple[str, str]]) -> Found:
    """Metric to what is compared on the seeds of both; p-values corrected within a metric."""
    out: Found = {}
    for metric in METRICS:
        found = {}
        for name, (ours, theirs) in pairs.items():
            seeds = [seed for seed in runs.get(ours, {}) if seed in runs.get(theirs, {})]
            if seeds:
                found[name] = _compare(work, ours, theirs, seeds, metric)
        for entry, p in zip(
            found.values(),
            holm([entry["p"] for entry in found.values()]) if found else [],
            strict=True,
        ):
            entry["p_holm"] = p
        out[metric] = found
    return out


def _compare(work: Path, ours: str, theirs: str, seeds: list[int], metric: str) -> Found:
    a, b = (
        [
            (users["users"], users["metrics"][metric])
            for users in (_load(work / arm / f"seed{seed}.users.pt") for seed in seeds)
        ]
        for arm in (ours, theirs)
    )
    draws = [torch.Generator().manual_seed(0) for _ in range(len(seeds) + 1)]
    count: dict[str, Any] = {"num_draws": DRAWS, "num_resamples": RESAMPLES}
    out = as_entry(PairedComparison.from_seeds(a, b, draws[0], **count))
    # The users of one split alone: no user is in it twice.
    out["by_seed"] = {
        str(seed): {
            key: value
            for key, value in as_entry(
                PairedComparison.from_seeds([a[at]], [b[at]], draws[at + 1], **count)
            ).items()
            if key in ("difference", "low", "high", "p")
        }
        for at, seed in enumerate(seeds)
    }
    # The interval's middle; the test weighs a user of several seeds once.
    out["of_seeds"] = statistics.mean(seed["difference"] for seed in out["by_seed"].values())
    return out


def _load(path: Path) -> Any:
    return torch.load(path, weights_only=True)


def _must(found: Found, full: str) -> Found:
    """Whether pretraining is above none, and not below popularity by a standard error."""
    entries = found["comparisons"]["recall@10"]
    plain, base = entries.get(f"{full} - {PLAIN}"), entries.get(f"{full} - {POPULARITY}")
    out: Found = {}
    if plain is not None:
        out["above_no_pretraining"] = plain["of_seeds"] > 0
        out["above_no_pretraining_by_interval"] = plain["low"] > 0
    if base is not None:
        arm = found["arms"][POPULARITY]
        recall, users = arm["test"]["recall@10"]["mean"], min(arm["users"].values())
        error = math.sqrt(recall * (1 - recall) / users)
        out["standard_error"] = error
        out["not_below_popularity"] = base["of_seeds"] > -error
        out["above_popularity_by_interval"] = base["low"] > 0
    return out


def _attention(seeds: Seeds) -> Found:
    """The maps of the first seed."""
    return next((run["attention"] for run in seeds.values() if run.get("attention")), {})


def _shares(work: Path, runs: Mapping[str, Seeds], full: str) -> Found:
    """What pretraining gains over none with a share of a relation, the others whole."""
    out: Found = {}
    for relation in RELATIONS:
        keys = {f"{share:g}": f"share.{relation}.{share:g}" for share in SHARES}
        keys = {"0": f"ablation.no-{relation}", **keys, "1": full}
        keys = {share: key for share, key in keys.items() if key in runs}
        if any(key.startswith("share.") for key in keys.values()):
            out[relation] = {
                "arms": {share: _arm(runs[key]) for share, key in keys.items()},
                "gain": _family(work, runs, {share: (key, PLAIN) for share, key in keys.items()}),
            }
    return out


def _cold(work: Path) -> Found:
    """Means over seeds for every bucket and ranker, and pretraining less the others."""
    seeds = _seeds(work / "cold")
    whole = {seed: run for seed, run in seeds.items() if {"pretrained", "lightgcn"} <= run.keys()}
    if not whole:
        return {}
    first = next(iter(whole.values()))
    others = [arm for arm in first if arm not in ("split", "pretrained")]
    comparisons = {}
    for bucket in first["pretrained"]:
        names = {arm: f"cold/{bucket}.{arm}" for arm in ("pretrained", *others)}
        comparisons[bucket] = _family(
            work,
            dict.fromkeys(names.values(), whole),
            {arm: (names["pretrained"], names[arm]) for arm in others},
        )
    return {
        "comparisons": comparisons,
        "shares": COLD,
        "seeds": list(whole),
        "split": {str(seed): run["split"] for seed, run in whole.items()},
        "arms": {
            arm: {
                bucket: {
                    metric: spread_of([run[arm][bucket][metric] for run in whole.values()])
                    for metric in METRICS
                }
                for bucket in first[arm]
            }
            for arm in first
            if arm != "split"
        },
    }
