"""Sequences of several behaviours for several tasks, folded or one after the other."""

import torch
from torch import Tensor

from pyg_mtrec.nn.bottoms._transformer import Transformer


def encode(
    transformer: Transformer,
    x: Tensor,
    mask: Tensor,
    visible: Tensor,
    query: Tensor | None,
    norms: Tensor,
    seed: int | None,
) -> tuple[Tensor, Tensor]:
    r"""Returns vectors [k, G, B, d] and weights [k, G, B, L] of :math:`k` tasks.

    Args:
        transformer: The Transformer.
        x: What its ``begin`` returned :math:`[G, B, L, d]`.
        mask: Mask :math:`[G, B, L]` of events.
        visible: Mask :math:`[G, B, L]` of rows that are attended to, not empty anywhere.
        query: What its ``query`` returned.
        norms: Norms :math:`[2 \cdot \text{layers}, k, G, 2 d]`.
        seed: Of the dropout masks, :obj:`None` for no dropout.
    """
    draws = None if seed is None else torch.Generator(x.device).manual_seed(seed)
    if x.device.type != "cpu":  # folded into the batch: few large operations
        vectors, weights = transformer(x, mask, visible, query, norms, draws)
        return vectors, weights
    # A CPU waits for memory: what is small enough to be used again at once is faster by a third.
    behaviours = list(zip(x.split(1), mask.split(1), visible.split(1), strict=True))
    tasks = []
    for of_task in norms.split(1, dim=1):
        pairs = [
            transformer(*behaviour, query, norm, draws)
            for behaviour, norm in zip(behaviours, of_task.split(1, dim=2), strict=True)
        ]
        tasks.append([torch.cat(part, dim=1) for part in zip(*pairs, strict=True)])
    vectors, weights = (torch.cat(part) for part in zip(*tasks, strict=True))
    return vectors, weights
