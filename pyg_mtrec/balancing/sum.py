from typing import ClassVar, Literal

from torch import Tensor

from pyg_mtrec.balancing.balancer import Balancer
from pyg_mtrec.gradients import TaskGradients, Update


class Sum(Balancer):
    r"""The plain sum of the tasks' losses (equal weights), in one backward pass.

    .. math::
        G = \sum_{t=1}^T G_t

    What every other rule has to beat: each row receives the sum of its tasks' gradients, so the
    task with the larger gradients decides.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import Sum
        >>> Sum()(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]), epoch=1)
        tensor([[4., 6.]])
    """

    needs: ClassVar[Literal["losses", "rows"]] = "losses"

    def forward(self, grads: Tensor, *, epoch: int) -> Tensor:
        r"""Adds up gradients.

        Args:
            grads: The tasks' gradients :math:`[T, R, d]`.
            epoch: Ignored.

        Returns:
            The sum :math:`[R, d]`.
        """
        return grads.sum(dim=0)

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns one for every task."""
        return losses.new_ones(losses.shape)

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Adds up what was collected; equal to one backward pass of the summed loss."""
        return Update(
            {name: rows.grads.sum(dim=0) for name, rows in gradients.rows.items()},
            {name: grads.sum(dim=0) for name, grads in gradients.dense.items()},
            gradients.own,
        )
