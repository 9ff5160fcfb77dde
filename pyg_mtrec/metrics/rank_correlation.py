from torch import Tensor

from pyg_mtrec.metrics import _prediction_metrics
from pyg_mtrec.metrics._labelled import labelled, warn
from pyg_mtrec.metrics._midranks import constant


def spearman(pred: Tensor, label: Tensor) -> float:
    r"""Spearman's rank correlation of predictions and labels.

    The correlation of their midranks :math:`r` and :math:`q`, where equal values share the mean of
    their ranks:

    .. math::
        \rho = \frac{\sum_i (r_i - \bar r)(q_i - \bar q)}
                    {\sqrt{\sum_i (r_i - \bar r)^2 \sum_i (q_i - \bar q)^2}}

    (The counterpart in :obj:`torchmetrics` adds :math:`10^{-6}` to the denominator and sums tied
    ranks in 32 bits, which 65,536 equal values overflow.)

    Args:
        pred: Predictions of shape :math:`[n]`.
        label: Labels of shape :math:`[n]`; rows with NaN are left out.

    Returns:
        The correlation; 0, with a warning, of a constant prediction, which orders nothing, and
        NaN, with a warning, if all labels are equal, so that there is nothing to order.

    Raises:
        InputError: If lengths differ, no row is labelled, or a label or prediction is not finite.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import spearman
        >>> spearman(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 5.0, 500.0]))
        1.0
    """
    pred, label = labelled(pred, label, "spearman")
    value = _prediction_metrics.spearman(pred, label)
    if value != value:
        warn(f"Spearman's correlation is NaN: all {label.numel()} labels are {label[0]:g}")
    elif constant(pred):
        warn(f"Spearman's correlation is set to 0: all {pred.numel()} predictions are {pred[0]:g}")
    return value
