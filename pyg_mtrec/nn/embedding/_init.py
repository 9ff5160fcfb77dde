import math

import torch
from torch import Tensor


@torch.no_grad()
def xavier_uniform_(weight: Tensor, generator: torch.Generator | None) -> None:
    r"""Fills a matrix from Xavier's uniform law; the draw depends on no device but the generator's.

    Args:
        weight: The matrix.
        generator: Source of randomness (default: torch's global one).
    """
    bound = math.sqrt(6 / max(sum(weight.shape), 1))
    device = weight.device if generator is None else generator.device
    draw = torch.rand(weight.shape, generator=generator, dtype=weight.dtype, device=device)
    weight.copy_(draw * (2 * bound) - bound)
