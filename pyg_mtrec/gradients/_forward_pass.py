from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients._gathered import Gathered, GatheredRepresentations
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import Task

Grads = dict[str, Tensor]


class ForwardPass:
    r"""One step's losses, and the buffers into which their gradients add up.

    Tasks read rows of the representations that were gathered once and cut off from the encoder;
    :meth:`pull_back` goes on from there. A local encoder runs on gathered rows of the tables, any
    other on whole tables.

    Args:
        tables: Node type to table.
        encoder: The encoder.
        tasks: Name to task.
        batches: Name to batch.
        adj_dict: Relation to operator.
        slots: Scratch space that is kept from step to step.
        num_sinks: One buffer a task, or 1 if a sum of the losses is differentiated.
    """

    def __init__(
        self,
        tables: Mapping[str, Parameter],
        encoder: Encoder,
        tasks: Mapping[str, Task],
        batches: Mapping[str, Any],
        adj_dict: Mapping[Any, Any] | None,
        slots: dict[str, Tensor],
        num_sinks: int,
    ) -> None:
        self.dense = dict(encoder.named_parameters())
        self.ids = {
            node_type: unique_rows(ids, static=ids.device.type != "cpu")
            for node_type, ids in look_ups(tables, tasks, batches).items()
        }
        gathered = {n: tables[n].detach().index_select(0, ids) for n, ids in self.ids.items()}
        self.inputs: dict[str, Tensor]
        if encoder.local:
            self.inputs = {n: rows.requires_grad_() for n, rows in gathered.items()}
            self.outputs = dict(encoder(self.inputs, {}).x_dict)
        else:
            self.inputs = dict(tables)
            full = encoder(self.inputs, adj_dict or {}).x_dict
            self.outputs = {n: full[n].index_select(0, ids) for n, ids in self.ids.items()}
        self.local = encoder.local
        self.identity = self.local and all(self.outputs[n] is self.inputs[n] for n in self.inputs)
        for node_type, ids in self.ids.items():
            _fill_slots(slots, node_type, ids, tables[node_type].size(0))
        self.leaves = {n: x.detach().requires_grad_() for n, x in self.outputs.items()}
        self.sinks = {n: x.new_zeros(num_sinks, *x.shape) for n, x in self.leaves.items()}
        self.direct: list[dict[str, Gathered]] = []
        self.losses = []
        for position, (name, task) in enumerate(tasks.items()):
            sink = min(position, num_sinks - 1)
            x_dict = {n: Gathered(leaf, self.sinks[n][sink]) for n, leaf in self.leaves.items()}
            table_rows = x_dict if self.identity else _Direct(gathered)
            self.direct.append({} if self.identity else table_rows)
            self.losses.append(
                task(batches[name], GatheredRepresentations(x_dict, table_rows, slots))
            )

    def backward(
        self, loss: Tensor, own: Mapping[str, Mapping[str, Parameter]], retain_graph: bool
    ) -> dict[str, Grads]:
        r"""Adds a loss's gradient to its sinks, and returns that of the tasks' own parameters."""
        leaves = [*self.leaves.values()]
        leaves += [gathered.rows for tables in self.direct for gathered in tables.values()]
        return own_gradients(loss, leaves, own, retain_graph)

    def pull_back(self, grads: Mapping[str, Tensor], retain_graph: bool) -> tuple[Grads, Grads]:
        r"""Returns :math:`J^\top g` of (touched) table rows and of the encoder's parameters."""
        if self.identity:
            return dict(grads), {}
        found = iter(
            torch.autograd.grad(
                list(self.outputs.values()),
                [*self.inputs.values(), *self.dense.values()],
                [grads[name] for name in self.outputs],
                retain_graph=retain_graph,
                allow_unused=True,
            )
        )
        return (
            {name: _or_zeros(next(found), x) for name, x in self.inputs.items()},
            {name: _or_zeros(next(found), p) for name, p in self.dense.items()},
        )

    def add_direct(self, rows: Grads, positions: range | None = None) -> None:
        r"""Adds what tasks (all or some) made of table rows without the encoder, an L2 term say."""
        for position, tables in enumerate(self.direct):
            if positions is not None and position not in positions:
                continue
            for name, gathered in tables.items():
                if self.local:
                    rows[name] = rows[name] + gathered.sink
                else:
                    rows[name].index_add_(0, self.ids[name], gathered.sink)


class _Direct(dict[str, Gathered]):
    r"""Table rows beside the encoder; buffers are made when a task reads them, which few do."""

    def __init__(self, rows: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._rows = rows

    def __missing__(self, name: str) -> Gathered:
        leaf = self._rows[name].detach().requires_grad_()
        self[name] = Gathered(leaf, torch.zeros_like(leaf, requires_grad=False))
        return self[name]


def own_gradients(
    loss: Tensor,
    leaves: list[Tensor],
    own: Mapping[str, Mapping[str, Parameter]],
    retain_graph: bool,
) -> dict[str, Grads]:
    r"""Differentiates a loss; look-ups of the leaves fill their sinks by the way.

    Args:
        loss: The loss.
        leaves: What look-ups read from.
        own: Task to its own parameters.
        retain_graph: Whether another loss follows.

    Returns:
        Task to the gradients of its own parameters.
    """
    parameters = [parameter for named in own.values() for parameter in named.values()]
    found = torch.autograd.grad(
        loss, [*leaves, *parameters], retain_graph=retain_graph, allow_unused=True
    )
    rest = iter(found[len(leaves) :])
    return {
        task: {name: _or_zeros(next(rest), p) for name, p in named.items()}
        for task, named in own.items()
    }


def look_ups(
    tables: Mapping[str, Parameter], tasks: Mapping[str, Task], batches: Mapping[str, Any]
) -> dict[str, Tensor]:
    r"""Returns the ids that the batches look up, per table, with repetitions."""
    found: dict[str, list[Tensor]] = {}
    for name, task in tasks.items():
        if name not in batches:
            raise InputError(
                f"a step needs one batch a task, but task {name!r} has none"
                f" (got batches for {sorted(batches)})"
            )
        for node_type, ids in task.node_ids(batches[name]).items():
            found.setdefault(node_type, []).append(ids)
    for node_type in found:
        if node_type not in tables:
            raise InputError(
                f"a task reads {node_type!r}, but there is no table for node type {node_type!r}"
                f" (found {sorted(tables)})"
            )
    return {node_type: torch.cat(parts) for node_type, parts in found.items()}


def _fill_slots(slots: dict[str, Tensor], node_type: str, ids: Tensor, num_rows: int) -> None:
    slot = slots.get(node_type)
    if slot is None or slot.device != ids.device:
        slot = slots[node_type] = torch.zeros(num_rows, dtype=torch.long, device=ids.device)
    # Where a static tail repeats row 0 any of its places will do: all hold the same row.
    slot[ids] = torch.arange(ids.numel(), device=ids.device)


def _or_zeros(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like, requires_grad=False) if grad is None else grad
