import torch
from torch import Tensor

from pyg_mtrec.balancing._simplex import Directions, check_tasks, faces, in_blocks, select
from pyg_mtrec.balancing.gram_balancer import GramBalancer

# Squared sine below which a gradient adds no constraint of its own. Inner products of float32
# gradients are exact to 1e-7, and dividing by less than this would blow that up.
_DEPENDENT = 1e-10


class UPGrad(GramBalancer):
    r"""The mean of the gradients freed of conflicts (`paper <https://arxiv.org/abs/2406.16232>`_).

    The rule of "Jacobian Descent for Multi-Objective Optimization" (Quinton & Rey, 2024). Every
    task's gradient is projected onto the vectors that conflict with no task, and the update is the
    mean of the projections, so that it conflicts with none either:

    .. math::
        G = \frac{1}{T} \sum_t \pi(g_t) , \qquad
        \pi(g) = \arg\min_x \; \|x - g\|^2
        \quad \text{where } \langle x, g_s \rangle \geq 0 \text{ for all } s

    Where no two tasks conflict, a row receives the mean of its tasks' gradients; where they do,
    each gives up as little as it has to. With two tasks this is half of :class:`PCGrad`'s update;
    with more, unlike there, no order of the tasks matters and no conflict is left. As in any mean
    over the tasks, one without gradient counts as zero.

    The projections are exact: :math:`\pi(g_t) = g_t + \sum_s \lambda_s g_s` with
    :math:`\lambda \geq 0`, and which of the :math:`\lambda_s` are positive is one of :math:`2^T`
    cases with linear equations each. All are solved at once for all tasks.

    Args:
        scope: ``"table"``: all shared parameters are one vector, as published; ``"row"``: every
            user and every item is one, see :class:`GramBalancer`.

    Raises:
        InputError: If ``scope`` is neither of the two, or there are more than 8 tasks.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import UPGrad
        >>> grads = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[-1.0, 1.0], [1.0, 1.0]]])
        >>> UPGrad(scope="row")(grads)  # the tasks conflict in the first row only
        tensor([[0.2500, 0.7500],
                [1.0000, 0.5000]])
    """

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns the weights, none of which is below :math:`1 / T`."""
        tasks = gram.size(-1)
        check_tasks(tasks, "UPGrad")
        return in_blocks(self._solve, gram, tasks**2 * 2**tasks)

    def _solve(self, given: Directions) -> Tensor:
        tasks = given.norms.size(0)
        found, inside, smallest = faces(given.cosines, given.cosines)
        factors = found * -inside  # lambda of each task's projection [F, T, T, R]
        squares = found.diagonal(dim1=1, dim2=2).movedim(-1, 1)  # |projection|^2 [F, T, R]
        valid = (factors.amin(1) >= 0) & (smallest > _DEPENDENT).unsqueeze(1)
        factors = select(torch.where(valid, squares, torch.inf), factors)
        given_up = (factors * given.norms).sum(1) * given.inverse
        return (1 + given_up) / tasks
