"""The labels of several targets, checked once and told apart."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

KINDS = ("binary", "continuous")


def target_columns(label: Tensor, targets: Mapping[str, str], where: str) -> dict[str, Tensor]:
    """Returns the column ``[n]`` of every target, float64 on the CPU, NaN where unlabelled.

    Args:
        label: Labels ``[n, K]``, a column per target.
        targets: Target to its kind, in the order of the columns.
        where: Who asks.

    Raises:
        InputError: If columns and targets do not match, a kind is unknown, a target has no label,
            or a label is infinite or, of a binary target, neither 0 nor 1.
    """
    if label.dim() != 2 or label.size(1) != len(targets) or not targets:
        raise InputError(
            f"'label' needs one column per target in '{where}' "
            f"(got {tuple(label.shape)} and {len(targets)} targets)"
        )
    columns = dict(zip(targets, label.detach().cpu().double().unbind(dim=1), strict=True))
    for name, kind in targets.items():
        _check(name, kind, columns[name], where)
    return columns


def _check(name: str, kind: str, column: Tensor, where: str) -> None:
    if kind not in KINDS:
        raise InputError(
            f"the kind of target '{name}' needs to be 'binary' or 'continuous' in '{where}' "
            f"(got '{kind}')"
        )
    known = ~column.isnan()
    if not bool(known.any()):
        raise InputError(
            f"target '{name}' has no label among {column.numel()} rows in '{where}': leave it out"
        )
    bad = known & ((column != 0) & (column != 1) if kind == "binary" else column.isinf())
    if bool(bad.any()):
        row = int(torch.argmax(bad.byte()))
        raise InputError(
            f"labels of target '{name}' need to be {'0 or 1' if kind == 'binary' else 'finite'} "
            f"or NaN in '{where}' (got {column[row]:g} in row {row})"
        )
