"""UPRTH's pretraining as its authors compute it, in float64 on plain matrices.

Nothing here comes from the library: it reads the text files itself, forms every incidence matrix,
every mean over members and every loss as the formula has it, and leaves only the chain rule to
autograd. Slow, and meant to be held against the library step by step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Integers = NDArray[np.int64]
MAIN = "alignment"
_DENSE = 1 << 20  # entries up to which an incidence matrix is a dense one


@dataclass
class Hypergraph:
    """A task: which vertices are in which hyperedges."""

    side: str  # "user" or "item"
    vertex: Integers  # [E]
    hyperedge: Integers  # [E]
    keys: Integers  # [M], what a hyperedge is called in the files: a label, or the head of a line
    labels: bool  # whether a vertex's other hyperedges are the negatives


@dataclass
class Problem:
    """All that the loss depends on, but the tables."""

    num_users: int
    num_items: int
    user: Integers  # [E], training pairs
    item: Integers  # [E]
    tasks: dict[str, Hypergraph]


def read_steam(raw: Path) -> Problem:
    """Reads the training rows and the four side files of Steam."""
    train, test = (_lines(raw / f"{part}.txt") for part in ("train", "test"))
    user, item = _flat(train)
    tasks = {"befriends": stars(_lines(raw / "user_friend.txt"))}
    for name, side, file in (
        ("group", "user", "user_groups"),
        ("category", "item", "item_category"),
        ("rating", "item", "item_rating"),
    ):
        member, label = _flat(_lines(raw / f"{file}.txt"))
        tasks[name] = Hypergraph(side, member, label, np.arange(label.max() + 1), side == "item")
    num_items = 1 + max(int(item.max()), int(_flat(test)[1].max()))
    return Problem(1 + int(user.max()), num_items, user, item, tasks)


def stars(lines: list[list[int]], side: str = "user") -> Hypergraph:
    """One hyperedge a line, of the line's head and all that follow it."""
    size = [len(line) for line in lines]
    return Hypergraph(
        side,
        np.concatenate([np.array(line) for line in lines]),
        np.repeat(np.arange(len(lines)), size),
        np.array([line[0] for line in lines]),
        labels=False,
    )


