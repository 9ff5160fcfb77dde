from torch import Tensor

Own = dict[str, dict[str, Tensor]]


def unweighted(own: Own, weights: Tensor) -> Own:
    r"""Takes the weight of its task off each gradient of a task's own parameters.

    Args:
        own: Task to the gradients of its own parameters, from a weighted sum of the losses.
        weights: Weights :math:`[T]`; where one is zero, the gradients are, too.
    """
    by = weights + (weights == 0)
    return {
        task: {name: grad / by[position] for name, grad in grads.items()}
        for position, (task, grads) in enumerate(own.items())
    }
