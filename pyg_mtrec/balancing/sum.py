from torch import Tensor

from pyg_mtrec.balancing.loss_balancer import LossBalancer


class Sum(LossBalancer):
    r"""The plain sum of the tasks' losses (equal weights), in one backward pass.

    .. math::
        G = \sum_{t=1}^T G_t

    What every other rule has to beat: each row receives the sum of its tasks' gradients, so the
    task with the larger gradients decides.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import Sum
        >>> Sum()(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
        tensor([[4., 6.]])
    """

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns one for every task."""
        return losses.new_ones(losses.shape)
