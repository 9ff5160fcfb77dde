"""UPRTH on its authors' terms: their data, loss, optimisers and selection.

    python -m benchmarks.paper.uprth --preset authors --root DIR

Stage ``terms`` trains five steps beside a float64 restatement on plain matrices, from the same
tables and negatives. Stage ``runs`` pretrains and finetunes: with attention, without it, and
without pretraining, for several seeds, and ranks by popularity. The epoch is selected **on the
test set, as the authors do**: these numbers are for standing beside theirs and say nothing of
what a fair selection would find. Each run is written as it ends; a killed benchmark goes on where
it stopped. Stage ``report`` puts what is there into benchmarks/results/uprth-authors-steam.json.

    python -m benchmarks.paper.uprth --preset ours --root DIR

There the test users are halved by a seed, and one half validates: it selects settings and epochs.
Stage ``ceiling`` fits a supervised model of handmade features on that half, ``runs`` searches and
trains without pretraining and with several rules, ``ablation`` leaves parts out, ``shares`` thins
one relation at a time, ``cold`` has users and items that are new when the model is used, and
``report`` writes benchmarks/results/uprth-steam.json.
"""

import argparse
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from benchmarks.paper import _uprth_authors as authors
from benchmarks.paper import _uprth_preset as preset
from benchmarks.paper._assemble import write_results
from benchmarks.paper._runs import read_json, write_json
from benchmarks.paper._uprth_reference import read_steam
from benchmarks.paper._uprth_report import report as ours_report
from benchmarks.paper._uprth_terms import DTYPES, compare
from benchmarks.speed._machine import machine
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.datasets import Steam

STAGES = ("terms", "runs", "report")
EPOCHS = {"authors": (100, 1000), "ours": (100, 100)}  # of pretraining and finetuning, at most
# Their code at mdyfrank/UPRTH@f741aae, run once with attention and 100 pretraining epochs, and once
# without pretraining.
THEIRS: dict[str, Any] = {
    "source": "the authors' code, mdyfrank/UPRTH@f741aae, one run each",
    "loss_at_50": 1.0956,
    "attention": dict(zip(authors.METRICS, (0.1637, 0.2672, 0.0772, 0.1033), strict=True)),
    "no-pretraining": dict(zip(authors.METRICS, (0.1055, 0.1632, 0.0530, 0.0675), strict=True)),
}
LOSS_TOLERANCE = 0.01
SELECTION = "best recall@10 on the test set, as the authors select"


@dataclass(frozen=True)
class Arm:
    """What is trained."""

    pretrains: bool = True
    attention: bool = True


ARMS = {
    "attention": Arm(),
    "no-attention": Arm(attention=False),
    "no-pretraining": Arm(pretrains=False, attention=False),
}


def main() -> None:
    """Runs the stages that were asked for."""
    args = _parse()
    torch.set_num_threads(args.threads)
    work = args.work / f"{args.preset}-steam"
    dataset: Any = Steam(str(args.root / "steam"))
    if args.preset == "ours":
        preset.ours(work, dataset, args)
        if "report" in args.stages:
            path = args.results / "uprth-steam.json"
            write_results(path, ours_report(work, dataset))
            _say(f"{path.name} is written")
        return
    train, test = authors.split(dataset[0])
    if "terms" in args.stages:
        _terms(work, train, args.root / "steam" / "raw")
    if "runs" in args.stages:
        evaluator = authors.evaluator_of(test)
        popularity = evaluator(Popularity(train)).metrics
        write_json(work / "popularity.json", {name: popularity[name] for name in authors.METRICS})
        for seed in args.seeds:
            for arm in args.arms:
                path = work / f"{arm}.seed{seed}.json"
                if not path.exists():
                    write_json(path, run(arm, train, test, seed, args))
                _say(f"{arm} seed {seed}: {_summary(read_json(path))}")
    if "report" in args.stages:
        found = report(work, dataset, authors.evaluator_of(test).users.numel())
        path = args.results / f"uprth-{args.preset}-steam.json"
        write_results(path, found)
        _say(f"{len(found['runs'])} arms in {path.name}")


