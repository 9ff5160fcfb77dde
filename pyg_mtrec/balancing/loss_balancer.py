from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from pyg_mtrec.balancing._combine import weighted
from pyg_mtrec.balancing.balancer import Balancer, Needs
from pyg_mtrec.gradients import TaskGradients, Update


class LossBalancer(Balancer):
    r"""A rule that weighs the losses, so that one backward pass is enough: :math:`\sum_t w_t L_t`.

    Every row gets the same weights; parameters that only one task has get their task's plain
    gradient, as under any rule. A new rule is :meth:`loss_weights` alone.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import LossBalancer
        >>> class Mean(LossBalancer):
        ...     def loss_weights(self, losses, *, epoch):
        ...         return torch.full_like(losses, 1 / losses.numel())
        >>> Mean()(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
        tensor([[2., 3.]])
    """

    needs: ClassVar[Needs] = "losses"

    @abstractmethod
    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns the weights of the losses.

        Args:
            losses: The tasks' losses :math:`[T]`, detached.
            epoch: The epoch :math:`s = 1, 2, \ldots`.

        Returns:
            Weights :math:`[T]`.
        """

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines gradients that were collected, as one backward pass would have."""
        return weighted(gradients, self.loss_weights(gradients.losses, epoch=epoch))
