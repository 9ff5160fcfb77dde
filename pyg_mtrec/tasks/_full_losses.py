"""Losses over all edges of a relation at once, whose gradients are sparse products."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus
from torch_geometric.index import index2ptr

from pyg_mtrec.loader import FullBatch
from pyg_mtrec.nn.conv._csr import csr
from pyg_mtrec.nn.conv._spmm import spmm

# Rows of a chunk stay in a core's cache; a GPU wants few, large steps.
_CHUNK = {"cpu": 512}
_CHUNK_ELSEWHERE = 1 << 18


def full_ranking_loss(src_x: Tensor, dst_x: Tensor, batch: FullBatch) -> Tensor:
    r"""Bayesian personalised ranking over all edges, the mean over an edge's negatives.

    Args:
        src_x: Source representations :math:`[S, d]`.
        dst_x: Destination representations :math:`[D, d]`.
        batch: All edges, with negatives.
    """
    loss: Tensor = _Ranking.apply(src_x, dst_x, batch)  # type: ignore[no-untyped-call]
    return loss


def full_alignment_loss(src_x: Tensor, dst_x: Tensor, batch: FullBatch) -> Tensor:
    r"""The mean squared distance of all edges' ends.

    Args:
        src_x: Source representations :math:`[S, d]`.
        dst_x: Destination representations :math:`[D, d]`.
        batch: All edges.
    """
    loss: Tensor = _Alignment.apply(src_x, dst_x, batch)  # type: ignore[no-untyped-call]
    return loss


class _Ranking(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, src_x: Tensor, dst_x: Tensor, batch: FullBatch) -> Tensor:
        assert batch.dst_neg_index is not None
        negatives = batch.dst_neg_index
        negatives = negatives if negatives.dim() == 2 else negatives[:, None]  # [E, m]
        gap = _gaps(src_x, dst_x, batch, negatives)  # [E, m]
        weight = (_weight(batch, gap) / negatives.size(1))[:, None]  # [E, 1]
        ctx.batch, ctx.negatives = batch, negatives
        ctx.save_for_backward(src_x, dst_x, gap.sigmoid().mul_(weight))
        return softplus(gap).mul_(weight).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        src_x, dst_x, slope = ctx.saved_tensors
        batch, negatives, slope = ctx.batch, ctx.negatives, slope * grad  # [E, m]
        pull = -slope.sum(dim=1)  # [E], of the positives
        # The ends of a source's edges stand side by side; of negatives nothing is in order.
        ends = torch.cat([batch.dst_pos_index[:, None], negatives], dim=1)  # [E, 1 + m]
        weight = torch.cat([pull[:, None], slope], dim=1).view(-1)
        src_grad = _product(batch.src_ptr * ends.size(1), ends.view(-1), weight, dst_x)
        ordered, order = negatives.reshape(-1).sort()
        src = batch.src_index[order // negatives.size(1)]
        ptr = index2ptr(ordered, dst_x.size(0))
        dst_grad = _product(ptr, src, slope.view(-1)[order], src_x)
        return src_grad, _by_dst(batch, pull, src_x, out=dst_grad), None


class _Alignment(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, src_x: Tensor, dst_x: Tensor, batch: FullBatch) -> Tensor:
        square = src_x.new_empty(_num_edges(batch))
        for rows, src, pos in _chunks(src_x, dst_x, batch):
            apart = src.sub_(pos)
            torch.sum(apart.mul_(apart), dim=1, out=square[rows])
        weight = _weight(batch, square)
        ctx.batch = batch
        ctx.save_for_backward(src_x, dst_x, weight)
        return torch.dot(square, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        src_x, dst_x, weight = ctx.saved_tensors
        batch, weight = ctx.batch, weight * (2 * grad)  # [E]
        nowhere, one = torch.zeros_like(batch.src_index), weight.new_ones(1, 1)
        src_degree = _product(batch.src_ptr, nowhere, weight, one)  # [S, 1]
        dst_degree = _product(batch.dst_ptr, nowhere, weight[batch.by_dst], one)  # [D, 1]
        src_grad = _product(batch.src_ptr, batch.dst_pos_index, -weight, dst_x)
        dst_grad = _by_dst(batch, -weight, src_x)
        return src_grad.addcmul_(src_degree, src_x), dst_grad.addcmul_(dst_degree, dst_x), None


def _gaps(src_x: Tensor, dst_x: Tensor, batch: FullBatch, negatives: Tensor) -> Tensor:
    r"""Returns the scores of the negatives less those of their positives :math:`[E, m]`."""
    assert batch.dst_pos_index is not None and batch.src_ptr is not None
    size = (src_x.size(0), dst_x.size(0))
    ends = torch.cat([batch.dst_pos_index[:, None], negatives], dim=1)  # [E, 1 + m]
    # Elsewhere it may want each place once and in order; with more places than pairs it fails.
    known = src_x.device.type == "cpu" and src_x.dtype in (torch.float32, torch.float64)
    if known and ends.numel() <= size[0] * size[1]:
        zeros = src_x.new_zeros(ends.numel())
        ptr: Tensor = batch.src_ptr * ends.size(1)
        places = csr(ptr, ends.view(-1), zeros, size)
        # Inner products at the places of the edges, a row of sources at a time; no row is copied.
        found: Tensor = torch.sparse.sampled_addmm(places, src_x, dst_x.t(), beta=0.0)
        scores = found.values().view(ends.shape)
        return scores[:, 1:] - scores[:, :1]
    gap = src_x.new_empty(negatives.shape)
    for rows, src, pos in _chunks(src_x, dst_x, batch):
        for column, negative in enumerate(negatives[rows].unbind(1)):
            away = dst_x.index_select(0, negative).sub_(pos)  # [c, d]
            torch.sum(away.mul_(src), dim=1, out=gap[rows, column])
    return gap


def _num_edges(batch: FullBatch) -> int:
    assert batch.src_index is not None
    return batch.src_index.numel()


def _weight(batch: FullBatch, like: Tensor) -> Tensor:
    r"""Returns what each edge counts in the loss :math:`[E]`."""
    weight = like.new_full((_num_edges(batch),), 1 / batch.size)
    return weight if batch.weight is None else weight.mul_(batch.weight)


def _chunks(
    src_x: Tensor, dst_x: Tensor, batch: FullBatch
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    r"""Yields slices of the edges with fresh copies of their ends' rows."""
    assert batch.src_index is not None and batch.dst_pos_index is not None
    step = _CHUNK.get(src_x.device.type, _CHUNK_ELSEWHERE)
    for start in range(0, _num_edges(batch), step):
        rows = slice(start, start + step)
        yield (
            rows,
            src_x.index_select(0, batch.src_index[rows]),
            dst_x.index_select(0, batch.dst_pos_index[rows]),
        )


def _by_dst(batch: FullBatch, weight: Tensor, src_x: Tensor, out: Tensor | None = None) -> Tensor:
    r"""Sums weighted source rows by positive destination :math:`[D, d]`."""
    assert batch.src_index is not None and batch.dst_ptr is not None
    src = batch.src_index[batch.by_dst]
    return _product(batch.dst_ptr, src, weight[batch.by_dst], src_x, out)


def _product(
    ptr: Tensor, index: Tensor, weight: Tensor, x: Tensor, out: Tensor | None = None
) -> Tensor:
    r"""Sums the weighted rows of each segment, and adds them to ``out`` where it is given."""
    matrix = csr(ptr, index, weight, (ptr.numel() - 1, x.size(0)))
    if out is not None:
        return torch.addmm(out, matrix, x, out=out)
    return spmm(matrix, x)
