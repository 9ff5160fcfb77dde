"""What Adam's steps without a gradient come to, summed up."""

import math

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

_ORDERS = 5  # moments up to the fourth
_NEGLIGIBLE = 1e-13  # of a row's first skipped step
_ACCURATE = 2e-7  # of the sum, close to float32's rounding
_SOONEST = 50


class SkippedSteps:
    r"""Sums over the steps in which a row had no gradient, for every step it may have had one last.

    After step :math:`t` with first and second moment :math:`m` and :math:`v`, Adam's step
    :math:`\tau = t + j` without gradient moves an element by

    .. math::
        \frac{\eta_\tau}{1 - \beta_1^\tau} \cdot \frac{\beta_1^j m}{
        \sqrt{v \beta_2^j / (1 - \beta_2^\tau)} + \epsilon}
        = \frac{m}{s} \cdot \frac{\omega_j}{1 + q u_j}, \qquad s = \sqrt v, \quad
        q = \frac{\epsilon}{s}, \quad u_j = \sqrt{\frac{1 - \beta_2^\tau}{\beta_2^j}}

    where :math:`\omega_j = \eta_\tau \beta_1^j u_j / (1 - \beta_1^\tau)`. With the weighted mean
    :math:`\bar u`, :math:`y = q \bar u / (1 + q \bar u) < 1` and :math:`\delta_j = u_j / \bar u
    - 1`, the sum over :math:`j` is

    .. math::
        \frac{m}{s + \epsilon \bar u} \sum_j \omega_j
        \left( 1 + y^2 M_2 - y^3 M_3 + y^4 M_4 - \ldots \right)

    with the moments :math:`M_n` of :math:`\delta`. They do not depend on the element, so they are
    kept per :math:`t`. Weight decay shrinks what a step moved in every later step; sums are kept
    before that.

    Args:
        betas: :math:`\beta_1, \beta_2`.
        eps: :math:`\epsilon`.
        device: Where the sums live.
    """

    def __init__(self, betas: tuple[float, float], eps: float, device: torch.device) -> None:
        self.betas, self.eps = betas, eps
        ratio = betas[0] / math.sqrt(betas[1])
        if not 0 < ratio < 1:
            raise InputError(
                "the second of 'betas' needs to be above the first one's square in 'RowAdam'"
                f" (got {betas})"
            )
        self.reach = math.ceil(math.log(_NEGLIGIBLE) / math.log(ratio))
        j = torch.arange(self.reach, 0, -1, dtype=torch.double).unsqueeze(1)  # longest ago first
        order = torch.arange(1, _ORDERS + 1, dtype=torch.double)
        self.base = (betas[0] ** j * betas[1] ** (-j * order / 2)).to(device)  # [reach, orders]
        self.step = 0
        self.decay = 1.0
        # A row a step: the sums, and what weight decay left of a weight of 1 by then.
        self.sums = _empty(1024, device)

    def advance(self, lr: float, weight_decay: float) -> None:
        r"""Adds one more step.

        Args:
            lr: Its learning rate.
            weight_decay: Its decoupled weight decay.
        """
        self.step += 1
        if self.step == len(self.sums):
            self.sums = torch.cat([self.sums, _empty(len(self.sums), self.sums.device)])
        self.decay *= 1 - lr * weight_decay
        self.sums[self.step, _ORDERS] = self.decay
        number = min(self.reach, self.step)
        root = math.sqrt(1 - self.betas[1] ** self.step)
        factor = lr / (1 - self.betas[0] ** self.step) / self.decay
        recent, base = self.sums[self.step - number : self.step], self.base[self.reach - number :]
        for order in range(_ORDERS):
            factor *= root
            recent[:, order].add_(base[:, order], alpha=factor)

    def catch_up(self, x: Tensor, moments: Tensor, last: Tensor) -> Tensor:
        r"""Returns weights as they are now, of rows without a gradient since; moments in place.

        Args:
            x: Weights :math:`[R, d]`.
            moments: First and second moments :math:`[R, 2, d]`, which become those of now.
            last: The step :math:`[R]` that both are of.
        """
        total, r1, r2, r3, r4, left = self.sums.index_select(0, last).t().contiguous()  # [R]
        some = total > 0
        total_or_1 = torch.where(some, total, 1.0)
        r1, r2, r3, r4 = (one / total_or_1 for one in (r1, r2, r3, r4))
        mean = torch.where(some, r1, 1.0)
        # Central moments of u over powers of its mean
        m2 = r2 / mean**2 - 1
        m3 = r3 / mean**3 - 3 * r2 / mean**2 + 2
        m4 = r4 / mean**4 - 4 * r3 / mean**3 + 6 * r2 / mean**2 - 3
        kept = self.decay / left
        skipped = (self.step - last).double()
        columns = torch.stack(
            [
                kept,
                torch.where(some, total * self.decay, 0.0),
                self.eps * mean,
                *(torch.where(some, moment, 0.0) for moment in (m2, m3, m4)),
            ]
        )
        kept, total, eps, m2, m3, m4 = columns.to(x.dtype).unsqueeze(2)  # [R, 1]
        m, v = moments.unbind(1)
        below = v.sqrt().add_(eps)
        y = eps / below
        series = y.mul(m4).sub_(m3).mul_(y).add_(m2).mul_(y).mul_(y).add_(1)
        moved = (m * total).div_(below).mul_(series)
        fading = torch.stack([self.betas[0] ** skipped, self.betas[1] ** skipped], dim=1)
        moments.mul_(fading.to(x.dtype).unsqueeze(2))
        current: Tensor = (x * kept).sub_(moved)
        return current

    def state(self) -> dict[str, Tensor | int | float]:
        r"""Returns what the next step depends on."""
        sums = self.sums[: self.step + 1].clone()
        return {"step": self.step, "decay": self.decay, "sums": sums}

    def load(self, state: dict[str, Tensor | int | float]) -> None:
        r"""Puts a state back in place."""
        sums = state["sums"]
        assert isinstance(sums, Tensor)
        self.step, self.decay = int(state["step"]), float(state["decay"])
        self.sums = _empty(1 << max(10, self.step.bit_length()), self.sums.device)
        self.sums[: self.step + 1] = sums


