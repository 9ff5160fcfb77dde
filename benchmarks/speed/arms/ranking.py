"""Full ranking of the test users: the same representations and lists of every library."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.speed._problem import Problem

Step = Callable[[], dict[str, float]]
K = 20
_MAIN = ("user", "interacts", "item")


def pyg_mtrec(problem: Problem) -> Step:
    """Ours, with these two metrics alone."""
    from torch_geometric.data import HeteroData

    from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator

    tensors = problem.tensors
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = len(tensors["user_x"]), len(tensors["item_x"])
    data[_MAIN].edge_index = data[_MAIN].seen_edge_index = tensors["seen"]
    data[_MAIN].edge_label_index = tensors["held_out"]
    evaluator = RankingEvaluator(data, k=(K,), metrics=("recall", "ndcg"), buckets=())
    scorer = DotProductScorer(tensors["user_x"], tensors["item_x"])
    return lambda: dict(evaluator(scorer).metrics)


def pyg(problem: Problem) -> Step:
    """The loop of PyG's LightGCN example, with the metrics that PyG has now."""
    from torch_geometric.metrics import LinkPredNDCG, LinkPredRecall

    tensors = problem.tensors
    user_x, item_x = tensors["user_x"], tensors["item_x"]
    users = _users(tensors["held_out"])
    (seen, history), (labelled, positive) = (
        _of_users(tensors[name], users) for name in ("seen", "held_out")
    )

    def step() -> dict[str, float]:
        metrics = {f"recall@{K}": LinkPredRecall(K), f"ndcg@{K}": LinkPredNDCG(K)}
        for metric in metrics.values():
            metric.to(users.device)
        for start in range(0, len(users), problem.sizes["batch"]):
            end = min(start + problem.sizes["batch"], len(users))
            scores = user_x[users[start:end]] @ item_x.t()
            known = (seen >= start) & (seen < end)
            scores[seen[known] - start, history[known]] = float("-inf")
            wanted = (labelled >= start) & (labelled < end)
            truth = torch.stack([labelled[wanted] - start, positive[wanted]])
            top = scores.topk(K, dim=-1).indices
            for metric in metrics.values():
                metric.update(top, truth)
        return {name: float(metric.compute()) for name, metric in metrics.items()}

    return step


def recbole(problem: Problem) -> Step:
    """RecBole's collector and evaluator, and what its trainer does with a batch of users."""
    for name, kind in (("float", float), ("int", int), ("bool", bool)):
        if name not in np.__dict__:  # it was written for an older numpy
            setattr(np, name, kind)
    from recbole.evaluator import Collector, Evaluator

    tensors, sizes = problem.tensors, problem.sizes
    users = _users(tensors["held_out"])
    # Its ids begin at 1: item 0 is padding, whose score is minus infinity.
    item_x = torch.cat([torch.zeros_like(tensors["item_x"][:1]), tensors["item_x"]])
    user_x, device = tensors["user_x"], torch.device(problem.device)
    histories, wanted = (
        _lists(tensors[name] + torch.tensor([[0], [1]], device=device), users)
        for name in ("seen", "held_out")
    )
    config: dict[str, Any] = {
        "metrics": ["Recall", "NDCG"],
        "topk": [K],
        "metric_decimal_place": 8,
        "device": device,
        "USER_ID_FIELD": "user",
        "ITEM_ID_FIELD": "item",
        "LABEL_FIELD": "label",
        "eval_args": {"mode": "full"},
    }

    class Config(dict[str, Any]):
        """Settings that were not made are none."""

        def __missing__(self, name: str) -> None:
            return None

    found = Config(config)

    def step() -> dict[str, float]:
        collector, evaluator = Collector(found), Evaluator(found)
        for start in range(0, len(users), sizes["batch"]):
            end = min(start + sizes["batch"], len(users))
            history, positive = histories[start:end], wanted[start:end]
            rows = [
                torch.cat([torch.full_like(ids, i) for i, ids in enumerate(lists)])
                for lists in (history, positive)
            ]
            scores = torch.matmul(user_x[users[start:end]], item_x.transpose(0, 1))
            scores[:, 0] = -math.inf
            scores[rows[0], torch.cat(history)] = -math.inf
            collector.eval_batch_collect(scores, None, rows[1], torch.cat(positive))
        result = evaluator.evaluate(collector.get_data_struct())
        return {name: float(value) for name, value in result.items()}

    return step


def bound(problem: Problem) -> Step:
    """No ranking: every score is formed and looked at once by ``topk``."""
    return _scored(problem, lambda scores: scores.topk(K, dim=-1))


def product(problem: Problem) -> Step:
    """No ranking: every score is formed, and the largest of each user is kept."""
    return _scored(problem, lambda scores: scores.amax(dim=-1))


def _scored(problem: Problem, look: Callable[[Tensor], Any]) -> Step:
    users = _users(problem.tensors["held_out"])
    user_x, item_x = problem.tensors["user_x"], problem.tensors["item_x"]

    def step() -> dict[str, float]:
        for chunk in users.split(problem.sizes["batch"]):
            look(user_x[chunk] @ item_x.t())
        return {}

    return step


def _users(held_out: Tensor) -> Tensor:
    return held_out[0].unique()


def _of_users(pairs: Tensor, users: Tensor) -> Tensor:
    """Pairs of these users, whose place among them stands for their id."""
    pairs = pairs[:, torch.isin(pairs[0], users)].unique(dim=1)
    return torch.stack([torch.searchsorted(users, pairs[0].contiguous()), pairs[1]])


def _lists(pairs: Tensor, users: Tensor) -> list[Tensor]:
    place, item = _of_users(pairs, users)
    return list(item.split(torch.bincount(place, minlength=len(users)).tolist()))


ARMS = {
    "pyg_mtrec": pyg_mtrec,
    "PyG": pyg,
    "RecBole": recbole,
    "product and topk": bound,
    "product and maximum": product,
}
