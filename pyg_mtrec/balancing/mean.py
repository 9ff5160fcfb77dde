from torch import Tensor

from pyg_mtrec.balancing.loss_balancer import LossBalancer


class Mean(LossBalancer):
    r"""The mean of the tasks' losses.

    .. math::
        G = \frac{1}{T} \sum_{t=1}^T G_t

    The direction of every row is that of :class:`Sum`; only its length is :math:`T` times smaller.
    An optimiser that adds weight decay to the gradient (Adam, not AdamW) therefore decays
    :math:`T` times more strongly relative to it, which alone may decide a comparison: this is the
    control for rules whose weights add up to one, such as PMTRec and RLW.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import Mean
        >>> Mean()(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
        tensor([[2., 3.]])
    """

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns :math:`1 / T` for every task."""
        return losses.new_full(losses.shape, 1 / losses.numel())
