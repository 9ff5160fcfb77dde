"""The targets of impressions: columns of labels, checked where a user hands them in."""

from typing import Any, NamedTuple

from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._stores import MAIN

KINDS = ("binary", "continuous")


class Targets(NamedTuple):
    r"""Labels :math:`[E, K]`, NaN where a row is unlabelled, with their names and kinds."""

    value: Tensor
    names: list[str]
    kinds: list[str]

    @property
    def binary(self) -> list[str]:
        r"""Names of the binary targets."""
        return [name for name, kind in zip(self.names, self.kinds, strict=True) if kind == "binary"]

    def column(self, name: str) -> Tensor:
        r"""Returns the labels :math:`[E]` of one target."""
        return self.value[:, self.names.index(name)]


def targets_of(data: HeteroData, transform: str) -> Targets:
    r"""Returns the targets of the main relation after checking shapes, names, kinds and values."""
    store = data[MAIN]
    value = store.get("target")
    names = list(store.get("target_names") or ())
    kinds = list(store.get("target_kinds") or ())
    size = store.edge_index.size(1)
    if value is None or not names:
        raise InputError(
            f"{transform!r} needs 'target' and 'target_names' on {MAIN} (found"
            f" {sorted(store.keys())}): name the targets when the data is read"
        )
    floating = isinstance(value, Tensor) and value.is_floating_point()
    if not floating or value.shape != (size, len(names)):
        found = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"'target' of {MAIN} needs to be float32 of shape [{size}, {len(names)}], one column"
            f" for each of 'target_names' (got {getattr(value, 'dtype', found)} of shape {found})"
        )
    if len(set(names)) < len(names) or not all(str(name).isidentifier() for name in names):
        raise InputError(f"'target_names' of {MAIN} need to be distinct identifiers (got {names})")
    if len(kinds) != len(names) or not set(kinds) <= set(KINDS):
        raise InputError(
            f"'target_kinds' of {MAIN} needs one of {KINDS} for each of {names} (got {kinds})"
        )
    targets = Targets(value, names, kinds)
    for name in names:
        _check_values(targets.column(name), name, "binary" if name in targets.binary else "")
    return targets


def refuse_constant(targets: Targets, rows: Tensor, where: str) -> None:
    r"""Refuses targets that say the same of every row at the positions ``rows``."""
    for name in targets.names:
        label = targets.column(name)[rows]
        label = label[~label.isnan()]
        if label.numel() == 0 or bool((label == label[0]).all()):
            what = f"has no label in the {where}"
            if label.numel():
                what = f"is {float(label[0]):g} in all {label.numel():,} labelled {where}"
            raise InputError(
                f"target {name!r} {what}: there is nothing to learn; leave it out, or split"
                " otherwise"
            )


def describe_labels(targets: Targets, rows: Tensor) -> dict[str, dict[str, Any]]:
    r"""Returns the number and the mean of every target's labels at the positions ``rows``."""
    found: dict[str, dict[str, Any]] = {}
    for name in targets.names:
        label = targets.column(name)[rows].double()
        label = label[~label.isnan()]
        mean = float(label.mean()) if label.numel() else None
        found[name] = {"labelled": label.numel(), "mean": mean}
    return found


def _check_values(label: Tensor, name: str, kind: str) -> None:
    good = label.isnan() | (((label == 0) | (label == 1)) if kind == "binary" else label.isfinite())
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        need = "0, 1 or NaN" if kind == "binary" else "a finite number or NaN"
        raise InputError(
            f"target {name!r} of {MAIN} needs to be {need} (got {float(label[row]):g} in row {row})"
        )
