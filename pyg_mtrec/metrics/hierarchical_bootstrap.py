import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._resampling import check, percentile_interval, resampled_means


def hierarchical_bootstrap_interval(
    values: Tensor, generator: torch.Generator, num_draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    r"""The percentile bootstrap interval of a mean over seeds and over users within a seed.

    Every resample draws :math:`S` of the :math:`S` seeds with replacement and, for each seed drawn,
    as many of its users with replacement as were evaluated under it. With :math:`s_1, \ldots, s_S`
    the seeds drawn and :math:`\bar v^*_{s}` the mean of a fresh resample of the users of seed
    :math:`s`, the ends are percentiles of

    .. math::
        \bar v^{(b)} = \frac{1}{S} \sum_{j=1}^{S} \bar v^*_{s_j} , \qquad b = 1, \ldots, B ,

    which varies with the seeds as well as with the users. A Wilcoxon test sees one of the two
    only: over five seeds it cannot reach 0.05, and over users it drops the ties (see
    :func:`~pyg_mtrec.metrics.sign_flip_test`).

    Pass the differences of two methods under the same seeds and users to compare them in pairs.

    Args:
        values: One value per seed and user, of shape :math:`[S, U]`; NaN where the user was not
            evaluated under the seed.
        generator: Draws the resamples (on the CPU).
        num_draws: Number of resamples :math:`B`.
        level: Confidence level in :math:`(0, 1)`.

    Returns:
        The lower and the upper end.

    Raises:
        InputError: If ``values`` is not a matrix with at least one row, a value is infinite, a
            seed has no user, or ``num_draws`` or ``level`` is out of range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import hierarchical_bootstrap_interval
        >>> generator = torch.Generator().manual_seed(0)
        >>> values = torch.tensor([[1.0, 1.0, float("nan")], [2.0, 2.0, 2.0]])
        >>> hierarchical_bootstrap_interval(values, generator)
        (1.0, 2.0)
    """
    values = values.detach().cpu().double()
    if values.dim() != 2 or values.size(0) == 0:
        raise InputError(
            "'values' needs to have a row per seed and a column per user in "
            f"'hierarchical_bootstrap_interval' (got shape {list(values.shape)})"
        )
    if bool(values.isinf().any()):
        raise InputError(
            "'values' needs to be finite, or NaN where a user was not evaluated, in "
            f"'hierarchical_bootstrap_interval' (got {int(values.isinf().sum())} infinite)"
        )
    empty = values.isnan().all(dim=1).nonzero().view(-1).tolist()
    if empty:
        raise InputError(
            "'values' needs at least one evaluated user per seed in "
            f"'hierarchical_bootstrap_interval' (got none in row {empty[0]}); leave that seed out"
        )
    check(num_draws, level, "hierarchical_bootstrap_interval")
    num_seeds = values.size(0)
    drawn = torch.randint(num_seeds, (num_draws, num_seeds), generator=generator)
    means = values.new_empty(num_draws, num_seeds)
    for seed, row in enumerate(values):
        chosen = drawn == seed
        means[chosen] = resampled_means(row[~row.isnan()], int(chosen.sum()), generator)
    return percentile_interval(means.mean(dim=1), level)
