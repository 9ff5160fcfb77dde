from torch import Tensor

from pyg_mtrec.metrics import _prediction_metrics
from pyg_mtrec.metrics._labelled import labelled, warn


def auc(pred: Tensor, label: Tensor) -> float:
    r"""The area under the ROC curve of a binary target, exact and with ties counted one half.

    With :math:`P` positive and :math:`N` negative rows and :math:`r_i` the midrank of prediction
    :math:`i` among all,

    .. math::
        \text{AUC} = \frac{1}{P N} \sum_{y_i = 1} \sum_{y_j = 0}
            \left( [s_i > s_j] + \tfrac{1}{2} [s_i = s_j] \right)
        = \frac{\sum_{y_i = 1} r_i - P (P + 1) / 2}{P N} .

    Only the order of predictions counts: probabilities and logits give the same. (The counterpart
    in :obj:`torchmetrics` sums in float32, and first sends what is not within :math:`[0, 1]`
    through a sigmoid, in which large logits become equal.)

    Args:
        pred: Predictions of shape :math:`[n]`, the higher the likelier.
        label: Labels 0 and 1 of shape :math:`[n]`; rows with NaN are left out.

    Returns:
        The area; NaN, with a warning, if one class is missing.

    Raises:
        InputError: If lengths differ, no row is labelled, a label is neither 0 nor 1, or a
            prediction is not finite.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import auc
        >>> auc(torch.tensor([0.9, 0.4, 0.4, 0.1]), torch.tensor([1.0, 1.0, 0.0, 0.0]))
        0.875
    """
    pred, label = labelled(pred, label, "auc", binary=True)
    value = _prediction_metrics.auc(pred, label)
    if value != value:
        warn(f"the AUC is NaN: all {label.numel()} labels are {label[0]:g}")
    return value
