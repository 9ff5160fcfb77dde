from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyg_mtrec.metrics._aligned_seeds import aligned_seeds
from pyg_mtrec.metrics.hierarchical_bootstrap import hierarchical_bootstrap_interval
from pyg_mtrec.metrics.sign_flip import Alternative, sign_flip_test
from pyg_mtrec.metrics.wins_ties_losses import win_tie_loss

_ROUNDING = 1e-6  # of a user's values: what float32 metrics leave of equal means


@dataclass(frozen=True)
class PairedComparison:
    r"""How a method compares with another on the same users under the same seeds.

    With :math:`a_{su}` and :math:`b_{su}` the metric of user :math:`u` under seed :math:`s` and
    :math:`S_u` the seeds under which the user was evaluated, what is compared is every user's mean
    over seeds,

    .. math::
        d_u = \frac{1}{|S_u|} \sum_{s \in S_u} (a_{su} - b_{su}) ,

    by the :func:`~pyg_mtrec.metrics.sign_flip_test`. A Wilcoxon test would not do: over five seeds
    it cannot reach 0.05, and over users it drops the ties. The interval resamples seeds as well,
    by the :func:`~pyg_mtrec.metrics.hierarchical_bootstrap_interval`. For several rivals, correct
    the p-values with :func:`~pyg_mtrec.metrics.holm`.

    Args:
        mean_difference: Mean of :math:`d_u` over users; above zero if ours is higher.
        relative_difference: The same as a share of the mean of theirs; ``None`` where that is zero.
        p_value: Of the sign-flip test of :math:`d_u`.
        interval: Of the mean over seeds of the seeds' mean differences. That is
            ``mean_difference`` if every user was evaluated under every seed, and weighs users by
            the seeds they were in otherwise.
        wins: Number of users with :math:`d_u > 0`.
        ties: Number of users with :math:`d_u = 0`, up to rounding in float32.
        losses: Number of users with :math:`d_u < 0`.
        num_users: Number of users evaluated under any seed.
        num_seeds: Number of seeds.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import PairedComparison
        >>> ours = [(torch.tensor([7, 3]), torch.tensor([0.5, 0.25]))]
        >>> theirs = [(torch.tensor([3, 7]), torch.tensor([0.25, 0.25]))]
        >>> PairedComparison.from_seeds(ours, theirs, torch.Generator().manual_seed(0))
        PairedComparison(mean_difference=0.125, relative_difference=0.5, p_value=1.0,
                         interval=(0.0, 0.25), wins=1, ties=1, losses=0, num_users=2, num_seeds=1)
    """

    mean_difference: float
    relative_difference: float | None
    p_value: float
    interval: tuple[float, float]
    wins: int
    ties: int
    losses: int
    num_users: int
    num_seeds: int

    @classmethod
    def from_seeds(
        cls,
        ours: Sequence[tuple[Tensor, Tensor]],
        theirs: Sequence[tuple[Tensor, Tensor]],
        generator: torch.Generator,
        num_draws: int = 10_000,
        alternative: Alternative = "two-sided",
        num_resamples: int = 1000,
        level: float = 0.95,
    ) -> "PairedComparison":
        r"""Compares two methods by their users' values under each seed.

        Args:
            ours: For every seed, the raw ids of the evaluated users and their values, both of
                shape :math:`[n]`.
            theirs: The same of the other method: the same seeds, and under each the same users in
                any order.
            generator: Draws signs and resamples (on the CPU).
            num_draws: Number of sign vectors of the test.
            alternative: ``"two-sided"``, ``"greater"`` (ours is higher) or ``"less"``.
            num_resamples: Number of resamples of the interval.
            level: Confidence level of the interval.

        Returns:
            The comparison.

        Raises:
            InputError: If there is no seed or user, the numbers of seeds differ, the users under a
                seed differ or repeat, or a value is not finite.
        """
        a, b = aligned_seeds(ours, theirs)  # [S, U] each, NaN where not evaluated
        size = torch.maximum(a.abs(), b.abs()).nan_to_num().amax(dim=0)
        theirs_mean = b.nanmean(dim=0)
        differences = a.nanmean(dim=0) - theirs_mean
        differences[differences.abs() <= _ROUNDING * size] = 0.0
        mean, base = float(differences.mean()), float(theirs_mean.mean())
        wins, ties, losses = win_tie_loss(differences)
        return cls(
            mean_difference=mean,
            relative_difference=mean / base if base != 0.0 else None,
            p_value=sign_flip_test(differences, generator, num_draws, alternative),
            interval=hierarchical_bootstrap_interval(a - b, generator, num_resamples, level),
            wins=wins,
            ties=ties,
            losses=losses,
            num_users=differences.numel(),
            num_seeds=a.size(0),
        )
