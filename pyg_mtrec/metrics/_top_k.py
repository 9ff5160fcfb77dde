"""Exact top-k over all items, chunk by chunk, with seen items out and ties broken by lot."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._item_lists import ItemLists
from pyg_mtrec.metrics._largest import largest
from pyg_mtrec.metrics._ties import Lots, fill_ties
from pyg_mtrec.metrics.scorer import Scorer

CHUNK_BYTES = 32 * 2**20  # above that malloc maps fresh pages each time, dearer than the product
_INF = float("inf")


def rank_chunk(
    scores: Tensor, k: int, lots: Lots, seen: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the ``k`` best unseen items of each row, best first; ``-1`` where there are fewer.

    Args:
        scores: ``[b, num_items]``; written to and restored, so that a scorer may return a view.
        k: Length of the lists, at most ``num_items``.
        lots: Of equal scores the lower lot goes first.
        seen: (row, item) pairs that may not be recommended.
    """
    if seen is None:
        return _rank_masked(scores, k, lots, None)
    before = scores[seen]
    if before.isnan().any():
        raise InputError(_NAN)
    scores[seen] = -_INF
    try:
        return _rank_masked(scores, k, lots, seen)
    finally:
        scores[seen] = before


def _rank_masked(
    scores: Tensor, k: int, lots: Lots, seen: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Ranks scores in which seen items already stand at minus infinity."""
    values, items = largest(scores, min(k + 1, scores.size(1)))
    if values[:, 0].isnan().any():  # torch ranks NaN first, so one look finds any
        raise InputError(_NAN)
    order = lots.number[items].argsort(dim=1)  # ties inside the list, by lot
    values, by_score = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    items = items.gather(1, order.gather(1, by_score))

    last = values[:, k - 1]
    tied = last == -_INF  # there, seen items stand among the unseen
    if values.size(1) > k:
        tied |= last == values[:, k]
    values, items = values[:, :k], items[:, :k]
    again = tied.nonzero().view(-1)
    if again.numel() > 0:
        if seen is not None:
            scores[seen] = torch.nan  # equal to nothing, not even to minus infinity
        values[again], items[again] = fill_ties(scores, again, values[again], items[again], lots)
    return values, items


def iter_top_k(
    scorer: Scorer,
    user_ids: Tensor,
    k: int,
    seen: ItemLists | None = None,
    seed: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields ``(scores, items)`` of consecutive chunks of users, on the scorer's device."""
    num_items = scorer.num_items
    check_k(k, num_items)
    lots = Lots(num_items, seed)
    for chunk in user_ids.split(max(1, chunk_bytes // (4 * num_items))):
        with torch.no_grad():
            scores = scorer.score(chunk)
        if scores.shape != (chunk.numel(), num_items) or not scores.is_floating_point():
            raise InputError(
                f"'{type(scorer).__name__}.score' needs to return floating-point scores of shape "
                f"{[chunk.numel(), num_items]} (got {scores.dtype} {list(scores.shape)})"
            )
        scores = scores.detach()
        if scores.is_inference() or 0 in scores.stride() or not scores.is_contiguous():
            scores = scores.clone(memory_format=torch.contiguous_format)
        pairs = None
        if seen is not None:
            pairs = seen.to(scores.device).gather(chunk.to(scores.device))
        yield rank_chunk(scores, k, lots.to(scores.device), pairs)


def top_k(
    scorer: Scorer,
    user_ids: Tensor,
    k: int,
    seen: Tensor | None = None,
    seed: int = 0,
    chunk_bytes: int = CHUNK_BYTES,
) -> tuple[Tensor, Tensor]:
    """Returns the best items of some users, exactly, over the whole catalogue.

    Args:
        scorer: What ranks.
        user_ids: Users ``[n]``.
        k: Length of the lists.
        seen: (user, item) pairs ``[2, S]`` that may not be recommended.
        seed: Of the permutation that breaks ties. It is drawn once for all users, so the result
            does not depend on how users are cut into chunks.
        chunk_bytes: Bound of one chunk of scores.

    Returns:
        Scores and items ``[n, k]``, best first; score ``-inf`` and item ``-1`` where a user has
        fewer than ``k`` unseen items.

    Raises:
        InputError: If ``k`` is not between 1 and the number of items, a user is negative, or a
            score is NaN.
    """
    check_k(k, scorer.num_items)
    if user_ids.numel() == 0:
        return torch.empty(0, k), torch.empty(0, k, dtype=torch.long)
    if int(user_ids.min()) < 0:
        raise InputError(f"user ids need to be non-negative (got {int(user_ids.min())})")
    lists = None
    if seen is not None:
        num_users = int(user_ids.max()) + 1
        lists = ItemLists(seen[:, seen[0] < num_users], num_users)
    chunks = list(iter_top_k(scorer, user_ids, k, lists, seed, chunk_bytes))
    return torch.cat([scores for scores, _ in chunks]), torch.cat([items for _, items in chunks])


def check_k(k: int, num_items: int) -> None:
    """Refuses lists that the catalogue cannot fill."""
    if k < 1:
        raise InputError(f"'k' needs to be a positive integer (got {k})")
    if k > num_items:
        raise InputError(
            f"'k' needs to be at most the number of items, {num_items} (got {k}): lower 'k'"
        )


_NAN = "the scorer returned NaN scores: training diverged; lower the learning rate"
