from torch import Tensor

from pyg_mtrec.metrics import _prediction_metrics
from pyg_mtrec.metrics._labelled import labelled


def calibration_error(pred: Tensor, label: Tensor, num_bins: int = 15) -> float:
    r"""The `expected calibration error <https://arxiv.org/abs/1706.04599>`_ over equal-count bins.

    Rows are sorted by prediction into :math:`B` bins :math:`I_b` of equal count, and each bin's
    mean prediction is held against its mean label, for a binary target the observed rate:

    .. math::
        \sum_{b=1}^B \frac{|I_b|}{n} \left| \frac{1}{|I_b|} \sum_{i \in I_b} \hat y_i
            - \frac{1}{|I_b|} \sum_{i \in I_b} y_i \right|

    Equal predictions stay in one bin, so that the order of rows does not matter; a constant
    prediction is off by the distance of the means. A bin's mean label is a sample's: with few rows
    a bin even perfect predictions are off by about their standard error.

    Args:
        pred: Predictions of shape :math:`[n]`: probabilities of a binary target, the target's own
            unit of a continuous one.
        label: Labels of shape :math:`[n]`; rows with NaN are left out.
        num_bins: Number of bins :math:`B`.

    Returns:
        The error, in the unit of the labels.

    Raises:
        InputError: If lengths differ, no row is labelled, a label or prediction is not finite, or
            ``num_bins`` is not positive.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import calibration_error
        >>> pred = torch.tensor([0.25, 0.25, 0.75, 0.75])
        >>> calibration_error(pred, torch.tensor([0.0, 1.0, 1.0, 1.0]), num_bins=2)
        0.25
    """
    pred, label = labelled(pred, label, "calibration_error")
    return _prediction_metrics.calibration_error(pred, label, num_bins)
