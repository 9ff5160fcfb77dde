from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from pyg_mtrec.gradients import RowGradients, TaskGradients, Update

Needs = Literal["losses", "gram", "rows", "elements"]


class Balancer(nn.Module, ABC):
    r"""A rule that turns the tasks' gradients into one update.

    A balancer says what it looks at, and the training step takes no more than that:

    * ``needs = "losses"``: the losses alone (:meth:`loss_weights`, see :class:`LossBalancer`);
      the step is one backward pass of the weighted sum.
    * ``needs = "gram"``: inner products of the tasks' gradients (see :class:`GramBalancer`).
    * ``needs = "rows"``: every task's gradient of every touched row.
    * ``needs = "elements"``: every entry of these gradients.

    The last three cost one backward pass a task. What a resumed run must find again belongs into
    buffers or the extra state; parameters of a rule are trained with the model's, without weight
    decay.
    """

    needs: ClassVar[Needs]
    at: Literal["embedding", "representation"] | None = None
    r"""Where the rule wants gradients to be taken; :obj:`None` leaves it to the collector."""

    @abstractmethod
    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines the tasks' gradients.

        Args:
            gradients: The gradients of one step, task 0 being the main task.
            epoch: The epoch :math:`s = 1, 2, \ldots`, which schedules read.

        Returns:
            One gradient for every parameter.
        """

    def forward(self, grads: Tensor, *, epoch: int = 1, losses: Tensor | None = None) -> Tensor:
        r"""Combines gradients that are already gathered, for hand-written training loops.

        Args:
            grads: The tasks' gradients :math:`[T, R, d]`, the main task first.
            epoch: The epoch :math:`s = 1, 2, \ldots`.
            losses: The tasks' losses :math:`[T]`, for rules that read them.

        Returns:
            The combined gradient :math:`[R, d]`.
        """
        if losses is None:
            losses = grads.new_zeros(grads.size(0))
        gradients = TaskGradients(losses, {"": RowGradients(None, grads)})
        return self.update(gradients, epoch=epoch).rows[""]

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns the weights of the losses, for a rule that needs nothing else.

        Args:
            losses: The tasks' losses :math:`[T]`, detached.
            epoch: The epoch :math:`s = 1, 2, \ldots`.

        Returns:
            Weights :math:`[T]`.

        Raises:
            TypeError: If the rule needs more than losses.
        """
        raise TypeError(
            f"'{type(self).__name__}' weighs gradients, not losses: call 'update' instead"
        )

    def reset(self) -> None:
        r"""Forgets everything learnt from earlier steps; a rule without state has nothing to do."""
