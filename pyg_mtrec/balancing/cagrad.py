import math
from typing import Literal

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._simplex import Directions, check_tasks, faces, in_blocks, select, times
from pyg_mtrec.balancing.gram_balancer import GramBalancer

# Of the lengths that a mixture adds up: one that cancels to less has no direction worth following.
_SHORTEST = 1e-4
# The same of squares, at the limit of float64.
_ROUNDING = 1e-15


class CAGrad(GramBalancer):
    r"""The best for the worst task near the mean (`paper <https://arxiv.org/abs/2110.14048>`_).

    The rule of "Conflict-Averse Gradient Descent for Multi-task Learning" (Liu et al., 2021). With
    the mean gradient :math:`g_0 = \frac{1}{T} \sum_t g_t`, the update is the vector in the ball of
    radius :math:`c \|g_0\|` about it on which the worst-off task gains most:

    .. math::
        G = \arg\max_{\|d - g_0\| \leq c \|g_0\|} \; \min_t \, \langle g_t, d \rangle
          = g_0 + c \, \frac{\|g_0\|}{\|g_w\|} \, g_w , \qquad
        w = \arg\min_{w \geq 0, \, \sum_t w_t = 1} \;
            \langle g_w, g_0 \rangle + c \, \|g_0\| \, \|g_w\| , \quad g_w = \sum_t w_t \, g_t

    Every row receives the mean of its tasks' gradients and a bonus of :math:`c` times the mean's
    length along a mixture that stands by the task with which the mean agrees least. Up to
    :math:`1 + c` times as long as the mean, it is not divided by that again, as some
    implementations do. A task without gradient takes no part in :math:`w` (the mean is over all
    tasks). Where the tasks' gradients cancel, :math:`g_w` has no direction and the update is the
    mean.

    The minimum is exact: inside each of the :math:`2^T - 1` faces of the simplex it is the root of
    a quadratic equation. All faces are solved at once and the best valid point is taken.

    Args:
        c: Radius :math:`c \geq 0` of the ball, in lengths of the mean; 0 gives the mean, and from
            1 on the update may turn against it.
        scope: ``"table"``: all shared parameters are one vector, as published; ``"row"``: every
            user and every item is one, see :class:`GramBalancer`.

    Raises:
        InputError: If an argument is out of its range, or there are more than 8 tasks.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import CAGrad
        >>> grads = torch.tensor([[[4.0, 0.0]], [[0.0, 2.0]]])
        >>> CAGrad(c=0.5)(grads)  # the mean is (2, 1): the second task gets the bonus
        tensor([[2.0000, 2.1180]])
    """

    def __init__(self, c: float = 0.5, scope: Literal["table", "row"] = "table") -> None:
        super().__init__(scope)
        if not (c >= 0 and math.isfinite(c)):
            raise InputError(f"'c' needs to be finite and not negative in 'CAGrad' (got {c})")
        self.c = c

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns the weights, which sum to one or more."""
        tasks = gram.size(-1)
        check_tasks(tasks, "CAGrad")
        return in_blocks(self._solve, gram, 2 * tasks * 2**tasks)

    def _solve(self, given: Directions) -> Tensor:
        tasks = given.norms.size(0)
        along = (given.cosines * given.norms).sum(1) / tasks  # <g_t, g_0> / |g_t|
        mean = ((along * given.norms).sum(0) / tasks).clamp(min=0).sqrt()  # |g_0|
        along = (along / mean.clamp(min=1e-300)).clamp(-1, 1)
        units = given.units()

        # In lengths x_t = w_t |g_t| and in units of |g_0| and of the shortest gradient, minimise
        # <along, x> + c sqrt(<x, C x>) on <units, x> = 1. On a face, x is a multiple of
        # C^-1 (height · units - along), where height, the minimum, solves a quadratic equation.
        found, inside, _ = faces(given.cosines, torch.stack([units, along], dim=1))
        shortest, toward = (found * inside).unbind(2)  # C^-1 units, C^-1 along: [F, T, R]
        a, h = (units * shortest).sum(1), (along * shortest).sum(1)
        k = (along * toward).sum(1)
        root = h.square() - a * (k - self.c**2)
        rise = root.clamp(min=0).sqrt()
        height = (h + rise) / a.clamp(min=1e-300)
        points = torch.addcmul(-toward, height.unsqueeze(1), shortest)
        # Where a face has no such point, g_w = 0 may lie in it: try its shortest point.
        inner = (root > 0) & (points.amin(1) >= 0)
        points = torch.where(inner.unsqueeze(1), points, shortest)
        total = torch.where(inner, rise, a)  # <units, points>

        valid = (points.amin(1) >= 0) & (total > 0)
        values = (points * along).sum(1) + self.c * _length(given.cosines, points)
        values = values / total.clamp(min=1e-300)
        best = select(torch.where(valid, values, torch.inf), points)
        # The lengths that make g_w / |g_w|, and nothing where g_w is nothing.
        length, least = _length(given.cosines, best), _SHORTEST * best.sum(0)
        best = best * (length / torch.maximum(length, least).square().clamp(min=1e-300))
        return 1 / tasks + self.c * mean * given.inverse * best

    def extra_repr(self) -> str:
        r"""Returns the radius and the scope."""
        return f"c={self.c}, {super().extra_repr()}"


def _length(cosines: Tensor, points: Tensor) -> Tensor:
    squares = (points * times(cosines, points)).sum(-2)
    return (squares.clamp(min=0) + _ROUNDING * points.sum(-2).square()).sqrt()