class Reference:
    """Tables that are trained by the restated formulas.

    Args:
        problem: The graph.
        user: Start of the users' table [U, d], rows in the order of the files' ids.
        item: Start of the items' table [I, d].
        attention: Whether what hyperedges take from the tasks is added.
    """

    lr, beta_1, beta_2, eps = 0.01, 0.9, 0.999, 1e-8
    l2, share = 1e-4, 0.8
    divisor, strength, second_hop = 8.0, 10.0, 0.1

    def __init__(
        self, problem: Problem, user: Tensor, item: Tensor, attention: bool = True
    ) -> None:
        self.problem, self.attention = problem, attention
        self.user = user.double().clone().requires_grad_()
        self.item = item.double().clone().requires_grad_()
        self.moments = [(torch.zeros_like(x), torch.zeros_like(x)) for x in (self.user, self.item)]
        self.steps = 0
        size = (problem.num_users, problem.num_items)
        self.by_item = _Incidence(problem.user, problem.item, size)
        self.by_user = _Incidence(problem.item, problem.user, size[::-1])
        self.by_task = {
            name: _Incidence(
                task.vertex, task.hyperedge, (size[task.side == "item"], len(task.keys))
            )
            for name, task in problem.tasks.items()
        }

    def losses(self, negatives: Mapping[str, Integers]) -> dict[str, Tensor]:
        """Every term of the loss, its penalty included.

        Args:
            negatives: For every task with vertices as negatives, hyperedge key, vertex and
                negative of every incidence [3, E], in any order.
        """
        tasks = self.problem.tasks
        user, _ = self.by_item(self.user)
        item, _ = self.by_user(self.item)
        z, e = {}, {}
        for name, task in tasks.items():
            z[name], e[name] = self.by_task[name](self.user if task.side == "user" else self.item)
        if self.attention:
            keys = {
                side: [z[name].detach() for name, task in tasks.items() if task.side == side]
                for side in ("user", "item")
            }
            user, item = (
                self._attend(user, self.by_item, keys["item"]),
                self._attend(item, self.by_user, keys["user"]),
            )
        pairs = _rows(user, self.problem.user) - _rows(item, self.problem.item)
        found = {MAIN: (pairs**2).sum(1).mean() + self._penalty(self.user, self.item)}
        for name, task in tasks.items():
            if task.labels:
                value = self._over_labels(task, z[name], e[name])
            else:
                value = self._over_vertices(task, negatives[name], z[name], e[name])
            found[name] = value + self._penalty(z[name], e[name])
        return found

    def step(self, negatives: Mapping[str, Integers]) -> dict[str, float]:
        """The terms and their weighted sum, before one step of Adam is taken."""
        found = self.losses(negatives)
        sides = sum((found[name] for name in self.problem.tasks), start=torch.zeros(()))
        total = 2 * (self.share * found[MAIN] + (1 - self.share) * sides)
        grads = torch.autograd.grad(total, (self.user, self.item))
        self.steps += 1
        with torch.no_grad():
            for x, grad, (m, v) in zip((self.user, self.item), grads, self.moments, strict=True):
                m.copy_(self.beta_1 * m + (1 - self.beta_1) * grad)
                v.copy_(self.beta_2 * v + (1 - self.beta_2) * grad**2)
                direction = m / (1 - self.beta_1**self.steps)
                size = (v / (1 - self.beta_2**self.steps)).sqrt() + self.eps
                x -= self.lr * direction / size
        return {name: float(value.detach()) for name, value in {**found, "total": total}.items()}

    def _attend(self, x: Tensor, hypergraph: "_Incidence", keys: list[Tensor]) -> Tensor:
        total = hypergraph.transposed @ x  # [M, d]
        fit = torch.stack([(total * key).sum(1) for key in keys], dim=1) / self.divisor
        share = torch.exp(fit - fit.max(dim=1, keepdim=True).values)
        share = share / share.sum(1, keepdim=True)  # [M, T]
        mixture = sum(share[:, [t]] * key for t, key in enumerate(keys))
        e = (total + self.strength * torch.tanh(torch.as_tensor(mixture))) / hypergraph.members
        return x + self.second_hop * (hypergraph.matrix @ e) / hypergraph.memberships

    def _over_vertices(self, task: Hypergraph, triples: Integers, z: Tensor, e: Tensor) -> Tensor:
        place = {key: row for row, key in enumerate(task.keys.tolist())}
        edge = np.array([place[key] for key in triples[0].tolist()], dtype=np.int64)
        drawn_for = _sorted(edge, triples[1])
        if not np.array_equal(drawn_for, _sorted(task.hyperedge, task.vertex)):
            raise ValueError("the negatives were drawn for other incidences")
        e = _rows(e, edge)
        gap = (e * _rows(z, triples[2])).sum(1) - (e * _rows(z, triples[1])).sum(1)
        return _softplus(gap).mean()

    def _over_labels(self, task: Hypergraph, z: Tensor, e: Tensor) -> Tensor:
        score = _rows(z, task.vertex) @ e.T  # [E, M]
        true = np.arange(len(task.vertex)), task.hyperedge
        loss = _softplus(score - score[true][:, None])
        loss[true] = 0.0
        return loss.sum() / (score.shape[0] * (score.shape[1] - 1))

    def _penalty(self, *parts: Tensor) -> Tensor:
        return self.l2 / 2 * torch.stack([(part**2).sum() for part in parts]).sum()


class _Incidence:
    """Vertices times hyperedges, and means both ways."""

    def __init__(self, vertex: Integers, hyperedge: Integers, size: tuple[int, int]) -> None:
        index = torch.from_numpy(np.stack([vertex, hyperedge]))
        ones = torch.ones(len(vertex), dtype=torch.float64)
        matrix = torch.sparse_coo_tensor(index, ones, size, check_invariants=True).coalesce()
        dense = size[0] * size[1] <= _DENSE
        self.matrix = matrix.to_dense() if dense else matrix
        self.transposed = self.matrix.T if dense else matrix.t().coalesce()
        self.members, self.memberships = (
            torch.from_numpy(np.bincount(ids, minlength=number).clip(1))[:, None].double()
            for ids, number in ((hyperedge, size[1]), (vertex, size[0]))
        )

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        e = (self.transposed @ x) / self.members
        return (self.matrix @ e) / self.memberships, e


def _rows(x: Tensor, ids: Integers) -> Tensor:
    return x.index_select(0, torch.from_numpy(ids))


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(torch.zeros_like(x), x)


def _sorted(first: Integers, second: Integers) -> Integers:
    order = np.lexsort((second, first))
    return np.stack([first[order], second[order]])


def _lines(path: Path) -> list[list[int]]:
    with path.open() as file:
        return [[int(word) for word in line.split()] for line in file if line.strip()]


def _flat(lines: list[list[int]]) -> tuple[Integers, Integers]:
    pairs = np.array([(line[0], other) for line in lines for other in line[1:]], dtype=np.int64)
    return pairs[:, 0], pairs[:, 1]
