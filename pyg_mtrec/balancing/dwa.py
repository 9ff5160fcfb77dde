import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._lower_bounds import LowerBounds
from pyg_mtrec.balancing.loss_balancer import LossBalancer


class DWA(LossBalancer):
    r"""Dynamic weight average: more weight for losses that fall slowly.

    From `End-to-End Multi-Task Learning with Attention <https://arxiv.org/abs/1803.10704>`_. With
    the mean :math:`\bar{L}_t(e)` of a task's losses over epoch :math:`e` and :math:`T` tasks,

    .. math::
        w_t(e) = T \, \mathrm{softmax}_t \left(
            \frac{\bar{L}_t(e - 1)}{\bar{L}_t(e - 2)} \Big/ \tau \right), \qquad
        G = \sum_t w_t \, G_t ,

    and all weights are 1 in the first two epochs. All rows get the same mixture, which stays as it
    is throughout an epoch.

    The ratio means what it should only while losses are positive: give ``lower_bounds`` for a loss
    that can be negative (:attr:`Task.lower_bound`). A mean of exactly zero counts as unchanged.

    Args:
        temperature: :math:`\tau > 0`; large values make the weights equal.
        lower_bounds: For every task what its loss cannot fall below; means are taken above it.

    Raises:
        InputError: If ``temperature`` is not positive, or there is not one finite bound a task.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import DWA
        >>> rule = DWA()
        >>> for epoch, losses in enumerate([[4.0, 4.0], [1.0, 4.0], [1.0, 4.0]], start=1):
        ...     weights = rule.loss_weights(torch.tensor(losses), epoch=epoch)
        ...     print(epoch, weights)
        1 tensor([1., 1.])
        2 tensor([1., 1.])
        3 tensor([0.8147, 1.1853])
    """

    def __init__(
        self, temperature: float = 2.0, lower_bounds: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if not (temperature > 0 and math.isfinite(temperature)):
            raise InputError(f"'temperature' needs to be positive in 'DWA' (got {temperature})")
        self.temperature = temperature
        self.shift = LowerBounds(lower_bounds, "DWA")
        self._epoch: int | None = None
        self._sum: Tensor | None = None
        self._count = 0
        self._means: list[Tensor] = []  # of the last two whole epochs, the older one first

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Counts the losses to their epoch, and returns the epoch's weights."""
        shifted = self.shift(losses)
        if epoch != self._epoch:
            if self._sum is not None:
                self._means = [*self._means, self._sum / self._count][-2:]
            self._sum, self._count, self._epoch = None, 0, epoch
        self._sum = shifted if self._sum is None else self._sum.to(losses.device) + shifted
        self._count += 1
        if len(self._means) < 2:
            return torch.ones_like(losses)
        # A loaded state is on the CPU; for the rest of the epochs this does nothing.
        self._means = [mean.to(losses.device) for mean in self._means]
        older, newer = self._means
        some = older != 0
        rates = torch.where(some, newer, 1.0) / torch.where(some, older, 1.0)
        return (losses.numel() * (rates / self.temperature).softmax(dim=0)).to(losses.dtype)

    def reset(self) -> None:
        r"""Forgets all epochs."""
        self._epoch, self._sum, self._count, self._means = None, None, 0, []

    def get_extra_state(self) -> dict[str, Any]:
        r"""Returns the epoch's sum so far, and the means of the last two epochs."""
        return {
            "epoch": self._epoch,
            "sum": self._sum,
            "count": self._count,
            "means": list(self._means),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        r"""Continues in the middle of a saved epoch, or after it."""
        self._epoch, self._sum, self._count = state["epoch"], state["sum"], state["count"]
        self._means = list(state["means"])

    def extra_repr(self) -> str:
        r"""Returns the temperature."""
        return f"temperature={self.temperature}"
