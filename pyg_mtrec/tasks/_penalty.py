"""L2 penalties of rows that a loss reads."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.encoders import Representations

REDUCTIONS = ("mean", "sum")


def check_reduction(reduction: str, owner: str) -> str:
    r"""Returns the reduction's name, or says which there are."""
    if reduction not in REDUCTIONS:
        raise InputError(
            f"'reduction' needs to be one of {REDUCTIONS} in {owner!r} (got {reduction!r})"
        )
    return reduction


def l2_penalty(
    ids_of: Mapping[str, Tensor | None],
    matrix: Callable[[str], Tensor],
    rows: Callable[[str, Tensor], Tensor],
    reduction: str,
) -> Tensor:
    r"""Returns half the squared norms of what a batch reads, each summed or a mean over rows.

    Args:
        ids_of: Node type to ids, :obj:`None` for all nodes.
        matrix: Returns the matrix of a node type.
        rows: Returns rows of a node type.
        reduction: ``"mean"`` or ``"sum"``.
    """
    terms = []
    for node_type, ids in ids_of.items():
        read = matrix(node_type) if ids is None else rows(node_type, ids)
        total: Tensor = _SquaredNorm.apply(read)  # type: ignore[no-untyped-call]
        terms.append(total / max(1, read.size(0)) if reduction == "mean" else total)
    return torch.stack(terms).sum() / 2


class _SquaredNorm(torch.autograd.Function):
    r"""Makes no matrix of squares; one dot product of millions would lose three more digits."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        norms: Tensor = torch.linalg.vector_norm(x, dim=1)
        return norms.square_().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        out: Tensor = x * (2 * grad)
        return out


def tables_of(
    representations: Representations, owner: str
) -> tuple[Callable[[str], Tensor], Callable[[str, Tensor], Tensor]]:
    r"""Returns what reads embedding tables, whatever the encoder makes of them: whole, or rows.

    Raises:
        InputError: If these representations do not know the tables.
    """
    table = getattr(representations, "table", None)
    table_rows = getattr(representations, "table_rows", None)
    if table is None or table_rows is None:
        raise InputError(
            f"'l2' of {owner!r} penalises rows of the embedding tables, which these representations"
            " do not hold: let 'GradientCollector' run the step"
        )
    return table, table_rows


def check_l2(l2: float, owner: str) -> float:
    r"""Returns the factor, or says that it is negative."""
    if not l2 >= 0.0:
        raise InputError(f"'l2' needs to be at least 0 in {owner!r} (got {l2})")
    return l2
