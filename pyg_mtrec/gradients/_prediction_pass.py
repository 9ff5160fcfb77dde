"""One forward pass of a predictor, cut at the rows that it looked up."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec.gradients._unique_rows import fill_slots, unique_rows
from pyg_mtrec.loader import Impressions
from pyg_mtrec.nn import Predictor
from pyg_mtrec.tasks import PredictionTask

Grads = dict[str, Tensor]
_NODES = ("user", "item")


class PredictionPass:
    r"""The losses of a batch of impressions, and the rows at which they are differentiated."""

    def __init__(
        self,
        model: Predictor,
        tasks: Mapping[str, PredictionTask],
        columns: Mapping[str, int],
        batch: Impressions,
        adj_dict: Mapping[Any, Any] | None,
        slots: dict[str, Tensor],
        on_read: Callable[[Mapping[str, Tensor | None]], None] | None = None,
    ) -> None:
        self.pulled = False
        self.tables = model.tables
        self.propagates = model.encoder is not None and not model.encoder.local
        found = model.look_up(batch)
        if on_read is not None:
            whole = _NODES if self.propagates else ()
            on_read({name: None if name in whole else ids for name, ids in found.ids.items()})
        rows = model.represent(adj_dict)
        self.encoder = {} if model.encoder is None else dict(model.encoder.named_parameters())
        self.outputs: Grads = {}
        self.leaves: Grads = {}
        self.ids: dict[str, Tensor | None] = {}
        joined: Grads = {}
        for name, wanted in found.ids.items():
            x = rows[name]
            place = wanted
            if wanted.numel() >= x.size(0):  # a small table is one leaf as it is
                self.ids[name], touched = None, x
            else:
                ids = unique_rows(wanted, static=x.device.type != "cpu")
                slot = fill_slots(slots, name, ids, x.size(0))
                self.ids[name], place, touched = ids, slot[wanted], x.index_select(0, ids)
            if self.propagates and name in _NODES:
                self.outputs[name] = touched
            leaf = self.leaves[name] = touched.detach().requires_grad_()
            joined[name] = leaf.index_select(0, place)  # [n, d]
        predictions = model.head(model.join(joined, found))
        penalties = model.head.penalties(predictions)
        self.losses = {
            name: task(predictions[name], batch.label[:, columns[name]]) + penalties.get(name, 0.0)
            for name, task in tasks.items()
        }

    def ids_of(self, table: str, pulled: bool) -> Tensor | None:
        r"""Returns the rows that a table's gradients belong to, :obj:`None` for all.

        Args:
            table: The table.
            pulled: Whether gradients went back through an encoder.
        """
        return None if pulled and table in _NODES else self.ids[table]

    def backward(
        self,
        loss: Tensor,
        dense: Mapping[str, Parameter],
        own: Mapping[str, Parameter],
        retain_graph: bool,
    ) -> tuple[Grads, Grads, Grads]:
        r"""Differentiates a loss: leaves, shared parameters (but the encoder's), own ones."""
        sources = {**self.leaves, **dense, **own}
        found = torch.autograd.grad(
            loss, list(sources.values()), retain_graph=retain_graph, allow_unused=True
        )
        grads = [
            torch.zeros_like(x, requires_grad=False) if grad is None else grad
            for grad, x in zip(found, sources.values(), strict=True)
        ]
        first, second = len(self.leaves), len(self.leaves) + len(dense)
        return (
            dict(zip(self.leaves, grads[:first], strict=True)),
            dict(zip(dense, grads[first:second], strict=True)),
            dict(zip(own, grads[second:], strict=True)),
        )

    def pull_back(self, rows: Grads, dense: Grads, retain_graph: bool) -> Grads:
        r"""Returns gradients of whole tables from those of an encoder's outputs.

        What the encoder's own parameters get is added to ``dense``.
        """
        keys = list(self.outputs)
        names = [name for name in self.tables if name in _NODES]
        sources = [*(self.tables[name] for name in names), *self.encoder.values()]
        found = torch.autograd.grad(
            [self.outputs[key] for key in keys],
            sources,
            [rows[key] for key in keys],
            retain_graph=retain_graph,
            allow_unused=True,
        )
        grads = [
            torch.zeros_like(x, requires_grad=False) if grad is None else grad
            for grad, x in zip(found, sources, strict=True)
        ]
        out = {name: grad for name, grad in rows.items() if name not in self.outputs}
        out |= dict(zip(names, grads, strict=False))
        for name, grad in zip(self.encoder, grads[len(names) :], strict=True):
            dense[f"encoder.{name}"] = dense[f"encoder.{name}"] + grad
        return out
