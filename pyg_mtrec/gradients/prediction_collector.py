from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients._grad_buffer import GradBuffer
from pyg_mtrec.gradients._prediction_pass import PredictionPass
from pyg_mtrec.gradients._unweighted import unweighted
from pyg_mtrec.gradients.row_gradients import RowGradients
from pyg_mtrec.gradients.task_gradients import TaskGradients, identity
from pyg_mtrec.gradients.update import Update
from pyg_mtrec.loader import Impressions
from pyg_mtrec.nn import Predictor
from pyg_mtrec.tasks import PredictionTask


class PredictionCollector:
    r"""Takes every target's gradient from one forward pass, and writes the combined one.

    The counterpart of :class:`GradientCollector` for heads. The leaf of differentiation is again
    the rows that a batch looks up, each once: a category that a thousand impressions share is one
    row, whose gradients are summed *before* a rule forms any norm or inner product. Parameters of
    the head that a single target's loss reaches are its own and get their plain gradient; what
    several targets reach is shared, and the rule sees it as dense parameters.

    Args:
        model: The tables, the encoder if there is one, and the head.
        tasks: Target to task, the main (core) target first, whatever the order of the head's chain.
        columns: The targets whose labels a batch holds, in the order of the columns (default: the
            head's).
        at: For a model with an encoder: whether gradients are combined at its tables,
            ``"embedding"``, or at its outputs, ``"representation"``.
        reduce: Applied to squared row norms :math:`[T, R]`, for ranks that hold columns.

    Raises:
        InputError: If tasks and the head's targets differ, a target has no column, or ``at`` is
            neither of the two.

    Example:
        >>> import torch
        >>> from pyg_mtrec.gradients import PredictionCollector
        >>> from pyg_mtrec.loader import Impressions
        >>> from pyg_mtrec.nn import NodeEmbedding, Predictor, SharedBottom
        >>> from pyg_mtrec.tasks import Classification
        >>> embedding = NodeEmbedding({"user": 3, "item": 4}, dim=8)
        >>> model = Predictor(SharedBottom(16, {"click": "binary"}), embedding)
        >>> collector = PredictionCollector(model, {"click": Classification("click")})
        >>> one = torch.tensor([1])
        >>> gradients = collector.collect(Impressions(one, one, torch.ones(1, 1), index=one))
        >>> gradients.rows["item"].ids, gradients.rows["item"].grads.shape
        (tensor([1]), torch.Size([1, 1, 8]))
    """

    def __init__(
        self,
        model: Predictor,
        tasks: Mapping[str, PredictionTask],
        columns: Sequence[str] | None = None,
        at: str = "embedding",
        reduce: Callable[[Tensor], Tensor] = identity,
    ) -> None:
        if at not in ("embedding", "representation"):
            raise InputError(
                "'at' needs to be 'embedding' or 'representation' in 'PredictionCollector'"
                f" (got {at!r})"
            )
        if set(tasks) != set(model.head.targets):
            raise InputError(
                "'tasks' of 'PredictionCollector' need to be those of the head,"
                f" {', '.join(model.head.targets)} (got {', '.join(tasks) or 'none'})"
            )
        names = list(model.head.targets if columns is None else columns)
        if not set(tasks) <= set(names):
            raise InputError(
                f"'columns' of 'PredictionCollector' need to hold {', '.join(tasks)}"
                f" (got {', '.join(names)})"
            )
        self.columns = {name: names.index(name) for name in tasks}
        self.model, self.tasks, self.at, self.reduce = model, tasks, at, reduce
        self.own: dict[str, dict[str, Parameter]] = {name: {} for name in tasks}
        for target, named in model.own_parameters().items():
            self.own[target] |= named
        theirs = {id(p) for named in self.own.values() for p in named.values()}
        tables = {id(p) for p in model.tables.values()}
        self.dense: dict[str, Parameter] = {
            name: p
            for name, p in model.named_parameters()
            if id(p) not in theirs and id(p) not in tables
        }
        self._slots: dict[str, Tensor] = {}
        self._buffers: dict[str, GradBuffer] = {}
        #: Told which rows of the tables the next step reads, :obj:`None` for all, before it does.
        self.on_read: Callable[[Mapping[str, Tensor | None]], None] | None = None
        self._step: PredictionPass | None = None

    @property
    def modules(self) -> dict[str, Module]:
        r"""What is trained, by name, beside the tasks."""
        return {"model": self.model}

    @property
    def tables(self) -> dict[str, Parameter]:
        r"""The embedding tables."""
        return self.model.tables

    def collect(
        self,
        batch: Impressions,
        adj_dict: Mapping[Any, Any] | None = None,
        at: str | None = None,
    ) -> TaskGradients:
        r"""Takes every target's gradient of what the targets share: one backward pass a target.

        Args:
            batch: Impressions.
            adj_dict: Relation to operator, for an encoder that propagates.
            at: Where the gradients are taken, if not where the collector usually does.
        """
        step = self._forward(batch, adj_dict)
        step.pulled = step.propagates and (at or self.at) == "embedding"
        rows: dict[str, list[Tensor]] = {}
        dense: dict[str, list[Tensor]] = {}
        own = {}
        for position, name in enumerate(self.tasks):
            more = position + 1 < len(self.tasks)
            of_rows, of_dense, of_own = step.backward(
                step.losses[name], self.dense, self.own[name], more
            )
            if step.pulled:
                of_rows = step.pull_back(of_rows, of_dense, more)
            for found, to in ((of_rows, rows), (of_dense, dense)):
                for key, grad in found.items():
                    to.setdefault(key, []).append(grad)
            own[name] = of_own
        return TaskGradients(
            torch.stack([loss.detach() for loss in step.losses.values()]),
            {
                key: RowGradients(step.ids_of(key, step.pulled), torch.stack(grads))
                for key, grads in rows.items()
            },
            {key: torch.stack(grads) for key, grads in dense.items()},
            own,
            self.reduce,
        )

    def collect_weighted(
        self,
        batch: Impressions,
        adj_dict: Mapping[Any, Any] | None,
        weigh: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Update]:
        r"""Differentiates a weighted sum of the losses: one backward pass whatever the targets.

        Args:
            batch: Impressions.
            adj_dict: Relation to operator, for an encoder that propagates.
            weigh: Maps the losses :math:`[T]` to weights :math:`[T]`. A target's own parameters
                get its plain gradient all the same, unless the weight is zero.

        Returns:
            The losses :math:`[T]`, detached, and the update, ready for :meth:`write`.
        """
        step = self._forward(batch, adj_dict)
        losses = torch.stack(list(step.losses.values()))
        weights = weigh(losses.detach())
        flat = {
            f"{task}/{name}": parameter
            for task, named in self.own.items()
            for name, parameter in named.items()
        }
        rows, dense, found = step.backward((weights * losses).sum(), self.dense, flat, False)
        own = {
            task: {name: found[f"{task}/{name}"] for name in named}
            for task, named in self.own.items()
        }
        return losses.detach(), Update(rows, dense, unweighted(own, weights))

    def write(self, update: Update) -> None:
        r"""Writes the combined gradient into ``.grad`` of every parameter, replacing what is there.

        Args:
            update: The gradient that a balancer made of the last :meth:`collect`.
        """
        assert self._step is not None
        step, rows, dense = self._step, dict(update.rows), dict(update.dense)
        if step.propagates and not step.pulled:
            rows = step.pull_back(rows, dense, retain_graph=False)
        for name, table in self.tables.items():
            ids = step.ids_of(name, step.propagates)
            if ids is None:
                table.grad = rows[name]
                continue
            buffer = self._buffer(name, table)
            table.grad = buffer.clear()
            table.grad.index_add_(0, ids, rows[name])
            buffer.mark(ids)
        for name, parameter in self.dense.items():
            parameter.grad = dense.get(name)
        for task, grads in update.own.items():
            for name, parameter in self.own[task].items():
                parameter.grad = grads[name]
        self._step = None

    def _forward(self, batch: Impressions, adj_dict: Mapping[Any, Any] | None) -> PredictionPass:
        self._step = PredictionPass(
            self.model, self.tasks, self.columns, batch, adj_dict, self._slots, self.on_read
        )
        return self._step

    def _buffer(self, name: str, table: Tensor) -> GradBuffer:
        if name not in self._buffers or not self._buffers[name].fits(table):
            self._buffers[name] = GradBuffer(table)
        return self._buffers[name]
