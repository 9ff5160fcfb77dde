from typing import Literal

import torch
from torch import Tensor

from pyg_mtrec.balancing._draws import Draws
from pyg_mtrec.balancing._task_orders import task_orders
from pyg_mtrec.balancing.gram_balancer import GramBalancer
from pyg_mtrec.gradients import TaskGradients, Update


class PCGrad(GramBalancer):
    r"""Projects conflicts between tasks away (`paper <https://arxiv.org/abs/2001.06782>`_).

    The rule of "Gradient Surgery for Multi-Task Learning" (Yu et al., 2020). Every task starts
    from its own gradient :math:`\hat g_t = g_t` and meets the others :math:`s \neq t` in random
    order; where they conflict, it gives up its part along the other's gradient:

    .. math::
        \hat g_t \leftarrow \hat g_t
            - \frac{\min(\langle \hat g_t, g_s \rangle, 0)}{\| g_s \|^2} \, g_s , \qquad
        G = \sum_t \hat g_t

    Where no two tasks conflict, a row receives the plain sum of its tasks' gradients; where they
    do, what one task would undo of another is taken out first. With two tasks the order is of no
    consequence; with more it is drawn anew for every update, and is the same for all rows.

    Args:
        scope: ``"table"``: all shared parameters are one vector, as published; ``"row"``: every
            user and every item is one, see :class:`GramBalancer`.
        seed: Seed of the order of the tasks.

    Raises:
        InputError: If ``scope`` is neither of the two.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import PCGrad
        >>> grads = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[-1.0, 1.0], [1.0, 1.0]]])
        >>> PCGrad(scope="row")(grads)  # the tasks conflict in the first row only
        tensor([[0.5000, 1.5000],
                [2.0000, 1.0000]])
    """

    def __init__(self, scope: Literal["table", "row"] = "table", seed: int = 0) -> None:
        super().__init__(scope)
        self.draws = Draws(seed)
        self._orders: list[list[int]] | None = None

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines the gradients, all tables with the same orders of the tasks."""
        self._orders = self._draw(gradients.num_tasks)
        try:
            return super().update(gradients, epoch=epoch)
        finally:
            self._orders = None

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns how often each gradient is in the sum; draws orders outside of an update."""
        tasks = range(gram.size(-1))
        orders = self._orders or self._draw(len(tasks))
        products = [[gram[..., s, t] for t in tasks] for s in tasks]
        # A task without gradient is never projected on.
        squares = [torch.where(products[s][s] > 0, products[s][s], torch.inf) for s in tasks]
        weights = [torch.ones_like(square) for square in squares]
        for task, order in enumerate(orders):
            with_others = list(products[task])  # <g^_t, g_s>
            for position, s in enumerate(order):
                part = (with_others[s] / squares[s]).clamp_(max=0)
                weights[s] -= part
                for later in order[position + 1 :]:
                    with_others[later] = torch.addcmul(
                        with_others[later], part, products[s][later], value=-1
                    )
        return torch.stack(weights, dim=-1)

    def _draw(self, num_tasks: int) -> list[list[int]]:
        # Drawn on the CPU, so reading it waits for no device; and plain numbers make plain slices.
        orders: list[list[int]] = task_orders(num_tasks, self.draws.generator()).tolist()
        return orders

    def reset(self) -> None:
        r"""Starts the random orders anew from the seed."""
        self.draws.reset()