def first_sparse_step(betas: tuple[float, float], eps: float) -> int:
    r"""Returns the first step from which on the sums are as exact as float32.

    Early on, :math:`u_j` varies too much from step to step for its first moments to do.

    Args:
        betas: :math:`\beta_1, \beta_2`.
        eps: :math:`\epsilon`.

    Raises:
        InputError: If that takes more than a hundred thousand steps.
    """
    step = _SOONEST
    while step <= 100_000:
        if _worst_error(betas, eps, step) < _ACCURATE:
            return step
        step += step // 2
    raise InputError(
        f"'betas' need to forget sooner for 'RowAdam' (got {betas}): use torch.optim.AdamW"
    )


def _worst_error(betas: tuple[float, float], eps: float, step: int) -> float:
    """Of the sum over a long time after a step, over all ratios of gradient to epsilon."""
    sums = SkippedSteps(betas, eps, torch.device("cpu"))
    sums.step, length = step, sums.reach
    sums.sums = _empty(step + length + 1, sums.sums.device)
    scale = torch.logspace(-3, 3, 13, dtype=torch.double).unsqueeze(1) * eps
    m, v, moved = scale.clone(), scale.square(), torch.zeros_like(scale)
    start = torch.stack([m, v], dim=1)
    for number in range(step + 1, step + length + 1):
        sums.advance(1.0, 0.0)
        m, v = m * betas[0], v * betas[1]
        root = (v / (1 - betas[1] ** number)).sqrt()
        moved += m / (1 - betas[0] ** number) / (root + eps)
    last = torch.full((len(scale),), step)
    found = -sums.catch_up(torch.zeros_like(scale), start, last)
    return float(((found - moved) / moved).abs().max())


def _empty(steps: int, device: torch.device) -> Tensor:
    found = torch.zeros(steps, _ORDERS + 1, dtype=torch.double, device=device)
    found[:, _ORDERS] = 1.0
    return found
