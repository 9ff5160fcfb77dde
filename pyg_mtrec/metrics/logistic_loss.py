from torch import Tensor

from pyg_mtrec.metrics._labelled import check_probabilities, labelled
from pyg_mtrec.metrics._prediction_metrics import log_losses


def log_loss(pred: Tensor, label: Tensor) -> float:
    r"""The mean logistic loss of a binary target, in nats.

    .. math::
        -\frac{1}{n} \sum_i \left( y_i \log p_i + (1 - y_i) \log(1 - p_i) \right)

    Probabilities are first moved into :math:`[10^{-7}, 1 - 10^{-7}]`, about where a float32 sigmoid
    becomes one, so that a certain prediction that is wrong costs 16.1 and not infinity.

    Args:
        pred: Probabilities of shape :math:`[n]`.
        label: Labels 0 and 1 of shape :math:`[n]`; rows with NaN are left out.

    Returns:
        The loss.

    Raises:
        InputError: If lengths differ, no row is labelled, a label is neither 0 nor 1, or a
            prediction is no probability.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import log_loss
        >>> round(log_loss(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])), 6)  # ln 2
        0.693147
    """
    pred, label = labelled(pred, label, "log_loss", binary=True)
    check_probabilities(pred, "'log_loss'")
    return float(log_losses(pred, label).mean())
