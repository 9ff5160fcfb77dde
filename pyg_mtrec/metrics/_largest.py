"""The k largest entries of wide rows, exactly, in one sweep."""

import torch
from torch import Tensor

BLOCK = 128  # items per block: measured best around sqrt(num_items / k) for 10^5 .. 10^6 items


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Like ``scores.topk(k)``, but sweeps wide rows once for block maxima and sorts only winners.

    The ``k`` blocks of largest maxima hold the ``k`` largest values: a value left out of them
    would be preceded by the ``k`` maxima of those blocks.
    """
    if scores.size(1) // BLOCK < 4 * k:
        values, index = scores.topk(k, dim=1)
        return values, index
    block = block_maxima(scores).topk(k, dim=1, sorted=False).indices  # [b, k]
    items = items_of_blocks(block, scores.size(1))
    row = torch.arange(scores.size(0), device=scores.device).unsqueeze(1)
    values, position = scores[row, items].topk(k, dim=1)
    return values, items.gather(1, position)


def block_maxima(scores: Tensor) -> Tensor:
    """Returns the maxima ``[b, n // BLOCK]`` of whole blocks of columns; NaN goes through."""
    num_blocks = scores.size(1) // BLOCK
    blocks: Tensor = scores[:, : num_blocks * BLOCK].unflatten(1, (num_blocks, BLOCK))
    return blocks.amax(dim=2)


def items_of_blocks(block: Tensor, num_items: int) -> Tensor:
    """Returns the columns ``[b, c]`` of some blocks ``[b, m]``, and those after the last block."""
    within = torch.arange(BLOCK, device=block.device)
    inside = (block.unsqueeze(2) * BLOCK + within).flatten(1)  # [b, m * BLOCK]
    tail = torch.arange(num_items - num_items % BLOCK, num_items, device=block.device)
    return torch.cat([inside, tail.expand(block.size(0), -1)], dim=1)
