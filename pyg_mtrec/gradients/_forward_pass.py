from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients._gathered import GatheredRepresentations
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import Task

Grads = dict[str, Tensor]


def _ids_per_table(tasks: Mapping[str, Task], batches: Mapping[str, Any]) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}
    for name, task in tasks.items():
        if name not in batches:
            raise InputError(
                f"a step needs one batch a task, but task {name!r} has none"
                f" (got batches for {sorted(batches)})"
            )
        for node_type, ids in task.node_ids(batches[name]).items():
            found.setdefault(node_type, []).append(ids)
    merged = {node_type: torch.cat(parts) for node_type, parts in found.items()}
    return {n: unique_rows(ids, static=ids.device.type != "cpu") for n, ids in merged.items()}


class ForwardPass:
    r"""One step's losses, as functions of gathered rows that are leaves of differentiation.

    ``leaves`` are rows of the tables for a local encoder, rows of the representations otherwise.
    """

    def __init__(
        self,
        tables: Mapping[str, Parameter],
        encoder: Encoder,
        tasks: Mapping[str, Task],
        batches: Mapping[str, Any],
        adj_dict: Mapping[Any, Any] | None,
        slots: dict[str, Tensor],
    ) -> None:
        self.local = encoder.local
        self.tables, self.dense = dict(tables), dict(encoder.named_parameters())
        self.kept: Grads = {}
        self.ids = _ids_per_table(tasks, batches)
        for node_type in self.ids:
            if node_type not in tables:
                raise InputError(
                    f"a task reads {node_type!r}, but there is no table for node type"
                    f" {node_type!r} (found {sorted(tables)})"
                )
        gathered = {n: _leaf(tables[n].detach(), ids) for n, ids in self.ids.items()}
        if self.local:
            self.leaves = gathered
            x_dict = encoder(gathered, {}).x_dict
        else:
            full = encoder(dict(tables), adj_dict or {}).x_dict
            self._outputs = {n: full[n].index_select(0, ids) for n, ids in self.ids.items()}
            x_dict = {n: out.detach().requires_grad_() for n, out in self._outputs.items()}
            self.leaves = x_dict
        self.table_leaves = gathered
        for node_type, ids in self.ids.items():
            _fill_slots(slots, node_type, ids, tables[node_type].size(0))
        view = GatheredRepresentations(x_dict, slots, gathered)
        self.losses = [task(batches[name], view) for name, task in tasks.items()]

    def grad(
        self,
        loss: Tensor,
        own: Mapping[str, Mapping[str, Parameter]],
        retain_graph: bool,
    ) -> tuple[Grads, Grads, Grads, dict[str, Grads]]:
        r"""Differentiates a loss by the leaves.

        Args:
            loss: The loss.
            own: Task to its own parameters.
            retain_graph: Whether another loss follows.

        Returns:
            Gradients at the leaves; direct gradients of table rows beside the encoder (only of
            tables that have one); of the encoder's parameters if it is local; of ``own``.
        """
        dense = self.dense if self.local else {}
        direct = {} if self.local else self.table_leaves
        inputs = [
            *self.leaves.values(),
            *direct.values(),
            *dense.values(),
            *(parameter for parameters in own.values() for parameter in parameters.values()),
        ]
        found = iter(
            torch.autograd.grad(loss, inputs, retain_graph=retain_graph, allow_unused=True)
        )
        at_leaves = {name: _or_zeros(next(found), leaf) for name, leaf in self.leaves.items()}
        at_tables = {name: grad for name in direct if (grad := next(found)) is not None}
        shared = {name: _or_zeros(next(found), p) for name, p in dense.items()}
        mine = {
            task: {name: _or_zeros(next(found), p) for name, p in parameters.items()}
            for task, parameters in own.items()
        }
        return at_leaves, at_tables, shared, mine

    def pull_back(self, grads: Grads, retain_graph: bool) -> tuple[Grads, Grads]:
        r"""Returns :math:`J^\top g` of the tables and of the encoder's own parameters."""
        names = list(self._outputs)
        found = iter(
            torch.autograd.grad(
                [self._outputs[name] for name in names],
                [*self.tables.values(), *self.dense.values()],
                [grads[name] for name in names],
                retain_graph=retain_graph,
                allow_unused=True,
            )
        )
        return (
            {name: _or_zeros(next(found), p) for name, p in self.tables.items()},
            {name: _or_zeros(next(found), p) for name, p in self.dense.items()},
        )

    def keep(self, direct: Grads) -> None:
        r"""Adds up direct gradients of table rows that no rule combines (an L2 term of a task)."""
        for name, grad in direct.items():
            self.kept[name] = self.kept[name] + grad if name in self.kept else grad


def _or_zeros(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like, requires_grad=False) if grad is None else grad


def _leaf(table: Tensor, ids: Tensor) -> Tensor:
    return table.index_select(0, ids).requires_grad_()


def _fill_slots(slots: dict[str, Tensor], node_type: str, ids: Tensor, num_rows: int) -> None:
    slot = slots.get(node_type)
    if slot is None or slot.device != ids.device:
        slot = slots[node_type] = torch.zeros(num_rows, dtype=torch.long, device=ids.device)
    # Where a static tail repeats row 0 any of its places will do: all hold the same row.
    slot[ids] = torch.arange(ids.numel(), device=ids.device)
