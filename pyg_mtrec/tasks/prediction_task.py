from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["binary", "continuous"]


class PredictionTask(nn.Module, ABC):
    r"""One target of impressions: what a head's output for it costs, and what it means.

    Where a :class:`Task` ranks, this predicts a label. Rows whose label is NaN are unlabelled: they
    are left out *before* the mean is formed, and a batch without a label costs zero.

    Args:
        target: The target's name, as in ``edge_label_names``.

    Example:
        >>> import torch
        >>> from pyg_mtrec.tasks import PredictionTask
        >>> class Absolute(PredictionTask):
        ...     kind = "continuous"
        ...     def row_losses(self, prediction, label):
        ...         return (prediction - label).abs()
        ...     def predict(self, prediction):
        ...         return prediction
        >>> task = Absolute("minutes")
        >>> task(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 5.0, float("nan")]))
        tensor(2.)
    """

    kind: Kind

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    @property
    def lower_bound(self) -> float:
        r"""A bound that no loss falls below."""
        return 0.0

    @abstractmethod
    def row_losses(self, prediction: Tensor, label: Tensor) -> Tensor:
        r"""Returns every row's loss.

        Args:
            prediction: The head's output :math:`[B]`.
            label: Labels :math:`[B]` in the target's own units, none of them NaN.

        Returns:
            Losses :math:`[B]`.
        """

    @abstractmethod
    def predict(self, prediction: Tensor) -> Tensor:
        r"""Returns what a head's output means: a probability, or a value in the target's own units.

        Args:
            prediction: The head's output :math:`[B]`.
        """

    def forward(self, prediction: Tensor, label: Tensor) -> Tensor:
        r"""Returns the mean loss of the labelled rows.

        Args:
            prediction: The head's output :math:`[B]`.
            label: Labels :math:`[B]` in the target's own units, NaN where there is none.

        Returns:
            A scalar.
        """
        known = ~label.isnan()
        losses = self.row_losses(prediction, label.nan_to_num(0.0))
        return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)

    def extra_repr(self) -> str:
        r"""Returns the target's name."""
        return repr(self.target)
