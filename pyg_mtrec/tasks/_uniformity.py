from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Rows of the pairwise matrix that are held at once: 2 MiB of float32 at 2048 columns stay in cache.
CHUNK = 256


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


def can_wait(x: Tensor) -> bool:
    r"""Returns whether a shape that depends on data costs no wait for a device."""
    return x.device.type == "cpu"


def uniformity(x: Tensor, weight: Tensor, t: float, ids: Tensor) -> Tensor:
    r"""Log of the weighted mean of :math:`e^{-t \lVert x_b - x_c \rVert^2}` over all pairs.

    Args:
        x: Rows :math:`[b, d]`.
        weight: Weights :math:`[b]`, not negative; no gradient flows into them.
        t: Sharpness.
        ids: The node of each row :math:`[b]`; rows of one node are equal.

    Returns:
        A scalar, 0 where there is no pair.
    """
    weight = weight.detach()
    pairs = (weight * (weight.sum() - weight)).sum()
    some = (weight > 0).sum() > 1
    same: Tensor | float = 0.0
    if can_wait(x):
        # Rows of one node meet all others alike: once, with their weights added up, is enough.
        nodes, place = ids.unique(return_inverse=True)
        merged = weight.new_zeros(nodes.numel()).index_add_(0, place, weight)
        first = place.new_empty(nodes.numel()).scatter_(0, place, torch.arange(place.numel()))
        same = (weight * (merged[place] - weight)).sum()
        x, weight = x[first], merged
    total: Tensor = _Kernel.apply(x, weight, t) + same  # type: ignore[no-untyped-call]
    one = torch.ones_like(total)
    mean = torch.where(some, total, one) / torch.where(some, pairs, one)
    return torch.where(some, mean.log(), torch.zeros_like(mean))


class _Kernel(torch.autograd.Function):
    r"""Sums :math:`w_b w_c e^{-t \lVert x_b - x_c \rVert^2}` over :math:`b \ne c`.

    The gradient :math:`-4 t w_b \sum_c w_c k_{bc} (x_b - x_c)` needs the same kernel matrix, so it
    is formed in the forward pass, a chunk of rows at a time, and no matrix is kept.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, t: float) -> Tensor:
        half = x.square().sum(dim=1, keepdim=True) * -t  # [b, 1]
        one = torch.ones_like(half)
        left = torch.cat([2 * t * x, half, one], dim=1)  # [b, d + 2]
        right = torch.cat([x, one, half], dim=1).t().contiguous()  # [d + 2, b]
        weighted = torch.cat([x * weight[:, None], weight[:, None]], dim=1)  # [b, d + 1]
        sums = torch.zeros_like(weighted)  # sum_c w_c k_bc (x_c, 1)
        for start in range(0, x.size(0), CHUNK):
            end = start + CHUNK
            # The kernel is symmetric: its upper triangle serves both sides.
            kernel = (left[start:end] @ right[:, start:]).exp_()  # [c, b - start]
            kernel.diagonal().zero_()
            sums[start:end] += kernel @ weighted[start:]
            sums[end:] += kernel[:, CHUNK:].t() @ weighted[start:end]
        ctx.save_for_backward((x * sums[:, -1:] - sums[:, :-1]).mul_(weight[:, None]).mul_(-4 * t))
        return (weight * sums[:, -1]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = ctx.saved_tensors
        return grad * grad_output, None, None
