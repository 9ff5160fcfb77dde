from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.linalg import vector_norm

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._combine import combine
from pyg_mtrec.balancing.balancer import Balancer, Needs
from pyg_mtrec.gradients import TaskGradients, Update

_MAX_RATIO = 1e30


class MetaBalance(Balancer):
    r"""Brings auxiliary gradients near the main task's size (`paper <https://arxiv.org/abs/2203.06801>`_).

    For every parameter tensor on its own (each table, each of the encoder's parameters), with the
    norms of the tasks' gradients of that tensor and the main task 0,

    .. math::
        m_t &\leftarrow \beta \, m_t + (1 - \beta) \, \| G_t \|_2 \\
        G   &= G_0 + \sum_{t > 0} \left( r \, \frac{m_0}{m_t} + 1 - r \right) G_t

    All rows of a table get the same mixture: auxiliary tasks with large gradients are turned down,
    those with small ones up, all the way at :math:`r = 1` and not at all (:class:`Sum`) at
    :math:`r = 0`. The moving averages start at zero; what that does cancels in the ratio. A task
    that has had no gradient yet gets weight 1, which multiplies zero.

    Args:
        relax: :math:`r` in :math:`[0, 1]`.
        beta: Memory :math:`\beta` of the moving averages, in :math:`[0, 1)`.

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import MetaBalance
        >>> grads = torch.tensor([[[3.0, 4.0]], [[0.0, 50.0]]])  # norms 5 and 50
        >>> MetaBalance(relax=1.0)(grads)
        tensor([[3., 9.]])
    """

    needs: ClassVar[Needs] = "rows"

    def __init__(self, relax: float = 0.7, beta: float = 0.9) -> None:
        super().__init__()
        if not 0 <= relax <= 1:
            raise InputError(f"'relax' needs to be between 0 and 1 in 'MetaBalance' (got {relax})")
        if not 0 <= beta < 1:
            raise InputError(
                f"'beta' needs to be at least 0 and below 1 in 'MetaBalance' (got {beta})"
            )
        self.relax, self.beta = relax, beta
        self._means: dict[str, dict[str, Tensor]] = {"rows": {}, "dense": {}}

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines each parameter tensor with its own weights; see the class for the equation."""
        rows, dense = {}, {}
        for name, found in gradients.rows.items():
            norms = vector_norm(gradients.norms(name).double(), dim=1)
            rows[name] = combine(found.grads, self._weights("rows", name, norms))
        for name, grads in gradients.dense.items():
            norms = vector_norm(grads.reshape(grads.size(0), -1), dim=1).double()
            dense[name] = combine(grads, self._weights("dense", name, norms))
        return Update(rows, dense, gradients.own)

    def _weights(self, kind: str, name: str, norms: Tensor) -> Tensor:
        r"""Counts a tensor's norms :math:`[T]` to their averages, and returns its weights."""
        mean = (1 - self.beta) * norms
        if name in self._means[kind]:
            mean += self.beta * self._means[kind][name].to(norms.device)
        self._means[kind][name] = mean
        some = mean > 0
        ratio = torch.where(some, mean[0], 1.0) / torch.where(some, mean, 1.0)
        # The average of a task that fell silent decays for ever; infinity times zero is no number.
        ratio = ratio.clamp(max=_MAX_RATIO)
        return self.relax * ratio + (1 - self.relax)

    def reset(self) -> None:
        r"""Forgets all norms."""
        self._means = {"rows": {}, "dense": {}}

    def get_extra_state(self) -> dict[str, Any]:
        r"""Returns the moving averages, by parameter tensor."""
        return {kind: dict(means) for kind, means in self._means.items()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        r"""Continues with saved averages."""
        self._means = {kind: dict(state[kind]) for kind in ("rows", "dense")}

    def extra_repr(self) -> str:
        r"""Returns the settings that decide the weights."""
        return f"relax={self.relax}, beta={self.beta}"
