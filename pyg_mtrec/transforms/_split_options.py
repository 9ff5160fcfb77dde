"""What the splits share: their choices, and the checks of what a user passes."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._strategies import Fractions

ValFrom = Literal["train", "test-users"]
Behaviours = Literal["drop", "keep"]
DEFAULT_VAL_FRACTION = {"train": 0.1, "test-users": 0.5}


def check_choice(name: str, value: Any, literal: Any, transform: str) -> None:
    r"""Refuses what is not among the choices of a ``Literal``."""
    if value not in get_args(literal):
        raise InputError(
            f"{name!r} needs to be one of {get_args(literal)} in {transform!r} (got {value!r})"
        )


def check_fractions(fractions: Sequence[float], transform: str) -> Fractions:
    r"""Returns the shares of training, validation and test."""
    train, *later = fractions
    if len(later) != 2 or not (
        train > 0 and min(later) >= 0 and abs(train + sum(later) - 1) < 1e-6
    ):
        raise InputError(
            "'fractions' needs to be three shares that sum to 1, the first above 0, "
            f"in {transform!r} (got {tuple(fractions)})"
        )
    return train, later[0], later[1]


def check_val_fraction(
    val_fraction: float | None, val_from: str, strategy: str, transform: str
) -> float:
    r"""Returns the share that a missing validation takes, by default that of its source."""
    check_choice("val_from", val_from, ValFrom, transform)
    if val_from != "train" and strategy != "given":
        raise InputError(
            f"'val_from' {val_from!r} belongs to the 'given' strategy of {transform!r} "
            f"(got {strategy!r}): leave it at 'train'"
        )
    if val_fraction is None:
        return DEFAULT_VAL_FRACTION[val_from]
    if not 0 <= val_fraction < 1:
        raise InputError(
            f"'val_fraction' needs to be in [0, 1) in {transform!r} (got {val_fraction})"
        )
    return val_fraction


def column(data: HeteroData, edge_type: EdgeType, name: str, strategy: str) -> Tensor:
    r"""Returns an attribute with one entry per interaction, which a strategy needs."""
    value = data[edge_type].get(name)
    size = data[edge_type].edge_index.size(1)
    if not isinstance(value, Tensor) or value.shape != (size,):
        found = "no such attribute" if value is None else "another shape"
        raise InputError(
            f"{strategy!r} split needs {name!r} [{size}] on {edge_type} "
            f"(found {found}): add it or choose another strategy"
        )
    if value.is_floating_point() and bool(value.isnan().any()):
        row = int(value.isnan().nonzero()[0])
        raise InputError(f"{name!r} of {edge_type} is NaN in row {row}: fill it or drop the row")
    return value


def published_split(data: HeteroData, edge_type: EdgeType) -> Tensor:
    r"""Returns ``split`` after checking that it names three parts."""
    split = column(data, edge_type, "split", "given")
    if bool(((split < 0) | (split > 2)).any()):
        raise InputError(
            f"'split' of {edge_type} needs to be 0, 1 or 2 "
            f"(found {torch.unique(split).tolist()[:5]})"
        )
    return split
