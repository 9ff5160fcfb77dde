"""What the bootstraps share: resampled means and their percentiles."""

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

_MAX_DRAWN = 2**18  # resampled values held at once


def check(num_draws: int, level: float, where: str) -> None:
    r"""Refuses settings that give no interval."""
    if num_draws < 1 or not 0.0 < level < 1.0:
        raise InputError(
            "'num_draws' needs to be positive and 'level' between 0 and 1 in "
            f"'{where}' (got {num_draws} and {level})"
        )


def resampled_means(values: Tensor, num_draws: int, generator: torch.Generator) -> Tensor:
    r"""Returns the means, of shape ``[num_draws]``, of resamples of ``values`` ``[n]``."""
    size = values.numel()
    means = values.new_empty(num_draws)
    for part in means.split(max(1, _MAX_DRAWN // size)):
        index = torch.randint(size, (part.numel(), size), generator=generator)
        part.copy_(values[index].mean(dim=1))
    return means


def percentile_interval(means: Tensor, level: float) -> tuple[float, float]:
    r"""Returns the ends between which the middle ``level`` of ``means`` lies."""
    ends = means.new_tensor([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    low, high = means.quantile(ends).tolist()
    return low, high
