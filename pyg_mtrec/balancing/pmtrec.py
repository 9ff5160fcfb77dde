import math
from typing import ClassVar, Literal

from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._combine import combine
from pyg_mtrec.balancing.balancer import Balancer, Needs
from pyg_mtrec.gradients import TaskGradients, Update

# exp(600) · 1e10 / 1e-30 still fits in float64, and no softmax can tell larger focusing apart.
_MAX_LOG_FOCUS = 600.0


class PMTRec(Balancer):
    r"""Weighs the tasks anew for every user and item (`paper <https://arxiv.org/abs/2407.21364>`_).

    The rule of "Personalized Multi-task Training for Recommender System" (Yang et al., 2024).
    For every row :math:`e` (one user or one item), with the tasks' gradients :math:`G_t[e]`, task
    0 being the main task, in epoch :math:`s`:

    .. math::
        n_t(e) &= \| G_t[e] \|_2 , \qquad n_0(e) \leftarrow n_0(e) \cdot \alpha^s \\
        w_t(e) &= \frac{\exp(n_t(e) / \tau)}{\sum_{t'} \exp(n_{t'}(e) / \tau)} \\
        G[e]   &= \sum_t w_t(e) \, G_t[e]

    Norms set weights and nothing else; the gradients themselves are not scaled.
    :math:`\tau \to \infty` gives the mean of the tasks' gradients, :math:`\tau \to 0` the one of
    largest norm. :math:`\tau` has the unit of a gradient norm: with losses that are means over the
    batch, row norms are of the order 1e-4 … 1e-3, and so is the active range of :math:`\tau`.

    A row that only some tasks touch still shares its weights with the others (a zero norm enters
    the softmax as :math:`\exp(0)`), so its step is shortened; ``mask_inactive=True`` takes the
    softmax over the tasks that touch the row.

    Args:
        alpha: Task focusing :math:`\alpha \geq 1`; 1 switches it off.
        tau: Temperature :math:`\tau > 0`, in units of a gradient norm (of 1 if ``relative``).
        mask_inactive: Softmax over the tasks with a gradient in the row only.
        scale: ``"mean"`` is the paper's; ``"sum"`` multiplies by the number of tasks, so that
            :math:`\tau \to \infty` is the plain sum and weight decay keeps its relative strength.
        relative: Divide norms by their mean over all live rows and tasks first, which makes
            ``tau`` free of scale. Not in the paper.
        dense: What shared parameters outside the tables get, for which the paper defines nothing:
            the ``"mean"`` of the tasks' gradients (the limit of large :math:`\tau`) or their
            ``"sum"``. With ``scale="sum"`` it is the sum in any case.

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import PMTRec
        >>> grads = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 4.0], [0.0, 2.0]]])
        >>> PMTRec(alpha=1.0, tau=0.1)(grads, epoch=1)  # the larger norm takes each row
        tensor([[1.3619e-04, 3.9998e+00],
                [0.0000e+00, 2.0000e+00]])
    """

    needs: ClassVar[Needs] = "rows"

    def __init__(
        self,
        alpha: float = 1.0,
        tau: float = 1e-3,
        mask_inactive: bool = False,
        scale: Literal["mean", "sum"] = "mean",
        relative: bool = False,
        dense: Literal["mean", "sum"] = "mean",
    ) -> None:
        super().__init__()
        if not (tau > 0 and math.isfinite(tau)):
            raise InputError(f"'tau' needs to be positive in 'PMTRec' (got {tau})")
        if not (alpha >= 1 and math.isfinite(alpha)):
            raise InputError(f"'alpha' needs to be at least 1 in 'PMTRec' (got {alpha})")
        for name, value in (("scale", scale), ("dense", dense)):
            if value not in ("mean", "sum"):
                raise InputError(
                    f"{name!r} needs to be 'mean' or 'sum' in 'PMTRec' (got {value!r})"
                )
        self.alpha, self.tau = alpha, tau
        self.mask_inactive, self.scale = mask_inactive, scale
        self.relative, self.dense = relative, dense

    def weights(self, norms: Tensor, *, epoch: int) -> Tensor:
        r"""Returns every task's weight in every row.

        Args:
            norms: Norms of the tasks' gradients :math:`[T, R]`.
            epoch: The epoch :math:`s \geq 0`.

        Returns:
            Weights :math:`[T, R]` that sum to one over the tasks; all zero in a row that no task
            touches if ``mask_inactive``.
        """
        # float64: n · alpha^s / tau leaves float32's range after a few hundred epochs.
        logits = norms.double() / self.tau  # [T, R]
        logits[0] *= math.exp(min(epoch * math.log(self.alpha), _MAX_LOG_FOCUS))
        logits.clamp_(max=1e300)
        if not self.mask_inactive:
            return logits.softmax(dim=0).to(norms.dtype)
        live = norms > 0
        exp = (logits - logits.amax(dim=0)).exp() * live
        return (exp / exp.sum(dim=0).clamp_(min=1e-300)).to(norms.dtype)

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines each row with its own weights; see the class for the equation."""
        norms = {name: gradients.norms(name) for name in gradients.rows}
        if self.relative:
            # One unit for all tables: user and item rows are rows of one stacked table.
            unit = _live_mean(list(norms.values()))
            norms = {name: norm / unit for name, norm in norms.items()}
        rows = {
            name: self._combine(gradients.rows[name].grads, self.weights(norm, epoch=epoch))
            for name, norm in norms.items()
        }
        dense = {}
        for name, grads in gradients.dense.items():
            mean = self.dense == "mean" and self.scale == "mean"
            dense[name] = grads.mean(dim=0) if mean else grads.sum(dim=0)
        return Update(rows, dense, gradients.own)

    def _combine(self, grads: Tensor, weights: Tensor) -> Tensor:
        if self.scale == "sum":
            weights = weights * weights.size(0)
        return combine(grads, weights)

    def extra_repr(self) -> str:
        r"""Returns the settings that decide the weights."""
        return f"alpha={self.alpha}, tau={self.tau}"


def _live_mean(norms: list[Tensor]) -> Tensor:
    total = sum(norm.sum() for norm in norms)
    live = sum((norm > 0).sum() for norm in norms)
    assert isinstance(total, Tensor) and isinstance(live, Tensor)
    return total / live.clamp(min=1) + (live == 0)
