from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._draws import Draws
from pyg_mtrec.balancing.balancer import Balancer, Needs
from pyg_mtrec.gradients import TaskGradients, Update


class GradDrop(Balancer):
    r"""Keeps, entry by entry, the gradients of one sign (`paper <https://arxiv.org/abs/2010.06808>`_).

    For every entry of every row, with the tasks' gradients :math:`g_t` there and one draw
    :math:`u \sim \mathcal{U}(0, 1)` that the tasks share,

    .. math::
        P &= \frac{1}{2} \left( 1 + \frac{\sum_t g_t}{\sum_t |g_t|} \right), \qquad
        M_t = \begin{cases}
            1 & g_t > 0 \text{ and } P > u, \text{ or } g_t < 0 \text{ and } P < u \\
            0 & \text{otherwise}
        \end{cases} \\
        g   &= \sum_t \left( \ell_t + (1 - \ell_t) M_t \right) g_t

    :math:`P` is the positive gradients' share of the total, so the expectation is the plain sum
    (with one leak for all tasks): what changes is that tasks which disagree on an entry take turns.
    Where all are zero, zero stays.

    The rule sees single entries, so the table and its rows are the same to it: there is no
    ``scope``. It acts on the gradients of parameters; the paper multiplies by the sign of the
    activations first, which an embedding row does not have.

    Args:
        leak: The share :math:`\ell_t` in :math:`[0, 1]` of a task's gradient that is never dropped:
            one number for all tasks, or one a task. 1 for all gives :class:`Sum`.
        seed: Where the generator starts; it draws on the device of the gradients.

    Raises:
        InputError: If a leak is outside of :math:`[0, 1]`, or there is not one a task.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import GradDrop
        >>> grads = torch.tensor([[[1.0, 3.0, 0.0]], [[2.0, -1.0, 0.0]]])
        >>> out = GradDrop(seed=0)(grads)
        >>> out[0, 0], bool(out[0, 1] == 3.0 or out[0, 1] == -1.0), out[0, 2]
        (tensor(3.), True, tensor(0.))
    """

    needs: ClassVar[Needs] = "elements"

    def __init__(self, leak: float | Sequence[float] = 0.0, seed: int = 0) -> None:
        super().__init__()
        leaks = [leak] if isinstance(leak, int | float) else list(leak)
        if not leaks or not all(0 <= share <= 1 for share in leaks):
            raise InputError(f"'leak' needs to be between 0 and 1 in 'GradDrop' (got {leak})")
        self.leak = leak
        self.draws = Draws(seed)

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines all gradients entry by entry; see the class for the equation."""
        return Update(
            {name: self._drop(rows.grads) for name, rows in gradients.rows.items()},
            {name: self._drop(grads) for name, grads in gradients.dense.items()},
            gradients.own,
        )

    def _drop(self, grads: Tensor) -> Tensor:
        leaks = self._leaks(grads.size(0))
        generator = self.draws.generator(grads.device)
        u = torch.rand(grads.shape[1:], generator=generator, dtype=grads.dtype, device=grads.device)
        up, down = _signs(grads, [1.0] * len(leaks))
        # P > u, multiplied out: nothing is divided, so all zeros need no care.
        keep = u.mul_(up - down).lt_(up)  # 1 or 0
        if any(leaks):
            up, down = _signs(grads, [1 - leak for leak in leaks])
        out = up.mul_(keep).add_(down.mul_(1 - keep))
        for grad, leak in zip(grads, leaks, strict=True):
            if leak:
                out.add_(grad, alpha=leak)
        return out

    def _leaks(self, num_tasks: int) -> list[float]:
        if isinstance(self.leak, int | float):
            return [float(self.leak)] * num_tasks
        if len(self.leak) != num_tasks:
            raise InputError(
                f"'leak' of 'GradDrop' needs one number, or one a task (got {len(self.leak)} for"
                f" {num_tasks} tasks)"
            )
        return [float(share) for share in self.leak]

    def reset(self) -> None:
        self.draws.reset()

    def extra_repr(self) -> str:
        r"""Returns the leak."""
        return f"leak={self.leak}"


def _signs(grads: Tensor, shares: list[float]) -> tuple[Tensor, Tensor]:
    r"""Returns the tasks' positive and negative entries, summed with a factor a task."""
    up, down = torch.zeros_like(grads[0]), torch.zeros_like(grads[0])
    for grad, share in zip(grads, shares, strict=True):
        up.add_(grad.clamp(min=0), alpha=share)
        down.add_(grad.clamp(max=0), alpha=share)
    return up, down
