from torch import Tensor

from pyg_mtrec.gradients import TaskGradients, Update


def combine(grads: Tensor, weights: Tensor) -> Tensor:
    r"""Returns :math:`\sum_t w_t g_t` without a weighted copy of all tasks' gradients.

    Args:
        grads: The tasks' gradients :math:`[T, *]`.
        weights: One weight a task :math:`[T]`, or one a task and row :math:`[T, R]` of gradients
            :math:`[T, R, d]`.
    """
    weights = weights.to(grads.dtype)
    if weights.dim() > 1:
        weights = weights.unsqueeze(-1)
    out = weights[0] * grads[0]
    for weight, grad in zip(weights[1:], grads[1:], strict=True):
        out.addcmul_(weight.expand_as(grad) if weight.dim() else weight, grad)
    return out


def weighted(gradients: TaskGradients, weights: Tensor) -> Update:
    r"""Returns the update of one weight :math:`[T]` a task for everything that the tasks share."""
    return Update(
        {name: combine(rows.grads, weights) for name, rows in gradients.rows.items()},
        {name: combine(grads, weights) for name, grads in gradients.dense.items()},
        gradients.own,
    )
