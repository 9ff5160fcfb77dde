from dataclasses import dataclass

from torch import Tensor


@dataclass
class RowGradients:
    r"""Every task's gradient of one table, on the rows that the step touched.

    Args:
        ids: The rows :math:`[R]`, each at most once, or :obj:`None` if ``grads`` holds every row
            of the table in order. On a GPU the tail may repeat row 0 with zero gradients, which
            keeps shapes static.
        grads: Gradients :math:`[T, R, d]`, one slice a task, the main task first.
    """

    ids: Tensor | None
    grads: Tensor
