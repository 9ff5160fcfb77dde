"""Equal scores are ranked by lot: one permutation of the items, drawn from a seed."""

import torch
from torch import Tensor

from pyg_mtrec.metrics._largest import BLOCK, block_maxima, items_of_blocks, largest


class Lots:
    """The permutation, both ways: ``number[item]`` is its lot, ``item[number]`` whose lot it is."""

    def __init__(self, num_items: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.number = torch.randperm(num_items, generator=generator, dtype=torch.int32)
        self.item = torch.empty(num_items, dtype=torch.long)
        self.item[self.number.long()] = torch.arange(num_items)

    def to(self, device: torch.device) -> "Lots":
        """Moves both tensors in place."""
        self.number, self.item = self.number.to(device), self.item.to(device)
        return self


def fill_ties(
    scores: Tensor, row: Tensor, values: Tensor, items: Tensor, lots: Lots
) -> tuple[Tensor, Tensor]:
    """Fills the places of lists that end in a tie with the lowest lots among all tied items.

    Args:
        scores: ``[b, num_items]``, NaN where an item may not be drawn.
        row: Rows ``[r]`` of ``scores``.
        values: Their lists of scores ``[r, k]``, sorted.
        items: Their lists of items ``[r, k]``, right where the score is above the last.
        lots: The permutation.

    Returns:
        Scores and items ``[r, k]``; ``-inf`` and ``-1`` where no item is left.
    """
    k = values.size(1)
    last = values[:, -1:]  # [r, 1]
    drawn = torch.empty_like(items)
    # Where many tie, the first lots hold enough of them; where few do, few blocks reach the tie.
    first = lots.item[: 64 * k]
    many = (scores[row.unsqueeze(1), first] == last).sum(dim=1) >= k
    at = many.nonzero().view(-1)
    if at.numel() > 0:
        drawn[at] = _draw(scores, row[at], last[at], lots, first.expand(at.numel(), -1), k)
    at = (~many).nonzero().view(-1)
    if at.numel() > 0:
        near = _reaching(scores, row[at], last[at], k)
        drawn[at] = _draw(scores, row[at], last[at], lots, near, k)

    num_above = (values > last).sum(dim=1, keepdim=True)  # these are in the list already
    position = torch.arange(k, device=values.device).expand_as(items)
    drawn = drawn.gather(1, (position - num_above).clamp(min=0))
    items = torch.where(position < num_above, items, drawn)
    return torch.where(items < 0, -torch.inf, values), items


def _reaching(scores: Tensor, row: Tensor, last: Tensor, k: int) -> Tensor | None:
    """Returns ``c >= k`` columns ``[r, c]`` with all entries equal to ``last``; None: too many."""
    reach = ~(block_maxima(scores)[row] < last)  # a block with NaN may hold one, too
    if reach.size(1) == 0:
        return None
    most = max(int(reach.sum(dim=1).max()), -(-k // BLOCK))
    if 4 * most >= reach.size(1):
        return None
    return items_of_blocks(reach.int().topk(most, dim=1).indices, scores.size(1))


def _draw(
    scores: Tensor, row: Tensor, last: Tensor, lots: Lots, near: Tensor | None, k: int
) -> Tensor:
    """Returns up to ``k`` items ``[r, k]`` whose score is ``last``, lowest lot first, then -1."""
    none = torch.iinfo(torch.int32).min
    if near is None:
        key, drawn = largest(torch.where(scores[row] == last, -lots.number, none), k)
    else:
        tied = scores[row.unsqueeze(1), near] == last
        key, position = torch.where(tied, -lots.number[near], none).topk(k, dim=1)
        drawn = near.gather(1, position)
    return torch.where(key == none, -1, drawn)
