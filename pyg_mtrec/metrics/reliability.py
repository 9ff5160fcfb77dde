from torch import Tensor

from pyg_mtrec.metrics._labelled import labelled
from pyg_mtrec.metrics._prediction_metrics import bin_means


def reliability_curve(
    pred: Tensor, label: Tensor, num_bins: int = 15
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Mean predictions and mean labels over bins of equal count: what a reliability diagram shows.

    The bins are those of :func:`~pyg_mtrec.metrics.calibration_error`, which is the mean distance
    of the two, weighted by the counts. Bins that stay empty, since equal predictions are never torn
    apart, are left out.

    Args:
        pred: Predictions of shape :math:`[n]`: probabilities of a binary target, the target's own
            unit of a continuous one.
        label: Labels of shape :math:`[n]`; rows with NaN are left out.
        num_bins: Number of bins.

    Returns:
        Mean prediction, mean label (float64) and number of rows (int64) of each of at most
        ``num_bins`` bins, by ascending prediction.

    Raises:
        InputError: If lengths differ, no row is labelled, a label or prediction is not finite, or
            ``num_bins`` is not positive.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import reliability_curve
        >>> pred = torch.tensor([0.75, 0.25, 0.75, 0.25])
        >>> reliability_curve(pred, torch.tensor([1.0, 1.0, 1.0, 0.0]), num_bins=2)
        (tensor([0.2500, 0.7500], dtype=torch.float64),
         tensor([0.5000, 1.0000], dtype=torch.float64), tensor([2, 2]))
    """
    return bin_means(*labelled(pred, label, "reliability_curve"), num_bins)
