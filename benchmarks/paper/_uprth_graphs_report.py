"""What the benchmark on other graphs found, in one JSON file a data set, and its tables."""

import json
from pathlib import Path
from typing import Any

from benchmarks.paper._assemble import (
    DRAWS,
    RESAMPLES,
    TESTED,
    compare,
    finished,
    mean_buckets,
    rounded,
    searched,
    shortened,
)
from benchmarks.paper._search import read_json
from benchmarks.paper._tables import NOT_RUN, Table, spread
from benchmarks.paper._uprth_graphs_arms import ARMS, HEAVIER, PENALTY, PRESETS
from benchmarks.speed._machine import machine
from pyg_mtrec.metrics import holm
from pyg_mtrec.runs._labels import is_ln2, metric_label
from pyg_mtrec.training._report import versions

YARDSTICKS = ("popularity", "ease")
AGAINST = ("lightgcn", "joint", *YARDSTICKS)
LABELS = {
    "popularity": "popularity",
    "ease": "EASE",
    "lightgcn": "LightGCN",
    "joint": "LightGCN, BPR and the relations as tasks, sum",
    "uprth-sum": "UPRTH pretraining, sum, then LightGCN",
    "uprth-auxiliary": f"UPRTH pretraining, auxiliary tasks ×{HEAVIER:g}, then LightGCN",
    "uprth-own": "UPRTH pretraining, sum, then its own convolution",
}
PRETRAINED = [name for name, arm in ARMS.items() if arm.rule is not None]
Found = dict[str, Any]


def report(work: Path, dataset: str, provenance: Found) -> Found:
    """All that was run, without any value of a single user."""
    runs = {name: finished(work / name) for name in LABELS}
    search = {name: searched(read_json(work / name / "search.json")) for name in LABELS}
    cells = {
        name: {
            "search": search[name],
            "seeds": {str(seed): _short(run, search[name]) for seed, run in seeds.items()},
            "buckets": mean_buckets([run["buckets"] for run in seeds.values()]),
            "curve": seeds[0].get("curve", []) if 0 in seeds else [],
        }
        for name, seeds in runs.items()
        if seeds or search[name]
    }
    preset = PRESETS[dataset]
    comparisons = _comparisons(work, runs)
    content: Found = rounded(
        {
            "benchmark": "uprth-graphs",
            "dataset": {name: provenance.get(name) for name in ("name", "sha256", "known")},
            "protocol": {
                "tasks": ["bpr", *preset.tasks],
                "pretext": ["alignment", *preset.pretext],
                "dim": preset.dim,
                "layers": preset.layers,
                "batch_size": preset.batch_size,
                "epochs": preset.epochs,
                "patience": preset.patience,
                "valid_users": preset.valid_users,
                "pretrain_l2": PENALTY,
                "search": "validation of split seed 0; the other seeds repeat what was chosen",
                "selection": "recall@20 of a validation sample selects the epoch",
                "masking": "training and validation interactions",
                "test": "sign-flip over users of their mean over seeds, Holm within a metric",
                "draws": DRAWS,
                "resamples": RESAMPLES,
                "seeds": sorted({seed for seeds in runs.values() for seed in seeds}),
            },
            "cells": cells,
            "comparisons": comparisons,
            "verdict": _verdict(search, comparisons),
            "machine": machine(),
            "git": versions()["git"],
        }
    )
    return content


def _short(run: Found, search: Found | None) -> Found:
    kept = shortened(run, search)
    if "pretraining" in run:
        first = run["pretraining"]
        names = ("epoch", "epochs", "loss", "losses", "guess", "kept", "start")
        kept["pretraining"] = {name: first[name] for name in names}
        kept["pretraining"]["seconds"] = sum(first["seconds"].values())
    return kept


def _comparisons(work: Path, runs: dict[str, dict[int, Found]]) -> Found:
    """Metric to differences of arms, over the seeds of both."""
    pairs = [(arm, against) for arm in PRETRAINED for against in AGAINST]
    pairs += [("joint", "lightgcn"), *(("lightgcn", name) for name in YARDSTICKS)]
    out: Found = {}
    for metric in TESTED:
        found = {}
        for arm, against in pairs:
            seeds = [seed for seed in runs[arm] if seed in runs[against]]
            if seeds:
                found[f"{arm} - {against}"] = compare(work, arm, against, seeds, metric)
        adjusted = holm([entry["p"] for entry in found.values()]) if found else []
        for entry, p in zip(found.values(), adjusted, strict=True):
            entry["p_holm"] = p
        out[metric] = found
    return out


def _verdict(search: dict[str, Found | None], comparisons: Found) -> Found:
    """How the pretraining that validation puts first stands to training without it."""
    values = {name: found["value"] for name in PRETRAINED if (found := search[name])}
    if not values:
        return {}
    best = max(values, key=values.__getitem__)
    out: Found = {"best": best}
    for metric in TESTED:
        for against in ("lightgcn", "joint"):
            entry = comparisons[metric].get(f"{best} - {against}")
            if entry is not None:
                sides = {"above": entry["low"] > 0, "below": entry["high"] < 0}
                by_interval = next((side for side, found in sides.items() if found), "undecided")
                out.setdefault(metric, {})[against] = by_interval
    return out


