"""What can be known of a test user beyond popularity: a supervised model with handmade features.

A conditional logit over the catalogue, of features that training interactions, groups, friends,
categories and ratings give. It is fitted on the labels of validation users, its penalty chosen by
cross-validation among them, and says how much a model without those labels can hope for.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

MAIN = ("user", "interacts", "item")
PENALTIES = (1e-3, 1e-2, 1e-1)
FOLDS = 3
SMOOTHING = 10.0  # counts of popularity that are mixed into a share of few neighbours
CHUNK = 512
Features = Callable[[Tensor], Tensor]


class Neighbours:
    """Features of pairs of users and items, [b, I, F], from what is known in training."""

    names = (
        "log popularity",
        "never bought",
        "log popularity, if in a group",
        "group-mates",
        "friends",
        "category",
        "rating label",
        "group-mates of the item's buyers",
        "friends of the item's buyers",
        "group-mates, weighed by group size",
    )

    def __init__(self, train: HeteroData) -> None:
        self.bought = _incidence(train, MAIN)  # [U, I]
        popularity = np.asarray(self.bought.sum(axis=0)).ravel()
        self.popularity = popularity / max(popularity.sum(), 1)
        self.log = np.log(popularity + 1.0)
        self.never = (popularity == 0).astype(float)
        relations = {train[key].get("task"): key for key in train.edge_types}
        self.group = _of(train, relations, "group", "user")
        self.friend = _of(train, relations, "befriends", "user")
        self.category = _of(train, relations, "category", "item")
        self.rating = _of(train, relations, "rating", "item")
        mates, links = (h.T @ self.bought for h in (self.group, self.friend))
        self.through_groups, self.through_friends = mates.tocsr(), links.tocsr()  # [hyperedges, I]
        size = np.maximum(np.asarray(self.group.sum(axis=0)).ravel(), 1.0)
        self.rarity = sp.diags(1 / size)
        # What buyers of an item share groups with; what the users themselves bought is taken out.
        weighed = sp.diags(1 / size)
        self.by_group = self.bought.T @ (self.group @ (weighed @ mates))
        self.by_friend = self.bought.T @ (self.friend @ links)

    def __call__(self, users: Tensor) -> Tensor:
        rows = users.numpy()
        own = self.bought[rows]  # [b, I]
        group, friend = self.group[rows], self.friend[rows]
        in_group = (np.asarray(group.sum(axis=1)).ravel() > 0).astype(float)[:, None]
        size = len(rows)
        # A user is no group-mate of its own.
        mates = _dense(group @ self.through_groups) - _times(own, group.sum(axis=1))
        links = _dense(friend @ self.through_friends) - _times(own, friend.sum(axis=1))
        rare = group @ self.rarity
        weighed = _dense(rare @ self.through_groups) - _times(own, rare.sum(axis=1))
        return torch.from_numpy(
            np.stack(
                [
                    np.broadcast_to(self.log, (size, self.log.size)),
                    np.broadcast_to(self.never, (size, self.log.size)),
                    in_group * self.log,
                    self._lift(mates),
                    self._lift(links),
                    _share(own, self.category),
                    _share(own, self.rating),
                    self._lift(_dense(own @ self.by_group)),
                    self._lift(_dense(own @ self.by_friend)),
                    self._lift(weighed * SMOOTHING),
                ],
                axis=2,
            ).astype(np.float32)
        )

    def _lift(self, count: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """How much likelier an item is among neighbours, 0 without neighbours."""
        count = np.maximum(count, 0.0)
        total = count.sum(axis=1, keepdims=True)
        prior = np.maximum(self.popularity, 1e-6)
        found: np.ndarray[Any, Any] = np.log(
            (count + SMOOTHING * prior) / ((total + SMOOTHING) * prior)
        )
        return found


@dataclass
class Ceiling:
    """A fitted model, which scores as a scorer does."""

    features: Features
    mean: Tensor
    std: Tensor
    weight: Tensor
    num_items: int

    def score(self, user_ids: Tensor) -> Tensor:
        """Scores of all items [b, I]."""
        parts = [
            ((self.features(part) - self.mean) / self.std) @ self.weight
            for part in user_ids.split(CHUNK)
        ]
        return torch.cat(parts)


def fit(features: Features, data: HeteroData, seed: int = 0) -> tuple[Ceiling, dict[str, Any]]:
    """Fits on the labels of a split, with the penalty that predicts left-out users best.

    Args:
        features: Users [b] to features [b, I, F].
        data: The graph whose ``edge_label_index`` is fitted.
        seed: Of the folds.
    """
    store = data[MAIN]
    users, items = store.edge_label_index
    x = torch.cat([features(part) for part in users.split(CHUNK)])  # [n, I, F]
    mean, std = x.mean(dim=(0, 1)), x.std(dim=(0, 1)).clamp(min=1e-6)
    x.sub_(mean).div_(std)
    seen = _seen(store.seen_edge_index, users, x.size(1))
    fold = torch.randperm(users.numel(), generator=torch.Generator().manual_seed(seed)) % FOLDS
    start = torch.zeros(x.size(2))
    held = dict.fromkeys(PENALTIES, 0.0)
    for number in range(FOLDS):
        inside, outside = (fold != number).nonzero().view(-1), (fold == number).nonzero().view(-1)
        part, weight = x[inside], start
        for penalty in reversed(PENALTIES):  # each starts where a stronger one ended
            weight = _newton(part, items[inside], seen[inside], penalty, weight)
            loss = _loss(x[outside] @ weight, items[outside], seen[outside])
            held[penalty] += float(loss) * outside.numel() / users.numel()
        del part
    penalty = min(held, key=lambda key: held[key])
    weight = _newton(x, items, seen, penalty, start)
    found = Ceiling(features, mean, std, weight, x.size(1))
    return found, {
        "penalty": penalty,
        "left_out_loss": {f"{key:g}": value for key, value in held.items()},
        "uniform_loss": math.log(x.size(1)),
    }


def _newton(x: Tensor, items: Tensor, seen: Tensor, penalty: float, weight: Tensor) -> Tensor:
    """The convex minimum, by Newton steps that are halved until the loss falls."""
    rows = torch.arange(x.size(0))
    chosen = x[rows, items]  # [n, F]

    def value(weight: Tensor) -> float:
        loss = float(_loss(x @ weight, items, seen))
        return loss + penalty / 2 * float(weight.double().square().sum())

    best = value(weight)
    for _ in range(30):
        share = (x @ weight).masked_fill_(seen, -torch.inf).softmax(dim=1)  # [n, I]
        expected = torch.einsum("ni,nif->nf", share, x)
        grad = (expected - chosen).double().mean(dim=0) + penalty * weight.double()
        second = torch.zeros(x.size(2), x.size(2), dtype=torch.float64)
        for part in rows.split(CHUNK):
            flat = x[part].flatten(0, 1)
            second += (flat.t() @ (flat * share[part].reshape(-1, 1))).double()
        second -= (expected.t() @ expected).double()
        second = second / x.size(0) + penalty * torch.eye(x.size(2), dtype=torch.float64)
        step, size = torch.linalg.solve(second, grad).float(), 1.0
        while size > 1e-3 and (new := value(weight - size * step)) > best:
            size /= 2
        if size <= 1e-3 or best - new < 1e-7:
            break
        weight, best = weight - size * step, new
    return weight


def _loss(score: Tensor, items: Tensor, seen: Tensor) -> Tensor:
    score = score.masked_fill(seen, -torch.inf)
    return (score.logsumexp(dim=1) - score.gather(1, items[:, None])[:, 0]).double().mean()


def _seen(seen: Tensor, users: Tensor, num_items: int) -> Tensor:
    """Which items stand in no list of these users [n, I]."""
    size = int(max(seen[0].max(), users.max())) + 1
    known = sp.csr_matrix((np.ones(seen.size(1)), seen.numpy()), shape=(size, num_items))
    return torch.from_numpy(_dense(known[users.numpy()]) > 0)


def _incidence(data: HeteroData, key: tuple[str, str, str]) -> sp.csr_matrix:
    shape = (int(data[key[0]].num_nodes), int(data[key[2]].num_nodes))
    edges = data[key].edge_index.numpy()
    return sp.csr_matrix((np.ones(edges.shape[1]), edges), shape=shape)


def _of(data: HeteroData, relations: dict[Any, Any], task: str, vertex: str) -> sp.csr_matrix:
    """The incidence matrix of a task, without hyperedges if there is no such task."""
    if task in relations:
        return _incidence(data, relations[task])
    return sp.csr_matrix((int(data[vertex].num_nodes), 1))


def _dense(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(x.todense())


def _times(own: sp.csr_matrix, factor: Any) -> np.ndarray[Any, Any]:
    return _dense(sp.diags(np.asarray(factor).ravel()) @ own)


def _share(own: sp.csr_matrix, labels: sp.csr_matrix) -> np.ndarray[Any, Any]:
    """How many labels an item shares with what the user has, as a cosine."""
    size = np.sqrt(np.asarray(labels.sum(axis=1)).ravel())
    unit = sp.diags(1 / np.maximum(size, 1.0)) @ labels
    return _dense(own @ unit @ unit.T)
