from typing import Literal

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._simplex import Directions, check_tasks, faces, in_blocks, select, times
from pyg_mtrec.balancing.gram_balancer import GramBalancer

# Of the terms of a sum of squares: what cancels to less is rounding, not a shorter point.
_ROUNDING = 1e-14


class MGDA(GramBalancer):
    r"""The shortest mixture of the gradients (`paper <https://arxiv.org/abs/1810.04650>`_).

    The rule of "Multi-Task Learning as Multi-Objective Optimization" (Sener & Koltun, 2018), after
    the multiple gradient descent algorithm of Désidéri (2012):

    .. math::
        G = \sum_t w_t \, g_t , \qquad
        w = \arg\min_{w \geq 0, \, \sum_t w_t = 1} \Big\| \sum_t w_t \, g_t \Big\|^2

    A row receives the one mean of its tasks' gradients that is good for all of them alike: it is
    never longer than the shortest gradient, agrees with each
    (:math:`\langle G, g_t \rangle \geq \|G\|^2`), and vanishes where they cancel. The task with the
    smallest gradients so has the largest weight; with ``normalize="l2"`` directions alone decide:

    .. math::
        G = \frac{\sum_t \|g_t\|}{T} \sum_t v_t \frac{g_t}{\|g_t\|} , \qquad
        v = \arg\min_{v \geq 0, \, \sum_t v_t = 1} \Big\| \sum_t v_t \frac{g_t}{\|g_t\|} \Big\|^2

    The factor, the mean length of the gradients, keeps the update in their units; implementations
    differ in it. A task without gradient takes no part.

    The minimum is exact: it lies inside one of the :math:`2^T - 1` faces of the simplex, where it
    solves linear equations. All faces are solved at once and the shortest valid point is taken.

    Args:
        scope: ``"table"``: all shared parameters are one vector, as published; ``"row"``: every
            user and every item is one, see :class:`GramBalancer`.
        normalize: ``"none"`` or ``"l2"``.

    Raises:
        InputError: If an argument is none of its choices, or there are more than 8 tasks.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import MGDA
        >>> grads = torch.tensor([[[2.0, 0.0]], [[0.0, 4.0]]])
        >>> MGDA()(grads)  # 0.8 of the first, 0.2 of the second
        tensor([[1.6000, 0.8000]])
        >>> MGDA(normalize="l2")(grads)
        tensor([[1.5000, 1.5000]])
    """

    def __init__(
        self,
        scope: Literal["table", "row"] = "table",
        normalize: Literal["none", "l2"] = "none",
    ) -> None:
        super().__init__(scope)
        if normalize not in ("none", "l2"):
            raise InputError(
                f"'normalize' needs to be 'none' or 'l2' in 'MGDA' (got {normalize!r})"
            )
        self.normalize = normalize

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns the weights, zero for tasks without gradient."""
        tasks = gram.size(-1)
        check_tasks(tasks, "MGDA")
        return in_blocks(self._solve, gram, tasks * 2**tasks)

    def _solve(self, given: Directions) -> Tensor:
        units = given.units()
        # In lengths x_t = w_t |g_t|, the simplex is x >= 0, <sides, x> = 1.
        sides = units if self.normalize == "none" else (given.norms > 0).to(units)
        found, inside, _ = faces(given.cosines, sides.unsqueeze(1))
        points = (found * inside)[:, :, 0]  # [F, T, R], up to their length
        total = (sides * points).sum(1)
        valid = (points.amin(1) >= 0) & (total > 0)
        squares = (points * times(given.cosines, points)).sum(1)
        squares = squares + _ROUNDING * points.sum(1).square()
        squares = squares / total.square().clamp(min=1e-300)
        points = select(torch.where(valid, squares, torch.inf), points)
        points = points / (sides * points).sum(0).clamp(min=1e-300)
        if self.normalize == "none":
            return points * units
        return points * given.inverse * (given.norms.sum(0) / sides.sum(0).clamp(min=1))

    def extra_repr(self) -> str:
        r"""Returns the scope and how gradients are measured."""
        return f"{super().extra_repr()}, normalize={self.normalize!r}"
