from typing import Literal

from torch import Tensor

from pyg_mtrec.metrics._labelled import labelled, warn
from pyg_mtrec.metrics._prediction_metrics import normalized
from pyg_mtrec.metrics.mean_absolute_error import mae


def nmae(
    pred: Tensor, label: Tensor, normalizer: Literal["mean", "std", "range"] = "mean"
) -> float:
    r"""The mean absolute error over a statistic of the labels evaluated.

    .. math::
        \text{NMAE} = \frac{1}{s} \cdot \frac{1}{n} \sum_i |\hat y_i - y_i| , \qquad
        s \in \left\{ |\bar y|,\ \sqrt{\tfrac{1}{n} \textstyle\sum_i (y_i - \bar y)^2},\
            \max_i y_i - \min_i y_i \right\}

    Papers mean different things by the name: a value without its normaliser compares with nothing,
    and one above the NRMSE of the same predictions was divided by something else.

    Args:
        pred: Predictions of shape :math:`[n]`.
        label: Labels of shape :math:`[n]`; rows with NaN are left out.
        normalizer: What the error is divided by: ``"mean"`` (its absolute value), ``"std"`` (of
            the population, divided by :math:`n`) or ``"range"``.

    Returns:
        The error without a unit; NaN, with a warning, if the normaliser is zero, as ``"std"`` and
        ``"range"`` are where all labels are equal.

    Raises:
        InputError: If lengths differ, no row is labelled, a label or prediction is not finite, or
            ``normalizer`` is unknown.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import nmae
        >>> nmae(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 7.0]))
        0.625
    """
    pred, label = labelled(pred, label, "nmae")
    value = normalized(mae(pred, label), label, normalizer)
    if value != value:
        warn(f"the NMAE is NaN: the {normalizer} of the {label.numel()} labels is zero")
    return value
