from torch import Tensor

from pyg_mtrec.metrics import _prediction_metrics
from pyg_mtrec.metrics._labelled import labelled, warn


def normalized_gini(pred: Tensor, label: Tensor) -> float:
    r"""How much of an amount the order of predictions collects early, against the best order.

    Rows are ordered by prediction, the highest first; the gain curve :math:`g_k` is the share of
    all :math:`y` that the first :math:`k` rows hold, and the Gini index is twice the area between
    this curve and the diagonal. Over that of the perfect order, with :math:`r` and :math:`q` the
    midranks (ascending) of predictions and labels,

    .. math::
        \text{Gini} = \frac{G(\hat y)}{G(y)}
        = \frac{\sum_i y_i (r_i - \bar r)}{\sum_i y_i (q_i - \bar q)} , \qquad
        G = \frac{2}{n} \sum_{k=1}^n g_k - 1 - \frac{1}{n} .

    That is the `Gini correlation <https://doi.org/10.1080/03610928708829359>`_: 1 for the perfect
    order, :math:`-1` for the reversed one, and unchanged where labels are shifted or scaled. Rows
    with equal predictions share the mean over all their orders, so the order of rows does not
    matter and a constant prediction gets 0. The
    `measure for customers' lifetime values <https://arxiv.org/abs/1912.07753>`_ leaves out the
    :math:`1/n` that the trapezoids of the area bring, which vanishes in the digits shown.

    Args:
        pred: Predictions of shape :math:`[n]`; only their order counts.
        label: Labels of shape :math:`[n]`, amounts usually; rows with NaN are left out.

    Returns:
        The index in :math:`[-1, 1]`; NaN, with a warning, if all labels are equal.

    Raises:
        InputError: If lengths differ, no row is labelled, or a label or prediction is not finite.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import normalized_gini
        >>> normalized_gini(torch.tensor([3.0, 2.0, 1.0]), torch.tensor([60.0, 0.0, 40.0]))
        0.3333333333333333
    """
    pred, label = labelled(pred, label, "normalized_gini")
    value = _prediction_metrics.gini(pred, label)
    if value != value:
        warn(f"the normalised Gini index is NaN: all {label.numel()} labels are {label[0]:g}")
    return value
