from typing import Literal, get_args

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

Alternative = Literal["two-sided", "greater", "less"]

_MAX_DRAWN = 2**17  # drawn bytes held at once; each is the signs of eight users
_BLOCK = 4096  # users whose table of sums (1 MB) stays in the cache
_TIE = 1e-6  # of the null's standard deviation: what float32 metrics leave of equal sums


def sign_flip_test(
    differences: Tensor,
    generator: torch.Generator,
    num_draws: int = 10_000,
    alternative: Alternative = "two-sided",
) -> float:
    r"""The sign-flip permutation test of a mean of paired differences, one per user.

    If two methods are equally good, a user's difference :math:`d_u` could as well have had the
    other sign. With :math:`T(s) = \sum_u s_u d_u`, the p-value is the share of sign vectors
    :math:`s \in \{-1, 1\}^n` whose sum is at least as extreme as the observed one,

    .. math::
        p = \frac{1 + \left| \{ b : |T(s^{(b)})| \geq |T(1)| \} \right|}{1 + B} ,

    for :math:`B` random sign vectors; the observed one counts as one of them, so that
    :math:`p` is never zero and a true null hypothesis is not rejected too often. If there are at
    most :math:`B` sign vectors, all are enumerated and the p-value is exact. Users without a
    difference add nothing to any sum and are left out of the computation, though not of the mean.
    Sums within :math:`10^{-6}` standard deviations of the observed one count as equal to it.

    It is used in place of a Wilcoxon signed-rank test for two reasons. Over five seeds, Wilcoxon's
    smallest two-sided p-value is :math:`2 / 2^5 = 0.0625`: it cannot reach 0.05 (nor could any
    flipping of five signs, so users are what is flipped here). Over users, it drops the ties, which
    most users are, and compares ranks of the rest: an answer about another quantity than the mean
    in the table. `Smucker et al. <https://doi.org/10.1145/1321440.1321528>`_ advise against it for
    means, and `Ihemelandu and Ekstrand <https://arxiv.org/abs/2305.02461>`_ find that it rejects
    too often at the numbers of users of a recommender.

    Args:
        differences: One value per user, ours minus theirs, of shape :math:`[n]`.
        generator: Draws the signs (on the CPU).
        num_draws: Number of sign vectors :math:`B`.
        alternative: ``"two-sided"``, or ``"greater"`` or ``"less"`` for a mean above or below
            zero.

    Returns:
        The p-value in :math:`(0, 1]`.

    Raises:
        InputError: If there is no difference, one of them is not finite, ``num_draws`` is not
            positive or ``alternative`` is unknown.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import sign_flip_test
        >>> generator = torch.Generator().manual_seed(0)
        >>> sign_flip_test(torch.tensor([0.1, 0.2, 0.0, 0.3, 0.1]), generator)
        0.125
        >>> sign_flip_test(torch.tensor([0.1, 0.2, 0.0, 0.3, 0.1]), generator, alternative="less")
        1.0
    """
    values = differences.detach().cpu().double()
    if values.dim() != 1 or values.numel() == 0 or not bool(values.isfinite().all()):
        raise InputError(
            "'differences' needs to hold one finite number per user in 'sign_flip_test' "
            f"(got shape {list(values.shape)} with {int((~values.isfinite()).sum())} NaN or "
            "infinite); leave out users that were not evaluated"
        )
    if num_draws < 1:
        raise InputError(f"'num_draws' needs to be positive in 'sign_flip_test' (got {num_draws})")
    if alternative not in get_args(Alternative):
        known = ", ".join(f"'{name}'" for name in get_args(Alternative))
        raise InputError(
            f"'alternative' needs to be one of {known} in 'sign_flip_test' (got {alternative!r})"
        )
    values = values[values != 0]
    if values.numel() == 0:
        return 1.0
    values = values / values.abs().max()
    exact = 2 ** values.numel() <= num_draws
    sums = _every_sum(values) if exact else _random_sums(values, num_draws, generator)
    observed, tie = values.sum(), _TIE * values.norm()
    if alternative == "greater":
        hits = int((sums >= observed - tie).sum())
    elif alternative == "less":
        hits = int((sums <= observed + tie).sum())
    else:
        hits = int((sums.abs() >= observed.abs() - tie).sum())
    return hits / sums.numel() if exact else (1 + hits) / (1 + num_draws)


def _every_sum(values: Tensor) -> Tensor:
    r"""Returns the sums, of shape ``[2**n]``, under all signs."""
    sums = values.new_zeros(1)
    for value in values:
        sums = torch.cat([sums + value, sums - value])
    return sums


def _random_sums(values: Tensor, num_draws: int, generator: torch.Generator) -> Tensor:
    r"""Returns the sums, of shape ``[num_draws]``, under random signs.

    A random byte is the signs of eight users, whose 256 possible sums are made once and looked up.
    """
    bits = torch.arange(256).view(-1, 1) >> torch.arange(8) & 1
    signs = (2 * bits - 1).to(values.dtype)  # [256, 8]
    sums = values.new_zeros(num_draws)
    for block in values.split(_BLOCK):
        eights = torch.nn.functional.pad(block, (0, -block.numel() % 8)).view(-1, 8)
        table = (eights @ signs.t()).view(-1)  # [groups * 256]
        first = 256 * torch.arange(eights.size(0))
        for part in sums.split(max(1, _MAX_DRAWN // eights.size(0))):
            drawn = torch.randint(256, (part.numel(), eights.size(0)), generator=generator)
            part += table[drawn.add_(first)].sum(dim=1)
    return sums
