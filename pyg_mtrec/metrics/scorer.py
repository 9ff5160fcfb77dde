from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Scorer(Protocol):
    r"""Anything that ranks: it gives every item of the catalogue a score for some users.

    Trained models, closed forms and counts all reach
    :class:`~pyg_mtrec.metrics.RankingEvaluator` through this one method. Only the order of a
    user's scores matters; they need not be probabilities and may be :math:`\pm\infty`, but not
    NaN.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import Scorer
        >>> class ById:
        ...     num_items = 3
        ...     def score(self, user_ids):
        ...         return torch.arange(3.0).repeat(user_ids.numel(), 1)
        >>> isinstance(ById(), Scorer)
        True
    """

    @property
    def num_items(self) -> int:
        r"""The size of the catalogue."""

    def score(self, user_ids: Tensor) -> Tensor:
        r"""Scores all items for some users.

        Args:
            user_ids: Users of shape :math:`[b]`, on any device.

        Returns:
            Floating-point scores of shape :math:`[b, \text{num_items}]`, on any device.
        """
