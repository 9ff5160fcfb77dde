"""One hidden layer per group, batched, with the groups side by side in a row throughout."""

from typing import Any

import torch
from torch import Tensor

from pyg_mtrec.nn.bottoms._dropout import finish


def grouped_hidden(
    x: Tensor, weight: Tensor, bias: Tensor, share: float, draws: torch.Generator | None
) -> Tensor:
    r"""Returns every group's hidden layer of its own input :math:`[B, E, H]`.

    Args:
        x: Inputs :math:`[B, E, D]`.
        weight: Weights :math:`[E, H, D]`.
        bias: Biases :math:`[E, H]`.
        share: The share of hidden units that is dropped.
        draws: Source of the dropout mask, :obj:`None` for no dropout.
    """
    if x.device.type == "cpu" and x.dtype == weight.dtype:
        return finish(_Grouped.apply(x, weight, bias), share, draws)  # type: ignore[no-untyped-call]
    return finish(_batched(x, weight, bias), share, draws).transpose(0, 1)


def _batched(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.baddbmm(bias.unsqueeze(1), x.transpose(0, 1), weight.transpose(1, 2))  # [E, B, H]


class _Grouped(torch.autograd.Function):
    r"""The batched product, but written where it belongs: on a CPU the copies cost a tenth."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        out = x.new_empty(x.size(0), *bias.shape)
        torch.baddbmm(
            bias.unsqueeze(1), x.transpose(0, 1), weight.transpose(1, 2), out=out.transpose(0, 1)
        )
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, weight = ctx.saved_tensors
        by_group = grad.transpose(0, 1)  # [E, B, H]
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grad):
            # Differentiated once more, or for many gradients at once: nothing may be written to.
            x_grad = torch.bmm(by_group, weight).transpose(0, 1)
        else:
            x_grad = torch.empty_like(x)
            torch.bmm(by_group, weight, out=x_grad.transpose(0, 1))
        weight_grad = torch.bmm(by_group.transpose(1, 2), x.transpose(0, 1))
        return x_grad, weight_grad, grad.sum(0)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        return torch.vmap(_batched, in_dims)(*inputs).transpose(1, 2), 0
