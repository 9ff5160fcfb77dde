"""Dropout from explicit generators at a tenth of the cost of one float drawn per unit."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

_LEVELS = 1 << 16  # a mask takes 16 random bits, and a draw makes four of them


def levels(share: float) -> int:
    r"""Returns how many of 65,536 values of the random bits drop a unit.

    Args:
        share: The share of units that is dropped, in [0, 1).
    """
    return min(round(share * _LEVELS), _LEVELS - 1)


def scale(share: float) -> float:
    r"""Returns what keeps the mean: the inverse of the share that is kept.

    Args:
        share: The share of units that is dropped, in [0, 1).
    """
    return _LEVELS / (_LEVELS - levels(share))


def keep(shape: Sequence[int], share: float, draws: torch.Generator, dtype: torch.dtype) -> Tensor:
    r"""Returns a mask of ones, and zeros where a unit is dropped.

    Args:
        shape: Its shape.
        share: The share of units that is dropped, in [0, 1).
        draws: Source of randomness, on whose device the mask is made.
        dtype: Its type.
    """
    count = prod(shape)
    bits = torch.empty(-(-count // 4), dtype=torch.int64, device=draws.device)
    bits.random_(-(1 << 63), None, generator=draws)
    mask = torch.empty(shape, dtype=dtype, device=draws.device)
    lowest = levels(share) - _LEVELS // 2
    return torch.ge(bits.view(torch.int16)[:count].view(shape), lowest, out=mask)


def finish(pre: Tensor, share: float, draws: torch.Generator | None) -> Tensor:
    r"""Returns the hidden layer of pre-activations, in their place: dropout and rectifier.

    Args:
        pre: Pre-activations that nothing else needs, already multiplied by :func:`scale`.
        share: The share of units that is dropped.
        draws: Source of the mask, :obj:`None` for no dropout.
    """
    if draws is not None and levels(share) > 0:
        with torch.no_grad():  # a dropped unit is 0 in the result, where relu's gradient is 0 too
            pre.mul_(keep(pre.shape, share, draws, pre.dtype))
    return pre.relu_()