def table(results: Path) -> Table:
    """Every arm on every data set, and how it stands to LightGCN and to the joint training."""
    contents = _load(results)
    if not any(contents.values()):
        return Table([], [])
    rows, notes = [], [_LEGEND]
    for dataset, found in contents.items():
        title, most = dataset, _most_seeds(found)
        for arm, label in LABELS.items():
            values = [_values(found, arm, metric) for metric in TESTED]
            number = len(values[0])
            texts = [spread(each) if each else NOT_RUN for each in values]
            if 0 < number < most:
                texts = [f"{text} ({number} seed{'s' * (number > 1)})" for text in texts]
            less = [
                _difference(found, arm, against, metric)
                for against in ("lightgcn", "joint")
                for metric in TESTED
            ]
            rows.append([title, label, *texts, *less, _trials(found, arm)])
            title = ""
        notes += _said(dataset, found)
    header = ["data", "ranked by", *map(metric_label, TESTED)]
    for other in ("LightGCN", "the joint training"):
        header += [f"{metric_label(metric)} less {other}" for metric in TESTED]
    return Table([*header, "trials"], rows, notes)


def stages(results: Path) -> Table:
    """What pretraining left, and where finetuning went from there, on split seed 0."""
    rows = []
    for dataset, found in _load(results).items():
        title = dataset
        for arm in ("lightgcn", "joint", *PRETRAINED):
            cell = found.get("cells", {}).get(arm, {})
            run = cell.get("seeds", {}).get("0")
            if run is None:
                continue
            first = run.get("pretraining", {})
            start = f"{first['start']:.4f}" if first else ""
            best = f"{max(cell['curve']):.4f} @ {run['epoch']}"
            chosen = ", ".join(
                f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}"
                for k, v in cell["search"]["best"].items()
            )
            rows.append([title, LABELS[arm], chosen, _losses(first), start, best])
            title = ""
    header = ["data", "arm", "chosen", "pretraining losses", "start", "best epoch"]
    note = (
        "Split seed 0. Losses of pretraining, in brackets what a guess costs."
        " Start and best epoch: Recall@20 on the validation sample, before finetuning and after."
    )
    return Table(header, rows, [note] if rows else [])


_LEGEND = (
    "Mean ± standard deviation over split seeds, each of whose test parts was read once."
    " Differences are means over the test users of their metric averaged over seeds, with 95 %"
    " intervals that resample users and seeds; p: two-sided sign-flip test over users,"
    " Holm-corrected over all comparisons of a data set and metric. Trials: on validation of split"
    " seed 0."
)


def _load(results: Path) -> dict[str, Found]:
    paths = {name: results / f"uprth-{name}.json" for name in PRESETS if name != "planted"}
    return {
        name: json.loads(path.read_text()) if path.exists() else {} for name, path in paths.items()
    }


def _values(found: Found, arm: str, metric: str) -> list[float]:
    runs = found.get("cells", {}).get(arm, {}).get("seeds", {}).values()
    return [run["test"][metric] for run in runs]


def _most_seeds(found: Found) -> int:
    return max((len(cell["seeds"]) for cell in found.get("cells", {}).values()), default=0)


def _difference(found: Found, arm: str, against: str, metric: str) -> str:
    entry = found.get("comparisons", {}).get(metric, {}).get(f"{arm} - {against}")
    if entry is None:
        return ""
    p = "p < 0.001" if entry["p_holm"] < 0.001 else f"p = {entry['p_holm']:.3f}"
    return f"{entry['difference']:+.4f} ({entry['low']:+.4f} to {entry['high']:+.4f}, {p})"


def _trials(found: Found, arm: str) -> str:
    search = found.get("cells", {}).get(arm, {}).get("search")
    if not search:
        return ""
    short = search["trials"] < search["budget"]
    return f"{search['trials']} of {search['budget']}" if short else str(search["trials"])


def _losses(first: Found) -> str:
    texts = []
    for task, loss in first.get("losses", {}).items():
        guess = first["guess"][task]
        beside = "" if guess is None else f" ({'ln 2' if is_ln2(guess) else f'{guess:.3f}'})"
        texts.append(f"{task.removeprefix('hyperedge-')} {loss:.3f}{beside}")
    return ", ".join(texts)


def _said(dataset: str, found: Found) -> list[str]:
    verdict = found.get("verdict", {})
    parts = [
        f"{word} {LABELS[against]} in {metric_label(metric)}"
        for metric in TESTED
        for against, side in verdict.get(metric, {}).items()
        for word in ["undecided against" if side == "undecided" else side]
    ]
    if not parts:
        return []
    return [
        f"{dataset}: best on validation is {LABELS[verdict['best']]}. By the 95 % interval it is"
        f" {'; '.join(parts)}."
    ]
