"""Trials and runs of our UPRTH: a search on validation, then each arm and seed tested once.

A folder holds one subfolder per arm with ``seedN.json`` and ``seedN.users.pt``, the test users'
values, and ``search.json``. What is there is never run again.
"""

import copy
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from benchmarks.paper._runs import read_json, write_json
from benchmarks.paper._uprth_ours import (
    EVERY,
    METRICS,
    PATIENCE,
    SELECT,
    Config,
    Graph,
    Stage,
    finetuning,
    pretraining,
    tables,
)
from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator, RankingResult, Scorer
from pyg_mtrec.nn import NodeEmbedding, TaskHypergraphEncoder

# What every arm may choose from on validation: as many trials for each.
FIRST: dict[str, list[dict[str, Any]]] = {
    "none": [{"pretrain_epochs": 0, "dim": dim} for dim in (64, 16)],
    "constant": [{"rule": "constant", "pretrain_l2": l2} for l2 in (0.1, 0.03)],
    "sum": [{"rule": "sum", "pretrain_l2": l2} for l2 in (0.1, 0.03)],
    "pmtrec": [{"rule": "pmtrec", "pretrain_l2": 0.03, "tau": tau} for tau in (1e-3, 1e-5)],
    # Tasks that weigh more than the alignment
    "auxiliary": [{"rule": "constant", "pretrain_l2": 0.03, "side": side} for side in (2.0, 4.0)],
}
SECOND: list[dict[str, Any]] = [
    *(
        {"encoder": encoder, "strength": strength, "lr": 0.003, "decay": 0.0}
        for encoder, strengths in {
            "uprth": (0.02, 0.1, 0.25),
            "mf": (0.1, 0.25),
            "lightgcn": (0.02, 0.25),
        }.items()
        for strength in strengths
    ),
    {"encoder": "uprth", "strength": 0.25, "lr": 0.01, "decay": 1e-5},
]


class Problem:
    """A seed's split of Steam, or of a graph like it."""

    def __init__(self, train: HeteroData, val: HeteroData, test: HeteroData, seed: int) -> None:
        self.train, self.seed, self.graph = train, seed, Graph(train)
        self.val, self.test = evaluator_of(val), evaluator_of(test)


def evaluator_of(data: HeteroData) -> RankingEvaluator:
    """All labelled users, all items, training items masked."""
    return RankingEvaluator(data, k=(10, 20), metrics=("recall", "ndcg"))


def pretrain(
    graph: Graph, config: Config, seed: int
) -> tuple[NodeEmbedding, dict[str, Any] | None]:
    """Tables after the first stage, and what came of it."""
    embedding = tables(graph.data, config, seed)
    if config.pretrain_epochs == 0:
        return embedding, None
    began, stage = time.perf_counter(), pretraining(graph, embedding, config, seed)
    losses = [stage.step() for _ in range(config.pretrain_epochs)]
    return embedding, {
        "losses": {name: [row[name] for row in losses[::EVERY]] for name in losses[0]},
        "last": losses[-1],
        "seconds": time.perf_counter() - began,
    }


def finetune(
    stage: Stage, evaluator: RankingEvaluator, epochs: int
) -> tuple[DotProductScorer, dict[str, Any]]:
    """Trains until validation has not gained for a while; returns the best epoch's ranking."""
    began, looks = time.perf_counter(), []
    best: tuple[float, int, DotProductScorer] | None = None
    for epoch in range(epochs + 1):
        if epoch > 0:
            stage.step()
        if epoch % EVERY == 0:
            scorer = stage.scorer()
            metrics = evaluator(scorer).metrics
            looks.append({"epoch": epoch, **{name: metrics[name] for name in METRICS}})
            if best is None or metrics[SELECT] > best[0]:
                best = metrics[SELECT], epoch, copy.deepcopy(scorer)
            if epoch - best[1] >= EVERY * PATIENCE:
                break
    assert best is not None
    return best[2], {
        "epoch": best[1],
        "valid": next(look for look in looks if look["epoch"] == best[1]),
        "looks": looks,
        "seconds": time.perf_counter() - began,
    }


