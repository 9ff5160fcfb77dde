import torch
from torch import Tensor

# A remainder of 62 random bits is biased by less than bound / 2^62; float32 would stop at 2^24.
_HIGH = 1 << 62


def draw_below(bound: Tensor, generator: torch.Generator) -> Tensor:
    r"""Draws a uniform integer below each bound, 0 where the bound is 0.

    Args:
        bound: Non-negative integers of any shape :math:`(*)`.
        generator: Source of all randomness, on the device of ``bound``.

    Returns:
        int64 integers :math:`(*)`.
    """
    bits = torch.randint(_HIGH, bound.shape, generator=generator, device=bound.device)
    return bits % bound.clamp(min=1)


def unique_padded(ids: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns each id once, in a shape that does not depend on the data.

    Args:
        ids: Ids :math:`[n]` with repetitions.

    Returns:
        The :math:`R` distinct ids in ascending order, then the largest one repeated :math:`[n]`,
        and weights :math:`[n]`: 1 for the first :math:`R`, else 0.
    """
    ordered = ids.sort().values
    new = torch.ones_like(ordered, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    slot = new.cumsum(0) - 1
    unique = ordered[-1:].repeat(ids.numel()).scatter_(0, slot, ordered)
    place = torch.arange(ids.numel(), device=ids.device)
    return unique, (place <= slot[-1:]).float()
