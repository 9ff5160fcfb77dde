import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Rows of the pairwise matrix that are held at once: 64 MiB of float32 at 4096 columns.
CHUNK = 4096


def first_occurrence(ids: Tensor, weight: Tensor) -> Tensor:
    r"""Marks with 1 the first place of each id, among those of positive weight if there are any.

    Args:
        ids: Ids :math:`[b]`.
        weight: Weights :math:`[b]`.
    """
    ordered, order = (2 * ids + (weight <= 0)).sort(stable=True)
    ordered = ordered // 2
    first = torch.ones_like(weight)
    first[1:] = (ordered[1:] != ordered[:-1]).to(weight.dtype)
    return torch.zeros_like(weight).scatter(0, order, first)


def uniformity(x: Tensor, weight: Tensor, t: float) -> Tensor:
    r"""Log of the weighted mean of :math:`e^{-t \lVert x_b - x_c \rVert^2}` over all pairs.

    Args:
        x: Rows :math:`[b, d]`.
        weight: Weights :math:`[b]`, not negative.
        t: Sharpness.

    Returns:
        A scalar, 0 where there is no pair.
    """
    parts = []
    for start in range(0, x.size(0), CHUNK):
        if x.size(0) > CHUNK and x.requires_grad:
            # Recomputed in the backward pass, or the chunks would be held together after all.
            part = checkpoint(
                _rows, x, weight, t, start, use_reentrant=False, preserve_rng_state=False
            )
        else:
            part = _rows(x, weight, t, start)
        parts.append(part)
    total = torch.stack(parts).sum() if parts else x.sum()
    pairs = (weight * (weight.sum() - weight)).sum()
    some = (weight > 0).sum() > 1
    one = torch.ones_like(total)
    mean = torch.where(some, total, one) / torch.where(some, pairs, one)
    return torch.where(some, mean.log(), torch.zeros_like(mean))


def _rows(x: Tensor, weight: Tensor, t: float, start: int) -> Tensor:
    r"""Sums the kernel of a chunk of rows with all others, without the diagonal."""
    block = x[start : start + CHUNK]  # [c, d]
    norm = x.square().sum(dim=1)  # [b]
    distance = norm[start : start + CHUNK, None] + norm - 2 * block @ x.t()  # [c, b]
    row = torch.arange(block.size(0), device=x.device) + start
    column = torch.arange(x.size(0), device=x.device)
    kernel = (-t * distance).exp().masked_fill(row[:, None] == column, 0.0)
    return weight[start : start + CHUNK] @ (kernel @ weight)
