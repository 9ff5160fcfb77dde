import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

_MAX_DRAWN = 2**22  # resampled values held at once


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
    if num_draws < 1 or not 0.0 < level < 1.0:
        raise InputError(
            "'num_draws' needs to be positive and 'level' between 0 and 1 in "
            f"'bootstrap_interval' (got {num_draws} and {level})"
        )
    size = values.numel()
    means = []
    for draws in torch.arange(num_draws).split(max(1, _MAX_DRAWN // size)):
        index = torch.randint(size, (draws.numel(), size), generator=generator)
        means.append(values[index].mean(dim=1))
    ends = torch.tensor([(1.0 - level) / 2.0, (1.0 + level) / 2.0], dtype=torch.double)
    low, high = torch.cat(means).quantile(ends).tolist()
    return low, high
