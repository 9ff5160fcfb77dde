from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.linalg import vector_norm

from pyg_mtrec.gradients.row_gradients import RowGradients


def identity(x: Tensor) -> Tensor:
    r"""Returns its input: the reduction of a single process."""
    return x


@dataclass
class TaskGradients:
    r"""What a balancer sees of a step: losses, and gradients of all that tasks share.

    Args:
        losses: The tasks' losses :math:`[T]`, detached, the main task first.
        rows: Table (node type) to the tasks' gradients of its touched rows.
        dense: Shared parameter outside the tables to its gradients :math:`[T, *]`.
        own: Task to its gradients of the parameters that no other task uses. No rule touches
            them: each parameter gets the plain gradient of its own task.
        reduce: Applied to sums over the columns of rows (squared norms :math:`[T, R]`, Gram
            matrices) before anything is made of them: the hook where ranks that hold disjoint
            columns add theirs up.
    """

    losses: Tensor
    rows: Mapping[str, RowGradients]
    dense: Mapping[str, Tensor] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    reduce: Callable[[Tensor], Tensor] = identity

    @property
    def num_tasks(self) -> int:
        r"""The number of tasks :math:`T`."""
        return self.losses.numel()

    def norms(self, table: str) -> Tensor:
        r"""Returns the norms :math:`\|G_t[e]\|_2` of a table's rows, shape :math:`[T, R]`."""
        norms = vector_norm(self.rows[table].grads, dim=-1)
        return norms if self.reduce is identity else self.reduce(norms.square()).sqrt()

    def row_gram(self, table: str) -> Tensor:
        r"""Returns the inner products of the tasks' gradients in each row.

        Args:
            table: The table.

        Returns:
            :math:`\langle G_s[e], G_t[e] \rangle` in float64, shape :math:`[R, T, T]`.
        """
        # In float64 from the start: rows of one or two edges have singular matrices, of which a
        # product that was rounded to float32 would make regular ones.
        grads = self.rows[table].grads.double()
        return self.reduce(torch.einsum("srd,trd->rst", grads, grads))

    def table_gram(self, table: str) -> Tensor:
        r"""Returns the part of :meth:`gram` that a table's rows make, :math:`[T, T]`."""
        return self.reduce(_gram(self.rows[table].grads))

    def gram(self) -> Tensor:
        r"""Returns the Gram matrix of the tasks' gradients over everything that they share.

        Returns:
            :math:`\langle g_s, g_t \rangle` in float64, shape :math:`[T, T]`, where :math:`g_t` is
            made of all rows of all tables and of all dense parameters.
        """
        return self.tables_gram() + self.dense_gram()

    def tables_gram(self) -> Tensor:
        r"""Returns the part of :meth:`gram` that the rows of all tables make, :math:`[T, T]`."""
        gram = self.losses.new_zeros(self.num_tasks, self.num_tasks, dtype=torch.float64)
        for rows in self.rows.values():
            gram = gram + _gram(rows.grads)
        return self.reduce(gram)

    def dense_gram(self) -> Tensor:
        r"""Returns the part of :meth:`gram` that the dense parameters make, :math:`[T, T]`."""
        gram = self.losses.new_zeros(self.num_tasks, self.num_tasks, dtype=torch.float64)
        for grads in self.dense.values():
            gram = gram + _gram(grads)
        return gram


def _gram(grads: Tensor) -> Tensor:
    flat = grads.reshape(grads.size(0), -1).double()
    return flat @ flat.t()
