"""The stages of preset ``ours``: what is missing is run, every run is written as it ends."""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.paper._runs import read_json
from benchmarks.paper._uprth_ceiling import MAIN, Ceiling, Neighbours, fit
from benchmarks.paper._uprth_ours import SELECT, Config, split
from benchmarks.paper._uprth_studies import ablate, cold, thin
from benchmarks.paper._uprth_trials import FIRST, Problem, keep, run, search, tested
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.datasets import Steam

ARMS = tuple(FIRST)
STAGES = ("ceiling", "runs", "ablation", "shares", "cold")
PLAIN = "none"  # the arm without pretraining


def ours(work: Path, dataset: Steam, args: argparse.Namespace) -> None:
    """Runs the stages that were asked for, seed by seed."""
    data: Any = dataset[0]
    base = Config(dim=args.dim, pretrain_epochs=args.pretrain_epochs, epochs=args.finetune_epochs)
    chosen: dict[str, Config] | None = None
    trained = set(args.stages) & {"runs", "ablation", "shares", "cold"}
    for seed in args.seeds if set(args.stages) & set(STAGES) else ():
        parts = split(data, seed)
        problem = Problem(*parts, seed)
        _baseline(work / "popularity", problem)
        if "ceiling" in args.stages and not (work / "ceiling" / f"seed{seed}.json").exists():
            model, record = ceiling(problem, parts[1])
            found, result = tested(problem, model)
            keep(work / "ceiling", problem, {**record, **found}, result)
        if not trained:
            continue
        if chosen is None:
            # All arms are searched on the first split; other seeds only repeat what was chosen.
            first = problem if seed == args.search_seed else _problem(data, args.search_seed)
            chosen = search(work, first, base, list(args.arms))
        best = _best(work, list(args.arms))
        if "runs" in args.stages:
            for arm, config in chosen.items():
                if not (work / arm / f"seed{seed}.json").exists():
                    keep(work / arm, problem, *run(problem, config))
        if "cold" in args.stages:
            plain = Config(**{**chosen[PLAIN].__dict__, "encoder": "lightgcn"})
            cold(work, data, seed, {"pretrained": chosen[best]}, plain)
        if "ablation" in args.stages:
            ablate(work, problem, chosen[best])
        if "shares" in args.stages:
            thin(work, parts, problem, chosen[best])


def ceiling(problem: Problem, val: Any) -> tuple[Ceiling, dict[str, Any]]:
    """The supervised model of a seed's validation half."""
    features = Neighbours(problem.graph.data)
    model, record = fit(features, val, problem.seed)
    weights = zip(features.names, model.weight.tolist(), strict=True)
    return model, {"labels": val[MAIN].edge_label_index.size(1), **record, "weights": dict(weights)}


def best_arm(searched: dict[str, list[dict[str, Any]]], arms: list[str]) -> str:
    """The pretraining that ranks best on validation."""
    top = {arm: max(float(trial[SELECT]) for trial in searched[arm]) for arm in arms}
    return max((arm for arm in arms if arm != PLAIN), key=lambda arm: top[arm])


def _best(work: Path, arms: list[str]) -> str:
    return best_arm(read_json(work / "search.json"), arms)


def _problem(data: Any, seed: int) -> Problem:
    return Problem(*split(data, seed), seed)


def _baseline(folder: Path, problem: Problem) -> None:
    if not (folder / f"seed{problem.seed}.json").exists():
        keep(folder, problem, *tested(problem, Popularity(problem.train)))
