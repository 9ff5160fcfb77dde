from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._combine import combine, weighted
from pyg_mtrec.balancing.balancer import Balancer, Needs
from pyg_mtrec.gradients import TaskGradients, Update


class GramBalancer(Balancer):
    r"""A rule whose weights depend on inner products of the tasks' gradients alone.

    With :math:`\Gamma_{st} = \langle g_s, g_t \rangle` and weights :math:`w(\Gamma)`, the update is
    :math:`\sum_t w_t g_t`. What :math:`g_t` is, ``scope`` says:

    * ``"table"``: everything that the tasks share is one vector, all rows of all tables and the
      encoder's own parameters. This is the rule as published.
    * ``"row"``: every row of every table (one user, one item) is a vector of its own and gets its
      own weights, all rows in one batched computation; the encoder's own parameters are one more
      vector. A row that no task touches stays zero.

    A new rule is :meth:`weights` alone.

    Args:
        scope: ``"table"`` or ``"row"``.

    Raises:
        InputError: If ``scope`` is neither of the two.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import GramBalancer
        >>> class InverseNorm(GramBalancer):
        ...     def weights(self, gram):
        ...         return gram.diagonal(dim1=-2, dim2=-1).rsqrt()
        >>> grads = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]])
        >>> InverseNorm(scope="row")(grads)
        tensor([[0.6000, 1.8000]])
    """

    needs: ClassVar[Needs] = "gram"

    def __init__(self, scope: Literal["table", "row"] = "table") -> None:
        super().__init__()
        if scope not in ("table", "row"):
            raise InputError(
                f"'scope' needs to be 'table' or 'row' in '{type(self).__name__}' (got {scope!r})"
            )
        self.scope = scope

    @abstractmethod
    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns the tasks' weights.

        Args:
            gram: Gram matrices :math:`[*, T, T]` in float64, of one vector or of many.

        Returns:
            Weights :math:`[*, T]`, finite whatever the gradients; what a task without gradient
            gets is of no consequence.
        """

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines the gradients with the weights of their Gram matrix, or matrices."""
        if self.scope == "table":
            return weighted(gradients, self.weights(gradients.gram()))
        rows = {
            name: combine(found.grads, self.weights(gradients.row_gram(name)).t())
            for name, found in gradients.rows.items()
        }
        dense = {}
        if gradients.dense:
            weights = self.weights(gradients.dense_gram())
            dense = {name: combine(grads, weights) for name, grads in gradients.dense.items()}
        return Update(rows, dense, gradients.own)

    def extra_repr(self) -> str:
        r"""Returns the scope."""
        return f"scope={self.scope!r}"