def run(
    name: str, train: HeteroData, test: HeteroData, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Both stages of an arm; the tables' start and all draws follow from the seed."""
    arm = ARMS[name]
    embedding = authors.tables(train, authors.initial(train, seed), torch.float32)
    first: dict[str, Any] | None = None
    if arm.pretrains:
        stage = authors.pretraining(train, embedding, arm.attention, seed)
        first = authors.pretrain(stage, args.pretrain_epochs)
        losses = first["losses"]
        first["losses"] = {name: [row[name] for row in losses] for name in losses[0]}
        del stage  # and with it the first Adam
    stage = authors.finetuning(train, embedding, seed + 1_000_000)
    second = authors.finetune(stage, authors.evaluator_of(test), args.finetune_epochs)
    return {
        "arm": name,
        "seed": seed,
        "selection": SELECTION,
        "test": second["best"],
        "pretraining": first,
        "finetuning": second,
        "machine": machine(),
    }


def report(work: Path, dataset: Steam, test_users: int) -> dict[str, Any]:
    """All that was run, with means over seeds, beside popularity and the authors' numbers."""
    runs: dict[str, dict[str, Any]] = {}
    for arm in ARMS:
        paths = sorted(work.glob(f"{arm}.seed*.json"))
        if not paths:
            continue
        seeds = [read_json(path) for path in paths]
        values = {metric: [seed["test"][metric] for seed in seeds] for metric in authors.METRICS}
        runs[arm] = {
            "seeds": {str(seed["seed"]): _short(seed) for seed in seeds},
            "mean": {metric: statistics.mean(found) for metric, found in values.items()},
            "sd": {
                metric: statistics.stdev(found) if len(found) > 1 else None
                for metric, found in values.items()
            },
        }
    found: dict[str, Any] = {
        "benchmark": "uprth",
        "preset": "authors",
        "dataset": {"name": "steam", "sha256": dataset.raw_sha256, "known": dataset.known},
        "protocol": "published split, no validation; all items ranked, training items masked",
        "test_users": test_users,
        "selection": SELECTION,
        "settings": {
            "dim": authors.DIM,
            "std": authors.STD,
            "l2": authors.L2,
            "reduction": "sum",
            "weights": [authors.MAIN_WEIGHT, authors.SIDE_WEIGHT],
            "lr": [authors.PRETRAIN_LR, authors.FINETUNE_LR],
        },
        "terms": read_json(work / "terms.json"),
        "popularity": read_json(work / "popularity.json"),
        "authors": THEIRS,
        "runs": runs,
        "machine": machine(),
    }
    if "attention" in runs:
        found["beside_the_authors"] = _beside(runs["attention"], test_users)
    return found


def _beside(arm: dict[str, Any], test_users: int) -> dict[str, Any]:
    """Where the means over seeds stand to the authors' one run."""
    theirs, recall = THEIRS["attention"]["recall@10"], arm["mean"]["recall@10"]
    found: dict[str, Any] = {
        "recall@10": {
            "difference": recall - theirs,
            # Of one run's mean over users, each of whom has one test item.
            "standard_error": math.sqrt(theirs * (1 - theirs) / test_users),
        }
    }
    losses = [seed["pretraining"]["loss_at_50"] for seed in arm["seeds"].values()]
    losses = [loss for loss in losses if loss is not None]
    if losses:
        difference = statistics.mean(losses) / THEIRS["loss_at_50"] - 1
        found["loss_at_50"] = {
            "mean": statistics.mean(losses),
            "relative_difference": difference,
            "within_tolerance": abs(difference) <= LOSS_TOLERANCE,
        }
    return found


def _terms(work: Path, train: HeteroData, raw: Path) -> None:
    path = work / "terms.json"
    found = read_json(path) or {}
    problem = read_steam(raw)
    for attention in (True, False):
        for dtype in DTYPES:
            name = f"{str(dtype).removeprefix('torch.')}{'' if attention else ', no attention'}"
            if name not in found:
                found[name] = compare(train, problem, dtype, attention)
                write_json(path, found)
            largest = max(found[name]["largest_relative_difference"].values())
            verdict = "equal" if found[name]["equal"] else "NOT EQUAL"
            _say(f"terms, {name}: largest relative difference {largest:.1e}, {verdict}")


def _short(found: dict[str, Any]) -> dict[str, Any]:
    """A run without its curves, but for every tenth epoch."""
    first, second = found["pretraining"], found["finetuning"]
    out = {
        "test": found["test"],
        "finetuning": {name: second[name] for name in ("epochs", "stopped", "seconds", "looks")},
    }
    if first is not None:
        totals = first["losses"]["total"]
        out["pretraining"] = {
            **{name: first[name] for name in ("epochs", "stopped", "seconds")},
            # Epochs count from 0, as in the authors' log.
            "losses": {name: values[::10] for name, values in first["losses"].items()},
            "loss_at_50": totals[50] if len(totals) > 50 else None,
        }
    return out


def _summary(found: dict[str, Any]) -> str:
    parts = [f"{name} {found['test'][name]:.4f}" for name in authors.METRICS]
    first = found["pretraining"]
    if first is not None and first["epochs"] > 50:
        parts.insert(0, f"loss at 50 {first['losses']['total'][50]:.4f}")
    return ", ".join([*parts, f"best epoch {found['test']['epoch']}"])


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=list(EPOCHS), default="authors")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/uprth"), help="single runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parents[1] / "results")
    parser.add_argument("--stages", nargs="+", choices=sorted({*STAGES, *preset.STAGES}))
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, *preset.ARMS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--search-seed", type=int, default=0, help="split that settings come from")
    parser.add_argument("--dim", type=int, default=64, help="width of our tables")
    parser.add_argument("--pretrain-epochs", type=int, help="at most")
    parser.add_argument("--finetune-epochs", type=int, help="at most")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    authors_own = args.preset == "authors"
    stages = STAGES if authors_own else (*preset.STAGES, "report")
    arms = tuple(ARMS) if authors_own else preset.ARMS
    for name, known in (("stages", stages), ("arms", arms)):
        found = getattr(args, name) or list(known)
        if unknown := [each for each in found if each not in known]:
            parser.error(f"preset '{args.preset}' has no {name} {', '.join(unknown)}")
        setattr(args, name, found)
    first, second = EPOCHS[args.preset]
    args.pretrain_epochs = first if args.pretrain_epochs is None else args.pretrain_epochs
    args.finetune_epochs = second if args.finetune_epochs is None else args.finetune_epochs
    return args


if __name__ == "__main__":
    main()
