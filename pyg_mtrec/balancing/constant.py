import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing.loss_balancer import LossBalancer


class Constant(LossBalancer):
    r"""Fixed weights of the losses, chosen by hand or by a search.

    .. math::
        G = \sum_{t=1}^T w_t \, G_t

    Every row gets the same mixture.

    Args:
        weights: One weight :math:`w_t \ge 0` a task, the main task first.
        num_tasks: The number of tasks, if it is to be checked at once and not in the first step.

    Raises:
        InputError: If a weight is negative or not finite, or their number is not that of the tasks.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import Constant
        >>> Constant([1.0, 0.5])(torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]]))
        tensor([[2.5000, 4.0000]])
    """

    def __init__(self, weights: Sequence[float], num_tasks: int | None = None) -> None:
        super().__init__()
        if any(not (math.isfinite(weight) and weight >= 0) for weight in weights):
            raise InputError(
                f"'weights' need to be finite and not negative in 'Constant' (got {list(weights)})"
            )
        self.register_buffer("weights", torch.tensor([float(weight) for weight in weights]))
        self.weights: Tensor
        if num_tasks is not None:
            self._check(num_tasks)

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns the weights."""
        self._check(losses.numel())
        return self.weights.to(losses)

    def _check(self, num_tasks: int) -> None:
        if self.weights.numel() != num_tasks:
            raise InputError(
                f"'weights' of 'Constant' need one number a task (got {self.weights.numel()} for"
                f" {num_tasks} tasks)"
            )

    def extra_repr(self) -> str:
        r"""Returns the weights."""
        return f"weights={self.weights.tolist()}"
