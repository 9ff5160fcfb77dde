from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

_MAX_TASKS = 8
# Numbers in an intermediate of one block of Gram matrices: 1 MB, which stays in a CPU's cache;
# 128 MB elsewhere, for few and large launches.
_BLOCK, _LARGE_BLOCK = 1 << 17, 1 << 24
# A gradient whose squared norm falls below the normal range of float32 counts as zero.
_ZERO = 1e-36
# What is left of a unit vector that depends on others, up to rounding.
_NO_PIVOT = 1e-14


class Directions(NamedTuple):
    r"""Gram matrices, directions apart from lengths, so that gradients of any scale may mix.

    Many small matrices are calculated with entry by entry: the one long axis comes last.

    Args:
        cosines: :math:`\langle g_s, g_t \rangle / (\|g_s\| \|g_t\|)`, shape :math:`[T, T, R]`;
            the unit matrix in rows and columns of tasks without gradient.
        norms: Norms :math:`[T, R]`, exactly 0 for a task without gradient.
        inverse: Their inverses :math:`[T, R]`, 0 for a task without gradient.
    """

    cosines: Tensor
    norms: Tensor
    inverse: Tensor

    def units(self) -> Tensor:
        r"""Returns :math:`\min_s \|g_s\| / \|g_t\|`, 0 for a task without gradient."""
        return self.inverse / self.inverse.amax(dim=0).clamp(min=1e-300)


def in_blocks(rule: Callable[[Directions], Tensor], gram: Tensor, entries: int) -> Tensor:
    r"""Returns the weights :math:`[*, T]` that a rule finds for Gram matrices :math:`[*, T, T]`.

    Args:
        rule: Takes the directions of a block of :math:`R` matrices, returns weights
            :math:`[T, R]`.
        gram: The Gram matrices.
        entries: How many numbers an intermediate of ``rule`` holds for each matrix.
    """
    tasks = gram.size(-1)
    rows = gram.reshape(-1, tasks, tasks).permute(1, 2, 0)
    block = _BLOCK if gram.device.type == "cpu" else _LARGE_BLOCK
    blocks = rows.split(max(1, block // entries), dim=-1)
    weights = [rule(_directions(block.contiguous())) for block in blocks]
    out = weights[0] if len(weights) == 1 else torch.cat(weights, dim=-1)
    return out.t().reshape(gram.shape[:-1])


def _directions(gram: Tensor) -> Directions:
    squares = gram.diagonal().t()
    inverse = torch.where(squares > _ZERO, squares.rsqrt(), 0.0)
    cosines = (gram * inverse * inverse.unsqueeze(1)).clamp_(-1.0, 1.0)
    cosines.diagonal().fill_(1.0)
    return Directions(cosines, (squares * inverse), inverse)


def check_tasks(tasks: int, rule: str) -> None:
    r"""Refuses more tasks than there can be faces.

    Args:
        tasks: The number of tasks.
        rule: The name of the rule.
    """
    if tasks > _MAX_TASKS:
        raise InputError(
            f"'{rule}' goes through all subsets of the tasks and takes up to {_MAX_TASKS} of them"
            f" (got {tasks}): use 'FromTorchJD(torchjd.aggregation.{rule}(...))' for more"
        )


def sweep(table: Tensor, task: int) -> tuple[Tensor, Tensor]:
    r"""Eliminates a task from the equations that its first column stands for (Gauss–Jordan).

    Args:
        table: Rows of equations :math:`[*, T, C, R]`.
        task: The row whose first entry is the pivot.

    Returns:
        The pivot :math:`[*, 1, R]` and the table without its first column
        :math:`[*, T, C - 1, R]`.
    """
    rest, column = table[..., 1:, :], table[..., :1, :]
    pivot = column[..., task, :, :]
    row = rest[..., task, :, :] / pivot.clamp(min=_NO_PIVOT)
    out = torch.addcmul(rest, column, row.unsqueeze(-3), value=-1)
    out[..., task, :, :] = row
    return pivot, out


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    r"""Solves positive definite equations without asking the host.

    Args:
        matrix: The matrices :math:`[T, T, R]`.
        right: The right-hand sides :math:`[T, R]`.

    Returns:
        The solutions :math:`[T, R]`.
    """
    if matrix.size(-1) == 1:  # entry by entry pays off for many matrices only
        result: Tensor = torch.linalg.solve_ex(matrix[..., 0], right)[0]
        return result
    table = torch.cat([matrix, right.unsqueeze(1)], dim=1)
    for task in range(matrix.size(0)):
        _, table = sweep(table, task)
    return table[:, 0]


def faces(cosines: Tensor, right: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Solves :math:`C_{SS} x_S = r_S` for every subset :math:`S` of the tasks at once.

    The subsets with task :math:`t` are made from those without it in one elimination step. Where
    the last task of :math:`S` depends on the others, :math:`x` is long and points along the
    dependence, which is what a minimum on such a face needs.

    Args:
        cosines: The matrices :math:`[T, T, R]`.
        right: The right-hand sides :math:`[T, m, R]`.

    Returns:
        The solutions :math:`x_S` in the rows of :math:`S`, and the remainders
        :math:`r - C x` in the others, :math:`[2^T, T, m, R]`; 1 for the rows of :math:`S`, else 0,
        :math:`[2^T, T, 1, 1]`; and the smallest pivot :math:`[2^T, R]`, 0 for dependent tasks.
    """
    tasks, device = cosines.size(0), cosines.device
    table = torch.cat([cosines, right], dim=1).unsqueeze(0)
    smallest = torch.ones_like(cosines[0, :1])
    for task in range(tasks):
        pivot, swept = sweep(table, task)
        table = torch.cat([table[:, :, 1:], swept])
        smallest = torch.cat([smallest, torch.minimum(smallest, pivot[:, 0])])
    subsets = torch.arange(2**tasks, device=device).unsqueeze(1)
    inside = (subsets >> torch.arange(tasks, device=device)) & 1
    return table, inside[:, :, None, None].to(table), smallest


def times(cosines: Tensor, points: Tensor) -> Tensor:
    r"""Returns :math:`C x`.

    Args:
        cosines: The matrices :math:`[T, T, R]`.
        points: Vectors :math:`[*, T, R]` for each of them.
    """
    first, *others = points.split(1, dim=-2)
    out: Tensor = cosines[0] * first
    for row, other in zip(cosines[1:], others, strict=True):
        out.addcmul_(row, other)
    return out


def select(objective: Tensor, candidates: Tensor) -> Tensor:
    r"""Returns the candidate of least objective, or the mean of several.

    Args:
        objective: Objectives :math:`[F, *]`, infinite where a candidate is none.
        candidates: Candidates :math:`[F, T, *]`.

    Returns:
        The best ones :math:`[T, *]`.
    """
    # A comparison with the minimum is several times faster than argmin over a leading axis.
    best = torch.eq(objective, objective.amin(dim=0))
    total: Tensor = torch.where(best.unsqueeze(1), candidates, 0.0).sum(0)
    return total / best.sum(0)
