from torch import Tensor

from pyg_mtrec.metrics._labelled import labelled


def mae(pred: Tensor, label: Tensor) -> float:
    r"""The mean absolute error, in the unit of the labels.

    .. math::
        \frac{1}{n} \sum_i |\hat y_i - y_i|

    Args:
        pred: Predictions of shape :math:`[n]`.
        label: Labels of shape :math:`[n]`; rows with NaN are left out.

    Returns:
        The error.

    Raises:
        InputError: If lengths differ, no row is labelled, or a label or prediction is not finite.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import mae
        >>> mae(torch.tensor([1.0, 2.0, 7.0]), torch.tensor([1.0, 4.0, float("nan")]))
        1.0
    """
    from torchmetrics.functional.regression import mean_absolute_error  # a second of import

    return float(mean_absolute_error(*labelled(pred, label, "mae")))
