"""Which user touched which item when: look-ups, and draws among what is untouched by then."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._stores import edges

# A row that is still refused after so many draws has touched nearly everything by then.
_ROUNDS = 16
_CELLS = 1 << 24


def times_of(data: HeteroData, edge_type: EdgeType, transform: str) -> Tensor:
    r"""Returns the times :math:`[E]` of a relation as int64."""
    size = edges(data, edge_type, transform).size(1)
    time = data[edge_type].get("time")
    if not isinstance(time, Tensor) or time.shape != (size,) or time.is_floating_point():
        found = f"{time.dtype} {list(time.shape)}" if isinstance(time, Tensor) else time
        raise InputError(
            f"{transform!r} needs an integer 'time' [{size}] on {edge_type} (found {found})"
        )
    return time.long()


class Touches:
    r"""Events of pairs of user and item, ordered by time.

    Args:
        user: Users :math:`[E]`.
        item: Items :math:`[E]`.
        rank: Ranks :math:`[E]` of the times, below ``num_ranks``.
        sizes: Numbers of users and items.
        num_ranks: Number of ranks.
    """

    def __init__(
        self, user: Tensor, item: Tensor, rank: Tensor, sizes: tuple[int, int], num_ranks: int
    ) -> None:
        num_users, num_items = sizes
        self.num_items, self.stride = num_items, num_ranks + 1
        key = user * num_items + item
        self._pair, place = torch.unique(key, return_inverse=True)  # [Q], [E]
        self._first = torch.full_like(self._pair, num_ranks)
        self._first.scatter_reduce_(0, place, rank, "amin")
        owner = self._pair // num_items
        self._by_user = (owner * self.stride + self._first).sort().values  # [Q]
        count = torch.bincount(owner, minlength=num_users)
        self._end = count.cumsum(0)
        self._start = self._end - count

    def first(self, user: Tensor, item: Tensor) -> Tensor:
        r"""Returns the rank of each pair's first event, the number of ranks if there is none."""
        place, known = self._find(user, item)
        return torch.where(known, self._first[place], self.stride - 1)

    def keys(self, user: Tensor, item: Tensor, rank: Tensor) -> Tensor:
        r"""Returns keys that order events by pair and time; -1 for pairs without any event."""
        place, known = self._find(user, item)
        return torch.where(known, place * self.stride + rank, -1)

    def num_untouched(self, user: Tensor, rank: Tensor) -> Tensor:
        r"""Returns how many items each user has not touched up to a moment."""
        key = user * self.stride + rank
        return (
            self.num_items - torch.searchsorted(self._by_user, key, right=True) + self._start[user]
        )

    def draw(self, user: Tensor, rank: Tensor, seed: int) -> Tensor:
        r"""Draws for each row an item that its user has not touched up to its moment, uniformly.

        What a row gets depends on the seed, its position and its user's past alone, so that later
        rows change nothing. Every row has to have an untouched item.

        Args:
            user: Users :math:`[n]`.
            rank: Ranks :math:`[n]` of the moments.
            seed: Seed of the draws.
        """
        generator = torch.Generator().manual_seed(seed)
        seeds = torch.randint(1 << 62, (_ROUNDS + 1,), generator=generator).tolist()
        item = torch.zeros_like(user)
        left = torch.arange(user.numel())
        for round_seed in seeds[:-1]:
            if left.numel() == 0:
                return item
            drawn = _integers(self.num_items, user.numel(), round_seed)[left]
            item[left] = drawn
            left = left[self.first(user[left], drawn) <= rank[left]]
        bits = _integers(1 << 62, user.numel(), seeds[-1])
        for some in left.split(max(1, _CELLS // self.num_items)):
            item[some] = self._nth_untouched(user[some], rank[some], bits[some])
        return item

    def _nth_untouched(self, user: Tensor, rank: Tensor, bits: Tensor) -> Tensor:
        size = self._end[user] - self._start[user]
        row = torch.arange(user.numel()).repeat_interleave(size)
        begin = size.cumsum(0) - size
        place = self._start[user][row] + torch.arange(row.numel()) - begin[row]
        known = self._first[place] <= rank[row]
        free = torch.ones(user.numel(), self.num_items, dtype=torch.bool)
        free[row[known], self._pair[place[known]] % self.num_items] = False
        below = free.cumsum(1)  # [n, items]
        return torch.searchsorted(below, (bits % below[:, -1] + 1)[:, None]).view(-1)

    def _find(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        key = user * self.num_items + item
        place = torch.searchsorted(self._pair, key).clamp_(max=max(self._pair.numel() - 1, 0))
        return place, self._pair[place] == key


def _integers(bound: int, size: int, seed: int) -> Tensor:
    return torch.randint(bound, (size,), generator=torch.Generator().manual_seed(seed))
