"""Which interaction goes where: every strategy returns a part (0, 1, 2) per interaction."""

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

TRAIN, VAL, TEST = 0, 1, 2
Fractions = tuple[float, float, float]


def at_random(num_edges: int, fractions: Fractions, generator: torch.Generator) -> Tensor:
    r"""Cuts one permutation of all interactions at the rounded cumulative fractions."""
    order = torch.randperm(num_edges, generator=generator)
    part = torch.full((num_edges,), TEST)
    part[order[: round((fractions[0] + fractions[1]) * num_edges)]] = VAL
    part[order[: round(fractions[0] * num_edges)]] = TRAIN
    return part


def per_user(user: Tensor, fractions: Fractions, generator: torch.Generator) -> Tensor:
    r"""Cuts a permutation of every user's interactions, see :class:`SplitInteractions`."""
    order = torch.randperm(user.numel(), generator=generator).to(user.device)
    rank, count = rank_per_user(user, order)
    # The little extra keeps 0.1 * 15 from being a hair below 1.5.
    num_val, num_test = (torch.floor(count.double() * f + 0.5 + 1e-9).long() for f in fractions[1:])
    num_test = torch.minimum(num_test, count - 1)
    num_val = torch.minimum(num_val, count - 1 - num_test)
    part = torch.zeros_like(user)
    part[rank < num_val + num_test] = VAL
    part[rank < num_test] = TEST
    return part


def by_time(time: Tensor, fractions: Fractions) -> Tensor:
    r"""Cuts the time axis at two moments nearest to the fractions, never through a tie."""
    num_edges = time.numel()
    moments, counts = torch.unique(time, return_counts=True)
    before = counts.cumsum(0).double()  # interactions up to each moment
    num_later = sum(fraction > 0 for fraction in fractions[1:])
    if moments.numel() < 1 + num_later:
        raise InputError(
            f"split by 'time' needs at least {1 + num_later} distinct times "
            f"(found {moments.numel()}): choose another strategy"
        )

    def nearest(fraction: float, low: int, high: int) -> int:
        return low + int((before[low:high] - fraction * num_edges).abs().argmin())

    # Each later part keeps at least one moment.
    last_train = nearest(fractions[0], 0, moments.numel() - num_later)
    last_val = last_train
    if fractions[1] > 0:
        low = last_train + 1
        high = moments.numel() - int(fractions[2] > 0)
        last_val = nearest(fractions[0] + fractions[1], low, high) if fractions[2] > 0 else high - 1
    part = torch.full_like(time, TEST, dtype=torch.long)
    part[time <= moments[last_val]] = VAL
    part[time <= moments[last_train]] = TRAIN
    return part


def leave_last_out(user: Tensor, time: Tensor) -> Tensor:
    r"""The last interaction of every user is for test, the last but one for validation."""
    rank, count = rank_per_user(user, time.sort(stable=True).indices)
    part = torch.zeros_like(user)
    part[(rank == count - 2) & (count >= 3)] = VAL
    part[(rank == count - 1) & (count >= 3)] = TEST
    return part


def given(
    split: Tensor, user: Tensor, val_from: str, val_fraction: float, generator: torch.Generator
) -> Tensor:
    r"""Takes the published split; a missing validation is drawn, see :class:`SplitInteractions`."""
    part = split.long()
    if bool((part == VAL).any()):
        return part
    if val_from == "train":
        train = (part == TRAIN).nonzero().view(-1)
        order = torch.randperm(train.numel(), generator=generator).to(train.device)
        part[train[order[: round(val_fraction * train.numel())]]] = VAL
        return part
    test = part == TEST
    users = user[test].unique()
    order = torch.randperm(users.numel(), generator=generator).to(users.device)
    num_val = min(round(val_fraction * users.numel()), max(users.numel() - 1, 0))
    part[test & torch.isin(user, users[order[:num_val]])] = VAL
    return part


def rank_per_user(user: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns each interaction's rank among its user's, in this order, and how many these are."""
    order = order[user[order].sort(stable=True).indices]
    count = torch.bincount(user)
    start = count.cumsum(0) - count
    rank = torch.empty_like(order)
    rank[order] = torch.arange(order.numel(), device=order.device) - start[user[order]]
    return rank, count[user]
