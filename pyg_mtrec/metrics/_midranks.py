"""Ranks that share what equal values would fight over."""

import torch
from torch import Tensor


def midranks(values: Tensor) -> Tensor:
    """Returns the ranks ``[n]`` from 1, ascending, the mean rank where values tie; float64.

    Twice a midrank is a whole number, so sums of them are exact up to ``2**52``.
    """
    _, inverse, count = torch.unique(values, return_inverse=True, return_counts=True)
    rank: Tensor = count.cumsum(dim=0) - (count.double() - 1) / 2  # [distinct]
    return rank[inverse]


def constant(values: Tensor) -> bool:
    """Returns whether all values are equal; a variance would be rounded."""
    return bool((values == values[0]).all())
