from collections.abc import Mapping

import torch
from torch import Tensor

from pyg_mtrec.baselines._target_columns import target_columns


class Constant:
    r"""Predicts the same for every impression: each target's mean over the labelled ones.

    .. math::
        \hat y^t = \frac{1}{|L_t|} \sum_{i \in L_t} y^t_i ,
        \qquad L_t = \{ i : y^t_i \text{ is known} \}

    For a binary target that is its rate. No other constant has a smaller squared error or log loss
    on the same rows, so that what a model gains over it is what it has learned from its inputs.
    (The absolute error asks for the median, which is below the mean of a skewed target.)

    Args:
        label: Labels of the training impressions of shape :math:`[n, K]`, NaN where unlabelled.
        targets: Target to ``"binary"`` or ``"continuous"``, in the order of the columns.

    Raises:
        InputError: If columns and targets do not match, a target has no label, or a label is
            infinite or, of a binary target, neither 0 nor 1.

    Example:
        >>> import torch
        >>> from pyg_mtrec.baselines import Constant
        >>> label = torch.tensor([[1.0, 30.0], [0.0, 2.0], [0.0, float("nan")], [0.0, 1.0]])
        >>> constant = Constant(label, {"click": "binary", "watch_time": "continuous"})
        >>> constant
        Constant(click=0.25, watch_time=11)
        >>> constant.predict(2)["click"]
        tensor([0.2500, 0.2500], dtype=torch.float64)
    """

    def __init__(self, label: Tensor, targets: Mapping[str, str]) -> None:
        columns = target_columns(label, targets, type(self).__name__)
        self.targets = dict(targets)
        self.means = {name: float(column.nanmean()) for name, column in columns.items()}

    def predict(self, num_rows: int) -> dict[str, Tensor]:
        r"""Predicts every target of some impressions.

        Args:
            num_rows: How many impressions.

        Returns:
            Target to its mean, of shape :math:`[n]`, float64; a probability for a binary one.
        """
        return {
            name: torch.full((num_rows,), mean, dtype=torch.double)
            for name, mean in self.means.items()
        }

    def __repr__(self) -> str:
        means = ", ".join(f"{name}={mean:.4g}" for name, mean in self.means.items())
        return f"{self.__class__.__name__}({means})"
