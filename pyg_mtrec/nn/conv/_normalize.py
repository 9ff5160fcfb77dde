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
    scale = _inverse_root(degree)
    if same_nodes:
        return scale[src] * weight * scale[dst]
    src_degree = weight.new_zeros(size[0]).index_add(0, src, weight)
    return _inverse_root(src_degree)[src] * weight * scale[dst]


def _inverse_root(degree: Tensor) -> Tensor:
    # The inner 'where' keeps infinity out of the backward pass, where 0 * inf would be NaN.
    is_zero = degree == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, degree).rsqrt())
