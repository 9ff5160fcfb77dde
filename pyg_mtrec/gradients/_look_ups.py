"""What the tasks of a step read: rows by node type, or by the view that the encoder made."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import Task


def node_ids(
    tasks: Mapping[str, Task], batches: Mapping[str, Any]
) -> dict[str, dict[str, Tensor | None]]:
    r"""Returns what each task's batch looks up: node type to ids, :obj:`None` for all nodes."""
    for name in tasks:
        if name not in batches:
            raise InputError(
                f"a step needs one batch a task, but task {name!r} has none"
                f" (got batches for {sorted(batches)})"
            )
    return {name: task.node_ids(batches[name]) for name, task in tasks.items()}


def look_ups(
    tables: Mapping[str, Parameter], tasks: Mapping[str, Task], batches: Mapping[str, Any]
) -> dict[str, Tensor]:
    r"""Returns the ids that the batches look up, per table, with repetitions."""
    wanted = node_ids(tasks, batches)
    keys = {name: {n: n for n in ids} for name, ids in wanted.items()}
    check_tables(tables, tasks, keys)
    return {
        name: all_ids(tables[name]) if ids is None else ids
        for name, ids in merged(keys, wanted).items()
    }


def all_ids(table: Tensor) -> Tensor:
    r"""Returns the ids of all rows."""
    return torch.arange(table.size(0), device=table.device)


def check_tables(
    tables: Mapping[str, Parameter], tasks: Mapping[str, Task], keys: dict[str, dict[str, str]]
) -> None:
    r"""Refuses a task that reads nodes of which there is neither a table nor a view."""
    for name, found in keys.items():
        for node_type, key in found.items():
            if "/" not in key and node_type not in tables:
                view = tasks[name].view
                raise InputError(
                    f"task {name!r} reads {node_type!r}, but there is no table for node type"
                    f" {node_type!r} (found {sorted(tables)})"
                    + (f", and the encoder makes no view {view!r} of it" if view else "")
                )


def merged(
    keys: dict[str, dict[str, str]], wanted: dict[str, dict[str, Tensor | None]]
) -> dict[str, Tensor | None]:
    r"""Returns what all tasks together look up, per key, :obj:`None` for all nodes."""
    found: dict[str, list[Tensor | None]] = {}
    for task, ids_of in wanted.items():
        for node_type, ids in ids_of.items():
            found.setdefault(keys[task][node_type], []).append(ids)
    out: dict[str, Tensor | None] = {}
    for key, parts in found.items():
        given = [ids for ids in parts if ids is not None]
        out[key] = torch.cat(given) if len(given) == len(parts) else None
    return out


def key_of(full: Representations | None, view: str | None, node_type: str) -> str:
    r"""Returns ``view/node type`` where the encoder made such a view, else the node type."""
    if full is not None and view is not None and node_type in full.views.get(view, {}):
        return f"{view}/{node_type}"
    return node_type


def matrix_of(full: Representations, key: str) -> Tensor:
    r"""Returns the representations of a key."""
    view, _, node_type = key.rpartition("/")
    return full.matrix(node_type, view or None)