def search(work: Path, problem: Problem, base: Config, arms: list[str]) -> dict[str, Config]:
    """The configuration of every arm that ranks best on validation."""
    path = work / "search.json"
    found = read_json(path) or {}
    for arm in arms:
        trials = found.setdefault(arm, [])
        for number, first in enumerate(FIRST[arm]):
            wanted = [trial for trial in _settings(first) if trial not in _tried(trials)]
            if not wanted:
                continue
            embedding, _ = pretrain(problem.graph, replace(base, **first), problem.seed)
            for settings in wanted:
                config = replace(base, **settings)
                stage = _second(problem, embedding, config)
                _, record = finetune(stage, problem.val, config.epochs)
                trials.append({"settings": settings, **record["valid"]})
                write_json(path, found)
            say(f"search, {arm}: {number + 1} of {len(FIRST[arm])}")
    best = {arm: max(found[arm], key=lambda trial: float(trial[SELECT])) for arm in arms}
    return {arm: replace(base, **trial["settings"]) for arm, trial in best.items()}


def run(problem: Problem, config: Config) -> tuple[dict[str, Any], RankingResult]:
    """Both stages; the test set is read once, with the epoch that validation selected."""
    embedding, first = pretrain(problem.graph, config, problem.seed)
    attention = None
    if first is not None and config.fusion == "attention":
        attention = attention_map(problem.graph, embedding)
    scorer, second = finetune(_second(problem, embedding, config), problem.val, config.epochs)
    result = problem.test(scorer)
    return {
        "settings": asdict(config),
        "pretraining": first,
        "finetuning": second,
        "attention": attention,
        "test": {name: result.metrics[name] for name in METRICS},
    }, result


def tested(problem: Problem, scorer: Scorer) -> tuple[dict[str, Any], RankingResult]:
    """What needs no training here."""
    valid, result = problem.val(scorer), problem.test(scorer)
    return {
        "valid": {name: valid.metrics[name] for name in METRICS},
        "test": {name: result.metrics[name] for name in METRICS},
    }, result


def keep(
    folder: Path, problem: Problem, record: dict[str, Any], result: RankingResult
) -> dict[str, Any]:
    """Writes a run, its users by raw id, the record last."""
    keep_users(folder / f"seed{problem.seed}.users.pt", problem.train, result)
    record = {"seed": problem.seed, "users": result.users.numel(), **record}
    write_json(folder / f"seed{problem.seed}.json", record)
    values = ", ".join(f"{name} {record['test'][name]:.4f}" for name in METRICS)
    say(f"{folder.name} seed {problem.seed}: {values}")
    return record


def keep_users(path: Path, data: HeteroData, result: RankingResult) -> None:
    """Writes every user's metrics by raw id, for comparisons in pairs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    users = {
        "users": data["user"].raw_id[result.users],
        "metrics": {name: result.per_user[name] for name in METRICS},
    }
    torch.save(users, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


@torch.no_grad()
def attention_map(graph: Graph, embedding: NodeEmbedding) -> dict[str, Any]:
    """The share that nodes give to each task, in bins of their training interactions.

    An item is a hyperedge of its users. Its tasks' shares are given as quantiles over the items
    whose number of users is in a bin; for users, who have one item each, over all.
    """
    incidence = graph.incidence
    found = TaskHypergraphEncoder().attention_weights(embedding(), incidence)
    out = {}
    for name, (views, weights) in found.items():
        edges = graph.data["user", "interacts", "item"].edge_index
        degree = torch.bincount(edges[int(name == "item")], minlength=weights.size(0))
        bins = []
        for low, high in _bins(int(degree.max())):
            inside = weights[(degree >= low) & (degree < high)]  # [n, T]
            if inside.size(0):
                at = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
                bins.append(
                    {
                        "low": low,
                        "high": high,
                        "nodes": inside.size(0),
                        "quantiles": inside.quantile(at, dim=0).t().tolist(),  # [T, 5]
                    }
                )
        out[name] = {"tasks": [graph.data[tuple(view.split(" "))].task for view in views]}
        out[name]["bins"] = bins
    return out


def say(line: str) -> None:
    """Prints with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _second(problem: Problem, embedding: NodeEmbedding, config: Config) -> Stage:
    start = copy.deepcopy(embedding)  # several trials go on from the same tables
    return finetuning(problem.graph, start, config, problem.seed + 1_000_000)


def _settings(first: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return ({**first, **second} for second in SECOND)


def _tried(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [trial["settings"] for trial in trials]


def _bins(largest: int) -> list[tuple[int, int]]:
    """Doubling: 0, 1, 2 to 3, 4 to 7 and so on."""
    ends = [0, *(2**power for power in range(largest.bit_length() + 1))]
    return list(itertools.pairwise(ends))
