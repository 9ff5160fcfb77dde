import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._resampling import check, percentile_interval, resampled_means


def bootstrap_interval(
    values: Tensor, generator: torch.Generator, num_draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    r"""The percentile bootstrap interval of a mean over users.

    With :math:`\bar v^{(1)}, \ldots, \bar v^{(B)}` the means of :math:`B` resamples of the
    :math:`n` values with replacement, it is

    .. math::
        \left[ Q_{(1 - \ell)/2}(\bar v),\ Q_{(1 + \ell)/2}(\bar v) \right] .

    Pass the differences of two methods on the same users to compare them in pairs: the methods
    differ where the interval leaves out zero.

    Args:
        values: One value per user, of shape :math:`[n]`.
        generator: Draws the resamples (on the CPU).
        num_draws: Number of resamples :math:`B`.
        level: Confidence level :math:`\ell` in :math:`(0, 1)`.

    Returns:
        The lower and the upper end.

    Raises:
        InputError: If there is no value, a value is NaN, or ``num_draws`` or ``level`` is out of
            range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import bootstrap_interval
        >>> low, high = bootstrap_interval(torch.arange(100.0), torch.Generator().manual_seed(0))
        >>> 40 < low < 49.5 < high < 60
        True
    """
    values = values.detach().cpu().double().view(-1)
    if values.numel() == 0 or bool(values.isnan().any()):
        raise InputError(
            "'values' needs to hold at least one number and no NaN in 'bootstrap_interval' "
            f"(got {values.numel()} values, {int(values.isnan().sum())} NaN)"
        )
    check(num_draws, level, "bootstrap_interval")
    return percentile_interval(resampled_means(values, num_draws, generator), level)
