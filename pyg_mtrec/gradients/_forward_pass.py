from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec.gradients._direct import Direct
from pyg_mtrec.gradients._gathered import Gathered, GatheredRepresentations
from pyg_mtrec.gradients._look_ups import (
    all_ids,
    check_tables,
    key_of,
    matrix_of,
    merged,
    node_ids,
)
from pyg_mtrec.gradients._unique_rows import fill_slots, unique_rows
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import Task

Grads = dict[str, Tensor]
Entries = dict[str, Gathered | Tensor]


class ForwardPass:
    r"""One step's losses, and the buffers into which their gradients add up.

    Tasks read representations that were cut off from the encoder: rows that were gathered once, or
    whole matrices where a task asks for all nodes. :meth:`pull_back` goes on from there. A local
    encoder runs on gathered rows of the tables, any other on whole tables. What the tasks read is
    named by node type, or ``view/node type`` where the encoder made a view for the task.

    Args:
        tables: Node type to table.
        encoder: The encoder.
        tasks: Name to task.
        batches: Name to batch.
        adj_dict: Relation to operator.
        slots: Scratch space that is kept from step to step.
        num_sinks: One buffer a task, or 1 if a sum of the losses is differentiated.
        on_read: Told which rows of the tables are read before they are.
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
        on_read: Callable[[Mapping[str, Tensor | None]], None] | None = None,
    ) -> None:
        self.dense = dict(encoder.named_parameters())
        self.local = encoder.local
        wanted = node_ids(tasks, batches)
        full = None
        if not self.local:
            if on_read is not None:
                on_read(dict.fromkeys(tables))
            full = encoder(dict(tables), adj_dict or {})
        keys = {
            name: {n: key_of(full, tasks[name].view, n) for n in ids}
            for name, ids in wanted.items()
        }
        self.views = any("/" in key for found in keys.values() for key in found.values())
        check_tables(tables, tasks, keys)
        # The ids that are read; None for all of them, where there is nothing to gather.
        self.ids: dict[str, Tensor | None] = {}
        for key, ids in merged(keys, wanted).items():
            if ids is not None:
                self.ids[key] = unique_rows(ids, static=ids.device.type != "cpu")
            else:
                self.ids[key] = all_ids(tables[key]) if self.local else None
        self.inputs: dict[str, Tensor]
        if full is None:
            if on_read is not None:
                on_read(self.ids)
            sources: Mapping[str, Tensor] = tables
            self.inputs = {
                n: _gathered(tables[n].detach(), ids).requires_grad_()
                for n, ids in self.ids.items()
            }
            self.outputs = dict(encoder(self.inputs, {}).x_dict)
        else:
            sources = {key: matrix_of(full, key) for key in self.ids}
            self.inputs = dict(tables)
            self.outputs = {key: _gathered(sources[key], ids) for key, ids in self.ids.items()}
        self.identity = self.local and all(self.outputs[n] is self.inputs[n] for n in self.inputs)
        for key, ids in self.ids.items():
            if ids is not None:
                fill_slots(slots, key, ids, sources[key].size(0))
        self.leaves = {key: x.detach().requires_grad_() for key, x in self.outputs.items()}
        # Gathered rows have a buffer for every task; of whole matrices autograd makes one where
        # a task reads them.
        self._buffers = {
            key: leaf.new_zeros(num_sinks, *leaf.shape)
            for key, leaf in self.leaves.items()
            if self.ids[key] is not None
        }
        self.sinks: list[Grads] = [{} for _ in range(num_sinks)]
        self.direct: list[Direct] = []
        self.losses = []
        for position, (name, task) in enumerate(tasks.items()):
            place = min(position, num_sinks - 1)
            sink = self.sinks[place]
            own: Entries = {}
            for node_type, key in keys[name].items():
                own[node_type] = leaf = self.leaves[key]
                if key in self._buffers:
                    sink[key] = self._buffers[key][place]
                    own[node_type] = Gathered(leaf, sink[key])
            self.direct.append(Direct(tables, {n: self.ids[k] for n, k in keys[name].items()}))
            seen = GatheredRepresentations(
                own,
                own if self.identity else self.direct[-1],
                {n: slots[key] for n, key in keys[name].items() if self.ids[key] is not None},
                {n for n, ids in wanted[name].items() if ids is None},
            )
            self.losses.append(task(batches[name], seen))

    def backward(
        self,
        loss: Tensor,
        own: Mapping[str, Mapping[str, Parameter]],
        retain_graph: bool,
        position: int = 0,
    ) -> dict[str, Grads]:
        r"""Adds a loss's gradient to its sinks, and returns that of the tasks' own parameters."""
        direct = [(leaf, add) for tables in self.direct for leaf, add in tables.leaves()]
        leaves = [*self.leaves.values(), *(leaf for leaf, _ in direct)]
        found, of_tasks = own_gradients(loss, leaves, own, retain_graph)
        sink = self.sinks[position]
        for key, grad in zip(self.leaves, found, strict=False):
            if grad is not None:  # a task read the matrix, not rows
                sink[key] = sink[key].add_(grad) if key in sink else grad.contiguous()
        for (_, add), grad in zip(direct, found[len(self.leaves) :], strict=True):
            if grad is not None:
                add(grad)
        return of_tasks

    def pull_back(self, grads: Mapping[str, Tensor], retain_graph: bool) -> tuple[Grads, Grads]:
        r"""Returns :math:`J^\top g` of (touched) table rows and of the encoder's parameters."""
        if self.identity:
            return dict(grads), {}
        keys = list(grads)
        if not keys:
            none = {name: torch.zeros_like(x) for name, x in self.inputs.items()}
            return none, {name: torch.zeros_like(p) for name, p in self.dense.items()}
        found = iter(
            torch.autograd.grad(
                [self.outputs[key] for key in keys],
                [*self.inputs.values(), *self.dense.values()],
                [grads[key] for key in keys],
                retain_graph=retain_graph,
                allow_unused=True,
            )
        )
        return (
            {name: _or_zeros(next(found), x) for name, x in self.inputs.items()},
            {name: _or_zeros(next(found), p) for name, p in self.dense.items()},
        )

    def release(self) -> None:
        r"""Forgets what the losses read, once all of them were differentiated.

        What is left of the outputs is their place in the encoder's graph, for :meth:`pull_back`.
        """
        if self.identity or self.local:
            return
        self.losses, self.leaves = [], {}
        for direct in self.direct:
            direct.clear()
        self.outputs = {
            key: x if x.grad_fn is None else torch.autograd.graph.get_gradient_edge(x)
            for key, x in self.outputs.items()
        }

    def add_direct(self, rows: Grads, positions: range | None = None) -> None:
        r"""Adds what tasks (all or some) made of table rows without the encoder, an L2 term say."""
        for position, direct in enumerate(self.direct):
            if positions is not None and position not in positions:
                continue
            for name, sink in direct.sinks.items():
                ids = direct.ids[name]
                if self.local or ids is None:
                    rows[name] = rows[name] + sink
                else:
                    rows[name].index_add_(0, ids, sink)

    def stacked(self) -> Grads:
        r"""Returns the tasks' gradients of each node type's representations, :math:`[T, R, d]`."""
        return {
            key: self._buffers[key]
            if key in self._buffers
            else torch.stack([_or_zeros(sink.get(key), leaf) for sink in self.sinks])
            for key, leaf in self.leaves.items()
        }


def own_gradients(
    loss: Tensor,
    leaves: list[Tensor],
    own: Mapping[str, Mapping[str, Parameter]],
    retain_graph: bool,
) -> tuple[tuple[Tensor | None, ...], dict[str, Grads]]:
    r"""Differentiates a loss; look-ups of the leaves fill their sinks by the way.

    Args:
        loss: The loss.
        leaves: What look-ups read from.
        own: Task to its own parameters.
        retain_graph: Whether another loss follows.

    Returns:
        The gradients of leaves that were read as a whole, and task to the gradients of its own
        parameters.
    """
    parameters = [parameter for named in own.values() for parameter in named.values()]
    found = torch.autograd.grad(
        loss, [*leaves, *parameters], retain_graph=retain_graph, allow_unused=True
    )
    rest = iter(found[len(leaves) :])
    return found[: len(leaves)], {
        task: {name: _or_zeros(next(rest), p) for name, p in named.items()}
        for task, named in own.items()
    }


def _gathered(x: Tensor, ids: Tensor | None) -> Tensor:
    return x if ids is None else x.index_select(0, ids)


def _or_zeros(grad: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like, requires_grad=False) if grad is None else grad
