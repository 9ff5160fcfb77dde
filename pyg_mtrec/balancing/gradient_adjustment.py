from typing import Literal

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._combine import combine
from pyg_mtrec.balancing.gram_balancer import GramBalancer
from pyg_mtrec.gradients import TaskGradients, Update


class GradientAdjustment(GramBalancer):
    r"""HTLNet's rule: auxiliary gradients turned off the core task's way and brought to its size.

    After secondary sources on `HTLNet <https://arxiv.org/abs/2403.17442>`_, whose code was never
    released. With the core task 0 and every other task :math:`t`, first the direction and then
    the magnitude is adjusted:

    .. math::
        G_t &\leftarrow G_t - \alpha \,
            \frac{\min(\langle G_t, G_0 \rangle, 0)}{\| G_0 \|^2} \, G_0 \\
        G_t &\leftarrow \left( \gamma \, r_t + 1 - \gamma \right) G_t, \qquad
            r_t = \min\!\left( \frac{\| G_0 \|}{\| G_t \|}, C \right) \\
        G   &= G_0 + \sum_{t > 0} G_t

    The core task's own gradient stays as it is, and other tasks are not projected on each other.
    At :math:`\alpha = 1` none of them opposes the core task any more; at :math:`\gamma = 0` and
    without conflict the rule is :class:`Sum`; at :math:`\gamma = 1`, unclipped, all gradients are
    as long as the core task's. A task without gradient stays without, and without a gradient of the
    core task nothing is adjusted. All of it follows from inner products, so the adjusted gradients
    are never formed one by one.

    What is adjusted are the embedding tables, row gradients of a batch being summed per row before
    any norm is taken; parameters outside them that several tasks share get the plain sum.

    Args:
        projection: :math:`\alpha \ge 0`, the share of a conflict that is taken off.
        gamma: :math:`\gamma` in :math:`[0, 1]`, how far magnitudes are brought to the core task's.
        clip: :math:`C > 0`, the largest factor of a magnitude.
        clip_below: Keeps the factor above :math:`1 / C`, too.
        norm: Whether :math:`\| G_t \|` is taken ``"after"`` the projection or ``"before"`` it.
        per: ``"all"`` tables as one vector, or each ``"tensor"`` (table) as one of its own.
        dense: Adjusts shared parameters outside the tables, too.
        scope: ``"table"``, or ``"row"`` to adjust every row of every table on its own.

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import GradientAdjustment
        >>> grads = torch.tensor([[[2.0, 0.0]], [[-1.0, 4.0]]])  # the core task comes first
        >>> GradientAdjustment(gamma=0.0)(grads)  # without what opposes the core task
        tensor([[2., 4.]])
        >>> GradientAdjustment(gamma=1.0)(grads)  # and as long as its gradient
        tensor([[2., 2.]])
    """

    def __init__(
        self,
        projection: float = 1.0,
        gamma: float = 0.1,
        clip: float = 10.0,
        clip_below: bool = False,
        norm: Literal["after", "before"] = "after",
        per: Literal["all", "tensor"] = "all",
        dense: bool = False,
        scope: Literal["table", "row"] = "table",
    ) -> None:
        super().__init__(scope)
        name = type(self).__name__
        if not projection >= 0:
            raise InputError(f"'projection' needs to be at least 0 in '{name}' (got {projection})")
        if not 0 <= gamma <= 1:
            raise InputError(f"'gamma' needs to be between 0 and 1 in '{name}' (got {gamma})")
        if not clip > 0:
            raise InputError(f"'clip' needs to be positive in '{name}' (got {clip})")
        if clip_below and clip < 1:
            raise InputError(f"'clip' needs to be at least 1 with 'clip_below' (got {clip})")
        for argument, value, known in (
            ("norm", norm, ("after", "before")),
            ("per", per, ("all", "tensor")),
        ):
            if value not in known:
                raise InputError(
                    f"'{argument}' needs to be '{known[0]}' or '{known[1]}' in '{name}'"
                    f" (got {value!r})"
                )
        self.projection, self.gamma, self.clip = projection, gamma, clip
        self.clip_below, self.norm, self.per, self.dense = clip_below, norm, per, dense

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns the weights of the unadjusted gradients whose sum is the adjusted one."""
        square = gram.diagonal(dim1=-2, dim2=-1)  # [*, T]
        core, inner = square[..., :1], gram[..., 0]  # [*, 1], [*, T]
        has_core = core > 0
        # What of G_0 is taken off G_t; of the core task itself, nothing: its product is positive.
        taken = self.projection * inner.clamp(max=0) / torch.where(has_core, core, 1.0)
        after = (square - taken * (2 * inner - taken * core)).clamp(min=0)
        # A gradient that was all conflict leaves rounding errors, no direction.
        after = torch.where(after > 1e-14 * square, after, 0.0)
        size = (after if self.norm == "after" else square).sqrt()
        some = has_core & (size > 0)
        ratio = core.sqrt() / torch.where(some, size, 1.0)
        low = 1 / self.clip if self.clip_below else 0.0
        ratio = torch.where(some, ratio.clamp(low, self.clip), 1.0)
        factor = self.gamma * ratio + 1 - self.gamma  # [*, T]
        factor = torch.cat([torch.ones_like(factor[..., :1]), factor[..., 1:]], dim=-1)
        first = 1 - (factor * taken)[..., 1:].sum(-1, keepdim=True)
        return torch.cat([first, factor[..., 1:]], dim=-1)

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines the gradients; see the class for the equations."""
        total = gradients.losses.new_ones(gradients.num_tasks)
        rows, dense = gradients.rows, gradients.dense
        if self.scope == "row" or self.per == "tensor":
            weights = {
                name: self.weights(gradients.row_gram(name)).t()
                if self.scope == "row"
                else self.weights(gradients.table_gram(name))
                for name in rows
            }
            of_dense = self.weights(gradients.dense_gram()) if self.dense and dense else total
        else:
            gram = gradients.gram() if self.dense else gradients.tables_gram()
            of_all = self.weights(gram)
            weights, of_dense = dict.fromkeys(rows, of_all), of_all if self.dense else total
        return Update(
            {name: combine(found.grads, weights[name]) for name, found in rows.items()},
            {name: combine(grads, of_dense) for name, grads in dense.items()},
            gradients.own,
        )

    def extra_repr(self) -> str:
        r"""Returns the settings that decide the weights."""
        return (
            f"projection={self.projection}, gamma={self.gamma}, clip={self.clip},"
            f" scope={self.scope!r}"
        )
