from torch import Tensor

from pyg_mtrec.metrics._labelled import labelled


def rmse(pred: Tensor, label: Tensor) -> float:
    r"""The root of the mean squared error, in the unit of the labels.

    .. math::
        \sqrt{\frac{1}{n} \sum_i (\hat y_i - y_i)^2}

    Args:
        pred: Predictions of shape :math:`[n]`.
        label: Labels of shape :math:`[n]`; rows with NaN are left out.

    Returns:
        The error.

    Raises:
        InputError: If lengths differ, no row is labelled, or a label or prediction is not finite.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import rmse
        >>> rmse(torch.tensor([4.0, 2.0, 0.0, 1.0]), torch.tensor([0.0, 2.0, 0.0, 1.0]))
        2.0
    """
    from torchmetrics.functional.regression import mean_squared_error  # a second of import

    return float(mean_squared_error(*labelled(pred, label, "rmse"), squared=False))
