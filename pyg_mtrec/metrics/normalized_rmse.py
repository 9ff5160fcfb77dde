from typing import Literal

from torch import Tensor

from pyg_mtrec.metrics._labelled import labelled, warn
from pyg_mtrec.metrics._prediction_metrics import normalized
from pyg_mtrec.metrics.root_mean_squared_error import rmse


def nrmse(
    pred: Tensor, label: Tensor, normalizer: Literal["std", "mean", "range"] = "std"
) -> float:
    r"""The root of the mean squared error over a statistic of the labels evaluated.

    .. math::
        \text{NRMSE} = \frac{1}{s} \sqrt{\frac{1}{n} \sum_i (\hat y_i - y_i)^2} , \qquad
        s \in \left\{ \sqrt{\tfrac{1}{n} \textstyle\sum_i (y_i - \bar y)^2},\ |\bar y|,\
            \max_i y_i - \min_i y_i \right\}

    Papers mean different things by the name: a value without its normaliser compares with nothing.
    Under ``"std"`` predicting the labels' own mean costs exactly one, so that
    :math:`\text{NRMSE}^2 = 1 - R^2`; a mean taken from other rows costs more.

    Args:
        pred: Predictions of shape :math:`[n]`.
        label: Labels of shape :math:`[n]`; rows with NaN are left out.
        normalizer: What the error is divided by: ``"std"`` (of the population, divided by
            :math:`n`), ``"mean"`` (its absolute value) or ``"range"``.

    Returns:
        The error without a unit; NaN, with a warning, if the normaliser is zero, as ``"std"`` and
        ``"range"`` are where all labels are equal.

    Raises:
        InputError: If lengths differ, no row is labelled, a label or prediction is not finite, or
            ``normalizer`` is unknown.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import nrmse
        >>> label = torch.tensor([1.0, 2.0, 3.0, 6.0])
        >>> nrmse(torch.full((4,), 3.0), label)
        1.0
    """
    pred, label = labelled(pred, label, "nrmse")
    value = normalized(rmse(pred, label), label, normalizer)
    if value != value:
        warn(f"the NRMSE is NaN: the {normalizer} of the {label.numel()} labels is zero")
    return value
