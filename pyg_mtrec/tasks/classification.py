from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pyg_mtrec.tasks.prediction_task import Kind, PredictionTask


class Classification(PredictionTask):
    r"""A binary target, such as a click.

    .. math::
        \ell_b = -y_b \log \sigma(z_b) - (1 - y_b) \log (1 - \sigma(z_b))

    with the head's logit :math:`z_b`; the loss is the mean over the rows that have a label.

    Args:
        target: The target's name.

    Example:
        >>> import torch
        >>> from pyg_mtrec.tasks import Classification
        >>> task = Classification("click")
        >>> task(torch.tensor([0.0, 0.0]), torch.tensor([1.0, float("nan")]))
        tensor(0.6931)
        >>> task.predict(torch.tensor([0.0]))
        tensor([0.5000])
    """

    kind: Kind = "binary"

    def row_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        r"""Returns every row's cross entropy."""
        return binary_cross_entropy_with_logits(prediction, label, reduction="none")

    def predict(self, prediction: Tensor) -> Tensor:
        r"""Returns the probability of the label 1."""
        return prediction.sigmoid()
