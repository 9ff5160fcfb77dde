from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients._forward_pass import ForwardPass, own_gradients
from pyg_mtrec.gradients._gathered import Gathered, GatheredRepresentations
from pyg_mtrec.gradients._grad_buffer import GradBuffer
from pyg_mtrec.gradients._look_ups import look_ups
from pyg_mtrec.gradients._unweighted import unweighted
from pyg_mtrec.gradients.row_gradients import RowGradients
from pyg_mtrec.gradients.task_gradients import TaskGradients, identity
from pyg_mtrec.gradients.update import Update
from pyg_mtrec.nn.embedding import NodeEmbedding
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import Task


class GradientCollector:
    r"""Takes every task's gradient where it is cheap, and writes the combined one into ``.grad``.

    The leaf of differentiation is the gathered unique rows that the step's batches look up, so a
    task's gradient costs :math:`R \cdot d` instead of :math:`N \cdot d`. With a local encoder (MF)
    these are rows of the tables and the result is exactly the dense one: an untouched row has
    gradient zero in every task, whatever its weight. With a propagating encoder they are rows of
    the representations, and ``at`` says what happens next:

    * ``"embedding"``: each task's gradient is pulled back through the encoder to the whole tables,
      and combined there: :math:`\sum_t D_t J^\top g_t` with row weights :math:`D_t`.
    * ``"representation"``: the gradients are combined at the representations, and the result is
      pulled back once: :math:`J^\top \sum_t D_t g_t`.

    The two differ for graph encoders as soon as the weights differ between rows.

    Args:
        embedding: The owner of the tables.
        encoder: The encoder, run once a step, so that all tasks share its dropout.
        tasks: Name to task, the main task first.
        at: ``"embedding"`` or ``"representation"``.
        reduce: Applied to squared row norms :math:`[T, R]`, for ranks that hold columns.

    Raises:
        InputError: If there is no task or ``at`` is neither of the two.

    Example:
        >>> import torch
        >>> from pyg_mtrec.gradients import GradientCollector
        >>> from pyg_mtrec.loader import Batch
        >>> from pyg_mtrec.nn import MF, NodeEmbedding
        >>> from pyg_mtrec.tasks import BPR
        >>> embedding = NodeEmbedding({"user": 3, "item": 4}, dim=2)
        >>> collector = GradientCollector(embedding, MF(), {"bpr": BPR()})
        >>> one = torch.tensor([1])
        >>> batch = Batch(("user", "interacts", "item"), 1, one, one + 1, one + 2)
        >>> collector.collect({"bpr": batch}).rows["item"].ids
        tensor([2, 3])
    """

    def __init__(
        self,
        embedding: NodeEmbedding,
        encoder: Encoder,
        tasks: Mapping[str, Task],
        at: str = "embedding",
        reduce: Callable[[Tensor], Tensor] = identity,
    ) -> None:
        if at not in ("embedding", "representation"):
            raise InputError(
                "'at' needs to be 'embedding' or 'representation' in 'GradientCollector'"
                f" (got {at!r})"
            )
        if not tasks:
            raise InputError("'GradientCollector' needs at least one task (got none)")
        self.embedding, self.encoder, self.tasks = embedding, encoder, tasks
        self.at, self.reduce = at, reduce
        self._slots: dict[str, Tensor] = {}
        self._buffers: dict[str, GradBuffer] = {}
        #: Told which rows of the tables the next step reads, :obj:`None` for all, before it does.
        self.on_read: Callable[[Mapping[str, Tensor | None]], None] | None = None
        self._step: ForwardPass | None = None
        self._pulled = False

    @property
    def modules(self) -> dict[str, Module]:
        r"""What is trained, by name, beside the tasks."""
        return {"embedding": self.embedding, "encoder": self.encoder}

    @property
    def tables(self) -> dict[str, Parameter]:
        r"""The embedding tables, per node type."""
        return dict(self.embedding.weight_dict.items())

    @property
    def dense(self) -> dict[str, Parameter]:
        r"""The encoder's own parameters, which all tasks share."""
        return dict(self.encoder.named_parameters())

    def collect(
        self,
        batches: Mapping[str, Any],
        adj_dict: Mapping[Any, Any] | None = None,
        at: str | None = None,
    ) -> TaskGradients:
        r"""Takes every task's gradient of what the tasks share: one backward pass a task.

        Args:
            batches: Name to batch, for every task.
            adj_dict: Relation to operator, for encoders that propagate.
            at: Where the gradients are taken, if not where the collector usually does.

        Returns:
            The gradients on the rows that the batches touched, or on all rows of the tables for
            a propagating encoder with ``at="embedding"``.

        Raises:
            InputError: If a task has no batch or reads nodes of which there are no rows, or if
                gradients are to be taken at representations of which tasks have views of their own.
        """
        step = self._forward(batches, adj_dict, num_sinks=len(self.tasks))
        at_tables = (at or self.at) == "embedding" and not step.identity
        if step.views and not at_tables:
            raise InputError(
                "at='representation' needs representations that all tasks read, but"
                f" {type(self.encoder).__name__!r} makes views of single tasks: use at='embedding'"
            )
        pulled: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
        own: dict[str, dict[str, Tensor]] = {}
        for position, (name, task) in enumerate(self.tasks.items()):
            more = position + 1 < len(self.tasks)
            parameters = {name: dict(task.named_parameters())}
            own |= step.backward(step.losses[position], parameters, more, position)
            if at_tables:
                tables, shared = step.pull_back(step.sinks[position], retain_graph=more)
                step.add_direct(tables, range(position, position + 1))
                pulled.append((tables, shared))
        self._pulled = at_tables
        if at_tables:
            rows = {
                name: torch.stack([tables[name] for tables, _ in pulled]) for name in pulled[0][0]
            }
            dense = {
                name: torch.stack([shared[name] for _, shared in pulled]) for name in self.dense
            }
        else:
            rows, dense = step.stacked(), {}
        whole = at_tables and not step.local
        return TaskGradients(
            torch.stack([loss.detach() for loss in step.losses]),
            {
                name: RowGradients(None if whole else step.ids[name], grads)
                for name, grads in rows.items()
            },
            dense,
            own,
            self.reduce,
        )

    def collect_weighted(
        self,
        batches: Mapping[str, Any],
        adj_dict: Mapping[Any, Any] | None,
        weigh: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Update]:
        r"""Differentiates a weighted sum of the losses: one backward pass whatever the tasks.

        Args:
            batches: Name to batch, for every task.
            adj_dict: Relation to operator, for encoders that propagate.
            weigh: Maps the losses :math:`[T]` to weights :math:`[T]`. A task's own parameters
                get its plain gradient all the same, unless the weight is zero.

        Returns:
            The losses :math:`[T]`, detached, and the update, ready for :meth:`write`.
        """
        if self.encoder.local and (done := self._straight(batches, weigh)) is not None:
            self._step = None
            return done
        step = self._forward(batches, adj_dict, num_sinks=1)
        losses = torch.stack(step.losses)
        weights = weigh(losses.detach())
        parameters = {name: dict(task.named_parameters()) for name, task in self.tasks.items()}
        own = step.backward((weights * losses).sum(), parameters, retain_graph=False)
        step.release()
        self._pulled = False
        return losses.detach(), Update(step.sinks[0], {}, unweighted(own, weights))

    def write(self, update: Update) -> None:
        r"""Writes the combined gradient into ``.grad`` of every parameter, replacing what is there.

        Args:
            update: The gradient that a balancer made of the last :meth:`collect`.
        """
        step, rows, dense = self._step, dict(update.rows), update.dense
        if step is not None and not self._pulled:
            rows, dense = step.pull_back(rows, retain_graph=False)
            step.add_direct(rows)
        for name, table in self.tables.items():
            if step is None:
                table.grad = self._buffer(name).grad
            elif step.local:
                table.grad = self._buffer(name).clear()
                ids = step.ids.get(name)
                if ids is not None:
                    table.grad.index_add_(0, ids, rows[name])
                    self._buffer(name).mark(ids)
            else:
                table.grad = rows[name]
        for name, parameter in self.dense.items():
            parameter.grad = dense.get(name)
        for task, grads in update.own.items():
            for name, parameter in self.tasks[task].named_parameters():
                parameter.grad = grads[name]
        self._step = None

    def _forward(
        self, batches: Mapping[str, Any], adj_dict: Mapping[Any, Any] | None, num_sinks: int
    ) -> ForwardPass:
        if not self.encoder.local:
            for table in self.tables.values():
                table.grad = None  # of the last step, as large as the table
        step = ForwardPass(
            self.tables,
            self.encoder,
            self.tasks,
            batches,
            adj_dict,
            self._slots,
            num_sinks,
            self.on_read,
        )
        self._step = step
        return step

    def _straight(
        self, batches: Mapping[str, Any], weigh: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Update] | None:
        r"""Lets look-ups add to the tables' gradients at once, if the encoder is the identity."""
        leaves = {name: table.detach().requires_grad_() for name, table in self.tables.items()}
        x_dict = self.encoder(leaves, {}).x_dict
        if any(x_dict[name] is not leaf for name, leaf in leaves.items()):
            return None
        ids = look_ups(self.tables, self.tasks, batches)
        if self.on_read is not None:
            self.on_read(ids)
        rows = {name: Gathered(leaf, self._buffer(name).clear()) for name, leaf in leaves.items()}
        for name, looked_up in ids.items():
            self._buffer(name).mark(looked_up)
        view = GatheredRepresentations(rows, rows, whole=rows)
        losses = torch.stack([task(batches[name], view) for name, task in self.tasks.items()])
        weights = weigh(losses.detach())
        total = (weights * losses).sum()
        parameters = {name: dict(task.named_parameters()) for name, task in self.tasks.items()}
        found, own = own_gradients(total, list(leaves.values()), parameters, retain_graph=False)
        for name, grad in zip(leaves, found, strict=True):
            if grad is not None:  # a task read the matrix, not rows
                self._buffer(name).grad.add_(grad)
        return losses.detach(), Update({}, {}, unweighted(own, weights))

    def _buffer(self, name: str) -> GradBuffer:
        table = self.tables[name]
        if name not in self._buffers or not self._buffers[name].fits(table):
            self._buffers[name] = GradBuffer(table)
        return self._buffers[name]
