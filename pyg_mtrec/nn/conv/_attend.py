"""Attention of every row over few keys of its own, in chunks: no temporary is large."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

# Rows of a chunk stay in a core's cache; a GPU wants few, large steps.
_CHUNK = {"cpu": 2048}
_CHUNK_ELSEWHERE = 1 << 18


def attend(
    x: Tensor, keys: Sequence[Tensor], sharpness: Tensor, strength: Tensor, scale: float, tanh: bool
) -> tuple[Tensor, Tensor]:
    r"""Adds to every row what it takes from its keys.

    .. math::
        a_t = \operatorname{softmax}_t (s \langle x, k_t \rangle), \qquad
        y = \beta \left(x + r \tanh \sum_t a_t k_t\right)

    Args:
        x: Rows :math:`[M, d]`.
        keys: Keys :math:`[M, d]` of every row, at least one.
        sharpness: Factors :math:`s` of the inner products :math:`[M, 1]`.
        strength: Factors :math:`r` of what is taken :math:`[M, 1]`.
        scale: The factor :math:`\beta`.
        tanh: Whether there is one.

    Returns:
        Rows :math:`[M, d]` and the attention :math:`[M, T]`.
    """
    out, attention = _Attend.apply(x, sharpness, strength, scale, tanh, *keys)  # type: ignore[no-untyped-call]
    return out, attention


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        sharpness: Tensor,
        strength: Tensor,
        scale: float,
        tanh: bool,
        *keys: Tensor,
    ) -> tuple[Tensor, Tensor]:
        ctx.scale, ctx.tanh = scale, tanh
        ctx.save_for_backward(x, sharpness, strength, *keys)
        out, attention = torch.empty_like(x), x.new_empty(x.size(0), len(keys))
        for rows in _chunks(x):
            share, taken = _take(x[rows], sharpness[rows], tanh, [key[rows] for key in keys])
            attention[rows] = share
            torch.mul(taken.mul_(strength[rows]).add_(x[rows]), scale, out=out[rows])
        return out, attention

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_attention: Tensor) -> tuple[Tensor | None, ...]:
        tensors = grad, grad_attention, *ctx.saved_tensors
        wanted = ctx.needs_input_grad[5:]
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grad):
            # Differentiated once more, or for many gradients at once: nothing may be overwritten.
            x_grad, *key_grads = _pull(tensors, ctx.scale, ctx.tanh, wanted)
        else:
            x, keys = tensors[2], tensors[5:]
            x_grad = torch.empty_like(x)
            key_grads = [
                torch.empty_like(k) if w else None for k, w in zip(keys, wanted, strict=True)
            ]
            for rows in _chunks(x):
                parts = _pull([t[rows] for t in tensors], ctx.scale, ctx.tanh, wanted)
                for whole, part in zip([x_grad, *key_grads], parts, strict=True):
                    if whole is not None and part is not None:
                        whole[rows] = part
        return x_grad, None, None, None, None, *key_grads


def _take(
    x: Tensor, sharpness: Tensor, tanh: bool, keys: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    fit = torch.stack([(x * key).sum(1) for key in keys], dim=1)  # [c, T]
    share = (fit * sharpness).softmax(1)
    mixture = share[:, :1] * keys[0]  # [c, d]
    for task, key in enumerate(keys[1:], start=1):
        mixture = mixture.addcmul(share[:, task : task + 1], key)
    return share, mixture.tanh() if tanh else mixture


def _pull(
    tensors: Sequence[Tensor], scale: float, tanh: bool, wanted: Sequence[bool]
) -> list[Tensor | None]:
    r"""Returns the gradients of rows and keys, in operations that have gradients of their own."""
    grad, grad_attention, x, sharpness, strength, *keys = tensors
    share, taken = _take(x, sharpness, tanh, keys)
    to_x = grad * scale
    to_mixture = to_x * strength
    if tanh:
        to_mixture = to_mixture * (1 - taken * taken)
    to_share = torch.stack([(to_mixture * key).sum(1) for key in keys], dim=1) + grad_attention
    to_fit = share * (to_share - (share * to_share).sum(1, keepdim=True)) * sharpness  # [c, T]
    out: list[Tensor | None] = []
    for task, key in enumerate(keys):
        part = to_fit[:, task : task + 1]
        to_x = to_x + part * key
        out.append(share[:, task : task + 1] * to_mixture + part * x if wanted[task] else None)
    return [to_x, *out]


def _chunks(x: Tensor) -> Iterator[slice]:
    step = _CHUNK.get(x.device.type, _CHUNK_ELSEWHERE)
    for start in range(0, x.size(0), step):
        yield slice(start, start + step)
