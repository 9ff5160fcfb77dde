from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients._forward_pass import ForwardPass
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
        self._buffers: dict[str, Tensor] = {}
        self._written: dict[str, Tensor] = {}

    @property
    def tables(self) -> dict[str, Parameter]:
        r"""The embedding tables, per node type."""
        return dict(self.embedding.weight_dict.items())

    @property
    def dense(self) -> dict[str, Parameter]:
        r"""The encoder's own parameters, which all tasks share."""
        return dict(self.encoder.named_parameters())

    def collect(
        self, batches: Mapping[str, Any], adj_dict: Mapping[Any, Any] | None = None
    ) -> TaskGradients:
        r"""Takes every task's gradient of what the tasks share: one backward pass a task.

        Args:
            batches: Name to batch, for every task.
            adj_dict: Relation to operator, for encoders that propagate.

        Returns:
            The gradients on the rows that the batches touched, or on all rows of the tables for
            a propagating encoder with ``at="embedding"``.
        """
        step = self._forward(batches, adj_dict)
        rows: list[dict[str, Tensor]] = []
        dense: list[dict[str, Tensor]] = []
        own: dict[str, dict[str, Tensor]] = {}
        for position, (name, task) in enumerate(self.tasks.items()):
            more = position + 1 < len(self.tasks)
            leaf, extra, shared, mine = step.grad(
                step.losses[position], {name: dict(task.named_parameters())}, retain_graph=more
            )
            if not step.local and self.at == "embedding":
                leaf, shared = step.pull_back(leaf, retain_graph=more)
                for table, grad in extra.items():
                    leaf[table].index_add_(0, step.ids[table], grad)
            elif extra:
                step.keep(extra)
            rows.append(leaf)
            dense.append(shared)
            own |= mine
        whole = not step.local and self.at == "embedding"
        self._whole = whole
        return TaskGradients(
            torch.stack([loss.detach() for loss in step.losses]),
            {
                table: RowGradients(
                    None if whole else step.ids[table], torch.stack([r[table] for r in rows])
                )
                for table in rows[0]
            },
            {name: torch.stack([d[name] for d in dense]) for name in dense[0]},
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
            weigh: Maps the losses :math:`[T]` to weights :math:`[T]`.

        Returns:
            The losses :math:`[T]`, detached, and the update, ready for :meth:`write`.
        """
        step = self._forward(batches, adj_dict)
        losses = torch.stack(step.losses)
        total = (weigh(losses.detach()) * losses).sum()
        parameters = {name: dict(task.named_parameters()) for name, task in self.tasks.items()}
        rows, extra, dense, own = step.grad(total, parameters, retain_graph=False)
        if extra:
            step.keep(extra)
        self._whole = False
        return losses.detach(), Update(rows, dense, own)

    def write(self, update: Update) -> None:
        r"""Writes the combined gradient into ``.grad`` of every parameter, replacing what is there.

        Args:
            update: The gradient that a balancer made of the last :meth:`collect`.
        """
        step, rows, dense = self._step, update.rows, update.dense
        if step.local:
            for name, table in self.tables.items():
                self._write_rows(name, table, step.ids.get(name), rows.get(name))
        else:
            if not self._whole:
                rows, dense = step.pull_back(dict(rows), retain_graph=False)
            for name, table in self.tables.items():
                table.grad = rows[name]
            for name, grad in step.kept.items():
                rows[name].index_add_(0, step.ids[name], grad)
        for name, parameter in self.dense.items():
            parameter.grad = dense[name]
        for task, grads in update.own.items():
            for name, parameter in self.tasks[task].named_parameters():
                parameter.grad = grads[name]
        del self._step

    def _forward(
        self, batches: Mapping[str, Any], adj_dict: Mapping[Any, Any] | None
    ) -> ForwardPass:
        self._step = ForwardPass(
            self.tables, self.encoder, self.tasks, batches, adj_dict, self._slots
        )
        return self._step

    def _write_rows(
        self, name: str, table: Parameter, ids: Tensor | None, grad: Tensor | None
    ) -> None:
        # One dense buffer a table: only last step's rows are cleared, only this step's written.
        buffer = self._buffers.get(name)
        if buffer is None or buffer.device != table.device or buffer.dtype != table.dtype:
            buffer = self._buffers[name] = torch.zeros_like(table, requires_grad=False)
        elif name in self._written:
            buffer.index_fill_(0, self._written.pop(name), 0)
        if ids is not None and grad is not None:
            buffer.index_add_(0, ids, grad)
            self._written[name] = ids
        table.grad = buffer
