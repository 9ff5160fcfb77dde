from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

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
        reduce: Applied to squared norms :math:`[T, R]` before the root is taken: the hook where
            ranks that hold disjoint columns add theirs up.
    """

    losses: Tensor
    rows: Mapping[str, RowGradients]
    dense: Mapping[str, Tensor] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    reduce: Callable[[Tensor], Tensor] = identity

    def norms(self, table: str) -> Tensor:
        r"""Returns the norms :math:`\|G_t[e]\|_2` of a table's rows, shape :math:`[T, R]`."""
        norms = vector_norm(self.rows[table].grads, dim=-1)
        return norms if self.reduce is identity else self.reduce(norms.square()).sqrt()
