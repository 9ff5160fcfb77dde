import math
from typing import Literal

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._simplex import Directions, in_blocks, solve
from pyg_mtrec.balancing.gram_balancer import GramBalancer

_SHRINKAGE = 1e-6
# Random gradients take 4 to 8; those that cancel, whose update is zero, 12 (T = 3) to 14 (T = 8).
_ITERATIONS = 14
# How much of the way to the boundary one iteration may go.
_DAMPING = 0.95


class NashMTL(GramBalancer):
    r"""The Nash bargaining solution (`paper <https://arxiv.org/abs/2202.01017>`_).

    The rule of "Multi-Task Learning as a Bargaining Game" (Navon et al., 2022): the update of a
    given length with the largest product of the tasks' gains :math:`\langle g_t, G \rangle`, which
    is a mixture whose weights are the inverse gains:

    .. math::
        G = \sum_t w_t \, g_t , \qquad w > 0 , \qquad
        w_t \, \langle g_t, G \rangle = 1 \text{ for all } t

    Every row receives a mixture in which each task has the same share :math:`w_t \langle g_t, G
    \rangle` of :math:`\|G\|^2 = T`. Lengths of gradients have no influence at all: multiplying a
    task's gradient by any number changes nothing. The update is therefore as long for tiny
    gradients as for large ones: :math:`\sqrt{T}`, where :math:`T` counts the tasks with a
    gradient, and ``max_norm`` at most. At table scope it is the length of the whole step, as in
    the authors' code; at row scope it is that of every touched row, so that with the default all
    of them move by a vector of length one. ``max_norm=None`` leaves :math:`\sqrt{T}`.

    With :math:`b_t = w_t \|g_t\|` and the cosines :math:`c_{st}` between gradients, the equations
    are :math:`b_t \sum_s c_{st} b_s = 1`. They are solved by a fixed number of damped Newton steps
    on :math:`b` and its gains together. Gradients that cancel have no solution; cosines are taken
    as :math:`1 - 10^{-6}` of themselves, which gives them a finite one and an update of about
    zero. Two tasks have a closed form, :math:`w_t = 1 / (\|g_t\| \sqrt{1 + c_{12}})`. A task
    without gradient takes no part.

    Args:
        scope: ``"table"``: all shared parameters are one vector, as published; ``"row"``: every
            user and every item is one, see :class:`GramBalancer`.
        max_norm: The length to which longer updates are cut, of the whole vector or of every row;
            :obj:`None` for none.

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import NashMTL
        >>> grads = torch.tensor([[[3.0, 0.0]], [[0.0, 0.1]]])
        >>> NashMTL(max_norm=None)(grads)  # both gain the same, whatever their scale
        tensor([[1., 1.]])
        >>> NashMTL()(grads)
        tensor([[0.7071, 0.7071]])
    """

    def __init__(
        self, scope: Literal["table", "row"] = "table", max_norm: float | None = 1.0
    ) -> None:
        super().__init__(scope)
        if max_norm is not None and not (max_norm > 0 and math.isfinite(max_norm)):
            raise InputError(f"'max_norm' needs to be positive in 'NashMTL' (got {max_norm})")
        self.max_norm = max_norm

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns the weights, zero for tasks without gradient."""
        return in_blocks(self._solve, gram, 3 * gram.size(-1) ** 2)

    def _solve(self, given: Directions) -> Tensor:
        live = given.norms > 0
        cosines = given.cosines * (1 - _SHRINKAGE)
        cosines.diagonal().fill_(1.0)
        lengths = _bargain(cosines) * live
        # Changes nothing once the iteration has converged; else no update is too long.
        squares = (lengths * (cosines * lengths).sum(1)).sum(0)
        lengths = lengths * (live.sum(0) / squares.clamp(min=1e-300)).sqrt()
        weights = lengths * given.inverse
        if self.max_norm is not None:
            squares = (lengths * (given.cosines * lengths).sum(1)).sum(0)
            weights = weights * (self.max_norm / squares.clamp(min=1e-300).sqrt()).clamp(max=1)
        return weights

    def extra_repr(self) -> str:
        r"""Returns the scope and the largest length."""
        return f"{super().extra_repr()}, max_norm={self.max_norm}"


def _bargain(cosines: Tensor) -> Tensor:
    r"""Returns :math:`b > 0` with :math:`b_t (C b)_t = 1`, shape :math:`[T, R]`.

    Args:
        cosines: Positive definite matrices :math:`C` of shape :math:`[T, T, R]`.
    """
    tasks = cosines.size(0)
    sums = cosines.sum(1)
    start = (tasks / sums.sum(0).clamp(min=_SHRINKAGE)).sqrt().expand_as(sums)
    if tasks <= 2:
        return start  # the solution: the best multiple of equal lengths
    # b, gains v that stay positive, and C b, which v becomes.
    state = torch.stack([start, 1 / start, sums * start])
    lengths, gains, products = state.unbind()
    step = torch.empty_like(state)
    for _ in range(_ITERATIONS):
        slopes = gains / lengths
        wanted = 1 / lengths
        matrix = cosines.clone()
        matrix.diagonal().add_(slopes.t())
        step[0] = solve(matrix, wanted - products)
        step[1] = wanted - gains - slopes * step[0]
        step[2] = step[1] + gains - products  # C times the first
        nearest = (step[:2] / state[:2]).amin((0, 1)).neg_().clamp_(min=_DAMPING)
        state.addcmul_(_DAMPING / nearest, step)
    return lengths
