"""What our UPRTH owes to what: ablation, shares of auxiliary data, cold users and items."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from benchmarks.paper._runs import read_json, write_json
from benchmarks.paper._uprth_ours import METRICS, Config, Graph, Operators, Stage, finetuning
from benchmarks.paper._uprth_trials import (
    Problem,
    evaluator_of,
    finetune,
    keep,
    keep_users,
    pretrain,
    run,
    say,
)
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.metrics import DotProductScorer, Scorer
from pyg_mtrec.transforms import ColdStartSplit, PermuteIds

ABLATION: dict[str, dict[str, Any]] = {
    "no-attention": {"fusion": "none"},
    "plain-sum": {"fusion": "sum"},
    "no-alignment": {"without": ("alignment",)},
    "no-group": {"without": ("group",)},
    "no-befriends": {"without": ("befriends",)},
    "no-category": {"without": ("category",)},
    "no-rating": {"without": ("rating",)},
    "no-popularity": {"strength": None},
    "no-popularity-none": {"strength": None, "pretrain_epochs": 0},
}
RELATIONS: dict[str, EdgeType] = {
    "group": ("user", "in", "group"),
    "befriends": ("user", "befriends", "user"),
    "category": ("item", "in", "category"),
    "rating": ("item", "in", "rating"),
}
SHARES = (0.1, 0.25, 0.5)
# A fifth of the users who can be is unseen, another without a training item, a tenth of the items.
COLD: dict[str, Any] = {"few_users": 0.2, "zero_users": 0.2, "cold_items": 0.1}


def ablate(work: Path, problem: Problem, config: Config) -> None:
    """Each part is left out, all settings kept; without pretraining is an arm of the runs."""
    for name, changes in ABLATION.items():
        folder = work / f"ablation.{name}"
        if not (folder / f"seed{problem.seed}.json").exists():
            keep(folder, problem, *run(problem, replace(config, **changes)))


def thin(
    work: Path,
    split: tuple[HeteroData, HeteroData, HeteroData],
    problem: Problem,
    config: Config,
) -> None:
    """A share of one relation's edges, all others whole."""
    for name, key in RELATIONS.items():
        if key not in problem.train.edge_types:
            continue
        for share in SHARES:
            folder = work / f"share.{name}.{share:g}"
            if not (folder / f"seed{problem.seed}.json").exists():
                train = with_share(split[0], key, share, problem.seed)
                thinned = Problem(train, split[1], split[2], problem.seed)
                record, result = run(thinned, config)
                keep(folder, thinned, {"edges": train[key].num_edges, **record}, result)


def with_share(data: HeteroData, key: EdgeType, share: float, seed: int) -> HeteroData:
    """The graph with a random share of a relation's edges; smaller shares are parts of larger."""
    found = copy.copy(data)
    edges = data[key].edge_index
    order = torch.randperm(edges.size(1), generator=torch.Generator().manual_seed(seed))
    found[key].edge_index = edges[:, order[: max(1, round(share * edges.size(1)))].sort().values]
    return found


def cold(work: Path, data: HeteroData, seed: int, arms: dict[str, Config], plain: Config) -> None:
    """Every bucket ranked by each arm, by LightGCN without pretraining, and by popularity."""
    path = work / "cold" / f"seed{seed}.json"
    found = read_json(path) or {}
    wanted = {**arms, "lightgcn": plain}
    if all(name in found for name in (*wanted, "popularity")):
        return
    split = ColdStartSplit(
        "given", num_support=None, rank_among="cold-items", val_from="test-users", seed=seed, **COLD
    )
    train, val, tests = split(PermuteIds(seed)(data))
    graph, evaluators = Graph(train), {name: evaluator_of(test) for name, test in tests.items()}
    known = {name: Graph(test) for name, test in tests.items()}
    found["split"] = {
        name: {**test.split_report["buckets"][name], "evaluated": evaluators[name].users.numel()}
        for name, test in tests.items()
    }

    def ranked(arm: str, scorers: Mapping[str, Scorer]) -> None:
        found[arm] = {}
        for name, evaluator in evaluators.items():
            result = evaluator(scorers[name])
            keep_users(path.parent / f"{name}.{arm}" / f"seed{seed}.users.pt", train, result)
            found[arm][name] = {metric: result.metrics[metric] for metric in METRICS}
        values = ", ".join(f"{name} {found[arm][name]['recall@10']:.4f}" for name in evaluators)
        say(f"cold, {arm} seed {seed}: {values}")

    ranked("popularity", dict.fromkeys(tests, Popularity(train)))
    valid = evaluator_of(val)
    for arm, config in wanted.items():
        if arm in found:
            continue
        embedding, _ = pretrain(graph, config, seed)
        stage = finetuning(graph, embedding, config, seed + 1_000_000)
        rows = Snapshots(stage, known, config)
        _, record = finetune(rows, valid, config.epochs)  # type: ignore[arg-type]
        ranked(arm, rows.kept[record["epoch"]])
        write_json(path, found)


class Snapshots:
    """A stage that also keeps, whenever it is ranked, how it ranks every bucket."""

    def __init__(self, stage: Stage, known: dict[str, Graph], config: Config) -> None:
        self.stage, self.kept = stage, dict[int, dict[str, DotProductScorer]]()
        self.operators = {name: graph.operators(config.encoder) for name, graph in known.items()}

    def step(self) -> dict[str, float]:
        """One epoch."""
        return self.stage.step()

    def scorer(self) -> DotProductScorer:
        """How warm users are ranked."""
        self.kept[self.stage.epoch] = {
            name: represent(self.stage, operators) for name, operators in self.operators.items()
        }
        return self.stage.scorer()


@torch.no_grad()
def represent(stage: Stage, operators: Operators) -> DotProductScorer:
    """Ranks over a graph's edges; a node without any is what its own row of the table says.

    That row knows the node's groups or categories from pretraining, and nothing else of it.
    """
    own = {name: weight.detach() for name, weight in stage.embedding.weight_dict.items()}
    x_dict = stage.encoder(own, dict(operators)).x_dict
    rows: dict[str, Tensor] = {}
    for name, x in x_dict.items():
        lost = x.abs().sum(dim=1, keepdim=True) == 0
        rows[name] = torch.where(lost, own[name], x)
    return DotProductScorer(rows["user"], rows["item"])
