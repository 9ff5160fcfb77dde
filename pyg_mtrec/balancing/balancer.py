from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from pyg_mtrec.gradients import TaskGradients, Update


class Balancer(nn.Module, ABC):
    r"""A rule that turns the tasks' gradients into one update.

    A balancer says what it needs, and the training step takes no more than that:

    * ``needs = "losses"``: weights of the losses are enough (:meth:`loss_weights`); the step is
      one backward pass of the weighted sum.
    * ``needs = "rows"``: every task's gradient of every touched row (:meth:`update`); one
      backward pass a task.

    State that a resumed run must find again belongs into buffers.
    """

    needs: ClassVar[Literal["losses", "rows"]]

    @abstractmethod
    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines the tasks' gradients.

        Args:
            gradients: The gradients of one step, task 0 being the main task.
            epoch: The epoch :math:`s = 1, 2, \ldots`, which schedules read.

        Returns:
            One gradient for every parameter.
        """

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
