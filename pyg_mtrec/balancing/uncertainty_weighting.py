import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._lower_bounds import LowerBounds
from pyg_mtrec.balancing.loss_balancer import LossBalancer


class UncertaintyWeighting(LossBalancer):
    r"""Learns how noisy each task is, and weighs by it (`paper <https://arxiv.org/abs/1705.07115>`_).

    With one number :math:`s_t = \log \sigma_t^2` a task, trained together with the model, the
    objective is

    .. math::
        \sum_t c_t \, e^{-s_t} L_t + \tfrac{1}{2} s_t, \qquad
        c_t = \begin{cases}
            1/2 & \text{regression} \\
            1 & \text{classification, ranking}
        \end{cases}

    so every row gets :math:`\sum_t c_t e^{-s_t} G_t`. Both forms come to rest at the weight
    :math:`1 / (2 L_t)`: they differ in their start and their speed, and each task ends with about
    the same influence whatever the scale of its loss.

    Losses arrive detached; :meth:`loss_weights` therefore writes the gradient
    :math:`1/2 - c_t e^{-s_t} L_t` into ``log_variance.grad`` itself. The optimiser has to hold
    ``parameters()`` **without weight decay**, which would pull :math:`s` to zero, that is, all
    weights to :math:`c_t`.

    A loss that is zero or negative has no optimum: its weight would grow for ever. Give
    ``lower_bounds`` for a loss that can be negative (:attr:`Task.lower_bound`); a constant changes
    no gradient of the model.

    Args:
        num_tasks: The number of tasks :math:`T`.
        regression: For every task whether it has the regression form; :obj:`None` gives it to all,
            as other libraries do.
        lower_bounds: For every task what its loss cannot fall below; it is taken off in the
            equation above.
        init: Where all :math:`s_t` start.

    Raises:
        InputError: If a number is not finite, or there is not one a task.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import UncertaintyWeighting
        >>> rule = UncertaintyWeighting(2)
        >>> optimizer = torch.optim.SGD(rule.parameters(), lr=0.1)
        >>> losses = torch.tensor([0.1, 2.0])
        >>> for _ in range(300):
        ...     weights = rule.loss_weights(losses, epoch=1)
        ...     optimizer.step()
        >>> weights * losses
        tensor([0.5000, 0.5000])
    """

    def __init__(
        self,
        num_tasks: int,
        regression: Sequence[bool] | None = None,
        lower_bounds: Sequence[float] | None = None,
        init: float = 0.0,
    ) -> None:
        super().__init__()
        name = "UncertaintyWeighting"
        if num_tasks < 1:
            raise InputError(f"'num_tasks' needs to be at least 1 in '{name}' (got {num_tasks})")
        if not math.isfinite(init):
            raise InputError(f"'init' needs to be finite in '{name}' (got {init})")
        if regression is None:
            regression = [True] * num_tasks
        for argument, given in (("regression", regression), ("lower_bounds", lower_bounds)):
            if given is not None and len(given) != num_tasks:
                raise InputError(
                    f"'{argument}' of '{name}' needs one value a task"
                    f" (got {len(given)} for {num_tasks} tasks)"
                )
        self.init = init
        self.shift = LowerBounds(lower_bounds, name)
        self.log_variance = nn.Parameter(torch.full((num_tasks,), float(init)))
        factor = torch.tensor([0.5 if squared else 1.0 for squared in regression])
        self.register_buffer("factor", factor.double(), persistent=False)
        self.factor: Tensor

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns the weights, and writes the gradient of ``log_variance``."""
        if losses.numel() != self.log_variance.numel():
            raise InputError(
                f"'UncertaintyWeighting' was made for {self.log_variance.numel()} tasks"
                f" (got {losses.numel()} losses)"
            )
        weights = self.factor * self.log_variance.detach().double().neg().exp()  # [T]
        self.log_variance.grad = (0.5 - weights * self.shift(losses)).to(self.log_variance)
        return weights.to(losses.dtype)

    def reset(self) -> None:
        r"""Puts all log variances back to their start."""
        with torch.no_grad():
            self.log_variance.fill_(self.init)

    def extra_repr(self) -> str:
        r"""Returns the number of tasks."""
        return f"num_tasks={self.log_variance.numel()}"
