from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

# Rows of the score matrix that are held at once on a CPU: they stay in its cache.
CHUNK = 256


def shared_softmax(
    src: Tensor,
    pos: Tensor,
    neg: Tensor,
    bias: Tensor | None,
    neg_ids: Tensor,
    hidden: Sequence[Tensor],
    weight: Tensor,
) -> Tensor:
    r"""Weighted sum of cross entropies of positives against negatives that all rows share.

    .. math::
        \sum_b w_b \log\left(1 + \sum_{j} e^{\langle x_b, y_j \rangle + \beta_j - p_b}\right)

    Args:
        src: Rows :math:`[b, d]`.
        pos: Scores of the positives :math:`[b]`.
        neg: Rows of the negatives :math:`[m, d]`.
        bias: What is added to each negative's scores :math:`[m]`, :math:`-\infty` to leave it out.
        neg_ids: Ids of the negatives :math:`[m]`.
        hidden: Ids :math:`[b]` that are no negatives of a row, as its own positive.
        weight: Weights :math:`[b]`; no gradient flows into them or into ``bias``.

    Returns:
        A scalar; a row without a negative adds 0.
    """
    out: Tensor = _SharedSoftmax.apply(  # type: ignore[no-untyped-call]
        src, pos, neg, bias, neg_ids, hidden, weight
    )
    return out


class _SharedSoftmax(torch.autograd.Function):
    r"""The scores serve the gradient too, so it is formed in the forward pass, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        src: Tensor,
        pos: Tensor,
        neg: Tensor,
        bias: Tensor | None,
        neg_ids: Tensor,
        hidden: Sequence[Tensor],
        weight: Tensor,
    ) -> Tensor:
        loss, grad_pos = src.new_zeros(()), torch.zeros_like(pos)
        grad_src, grad_neg = torch.zeros_like(src), torch.zeros_like(neg)
        chunk = CHUNK if src.device.type == "cpu" else max(1, src.size(0))
        # Without a negative there is no maximum to take.
        for start in range(0, src.size(0) if neg.size(0) else 0, chunk):
            part = slice(start, start + chunk)
            x = src[part]  # [c, d]
            score = x @ neg.t() if bias is None else torch.addmm(bias, x, neg.t())  # [c, m]
            for ids in hidden:
                score.masked_fill_(neg_ids == ids[part, None], -torch.inf)
            # Where every negative is hidden the maximum has to be finite, or it would give NaN.
            top = score.amax(dim=1).clamp(min=torch.finfo(score.dtype).min)  # [c]
            share = score.sub_(top[:, None]).exp_()  # [c, m]
            total = share.sum(dim=1)  # [c]; 0, or at least the 1 of the maximum
            gap = total.log() + top - pos[part]
            loss += (weight[part] * softplus(gap)).sum()
            slope = weight[part] * gap.sigmoid()
            scale = (slope / total.clamp(min=1))[:, None]
            grad_pos[part] = -slope
            grad_src[part] = (share @ neg).mul_(scale)
            grad_neg.addmm_(share.t(), x * scale)
        ctx.save_for_backward(grad_src, grad_pos, grad_neg)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grads = [grad * grad_output for grad in ctx.saved_tensors]
        return *grads, None, None, None, None
