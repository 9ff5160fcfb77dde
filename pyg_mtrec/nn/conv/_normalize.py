import torch
from torch import Tensor


def edge_weights(
    normalization: str,
    src: Tensor,
    dst: Tensor,
    weight: Tensor,
    size: tuple[int, int],
    same_nodes: bool,
) -> Tensor:
    r"""Returns the normalised weight of every edge; a node without edges divides by nothing.

    Args:
        normalization: ``"sym"`` for :math:`w / \sqrt{d_s d_t}`, ``"authors"`` for
            :math:`w / (d_t + 1)`, with degrees that are sums of weights.
        src: Sources :math:`[E]`.
        dst: Destinations :math:`[E]`.
        weight: Weights :math:`[E]` before normalisation.
        size: Numbers of sources and destinations.
        same_nodes: Sources and destinations are the same nodes, whose degree is the incoming one.
    """
    degree = weight.new_zeros(size[1]).index_add(0, dst, weight)
    if normalization == "authors":
        return weight / (degree + 1)[dst]
    scale = power(degree, -0.5)
    if same_nodes:
        return scale[src] * weight * scale[dst]
    src_degree = weight.new_zeros(size[0]).index_add(0, src, weight)
    return power(src_degree, -0.5)[src] * weight * scale[dst]


def power(degree: Tensor, exponent: float) -> Tensor:
    r"""Returns a power of every degree, and zero for a degree of zero."""
    # The inner 'where' keeps infinity out of the backward pass, where 0 * inf would be NaN.
    is_zero = degree == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, degree).pow(exponent))


def scale_rows(x: Tensor, degree: Tensor, exponent: float) -> Tensor:
    r"""Multiplies every row with a power of its degree; the exponent 0 leaves all rows alone."""
    if exponent == 0:
        return x
    degree = degree.to(torch.promote_types(degree.dtype, x.dtype))
    return (power(degree, exponent).view(-1, 1) * x).to(x.dtype)
