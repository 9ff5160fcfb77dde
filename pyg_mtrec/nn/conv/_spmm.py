from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pyg_mtrec.nn.conv.adjacency import Adjacency


def spmm(matrix: Tensor, x: Tensor) -> Tensor:
    r"""Returns the product, without the second buffer and the zeros that ``matrix @ x`` makes."""
    x = x.contiguous()
    shape = (matrix.size(0), x.size(1))
    # Only MKL is known not to read a buffer that beta = 0 declares void.
    mkl = x.device.type == "cpu" and torch.backends.mkl.is_available()
    out = x.new_empty(shape) if mkl else x.new_zeros(shape)
    return torch.addmm(out, matrix, x, beta=0, out=out)


class SpMM(torch.autograd.Function):
    r"""The product of a constant CSR matrix with a dense one.

    Autograd's own rule for ``A @ x`` transposes the matrix anew in every backward pass; this one
    takes the transpose that the :class:`Adjacency` keeps.
    """

    @staticmethod
    def forward(x: Tensor, adjacency: Adjacency) -> Tensor:
        adj_t = adjacency.adj_t
        if torch._C._functorch.is_legacy_batchedtensor(x):  # autograd.grad(is_grads_batched=True)
            return adj_t @ x  # its batching knows neither out= nor the rule below
        return spmm(adj_t, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Adjacency], output: Tensor) -> None:
        ctx.adjacency = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return SpMM.apply(grad, ctx.adjacency.t()), None  # type: ignore[no-untyped-call]

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, None], x: Tensor, adjacency: Adjacency
    ) -> tuple[Tensor, int]:
        assert in_dims[0] is not None
        x = x.movedim(in_dims[0], 1)  # [S, B, d]
        out = SpMM.apply(x.flatten(1), adjacency)  # type: ignore[no-untyped-call]
        return out.unflatten(1, x.shape[1:]), 1  # [D, B, d]
