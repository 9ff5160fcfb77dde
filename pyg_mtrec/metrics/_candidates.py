import torch
from torch import Tensor

from pyg_mtrec.metrics.scorer import Scorer


class Candidates:
    """Ranks some items only: all others score minus infinity."""

    def __init__(self, scorer: Scorer, items: Tensor) -> None:
        self.scorer, self.num_items, self.items = scorer, scorer.num_items, items

    def score(self, user_ids: Tensor) -> Tensor:
        """Scores all items for some users."""
        scores = self.scorer.score(user_ids)  # [b, num_items]
        items = self.items.to(scores.device)
        out = torch.full_like(scores, -float("inf"))
        out[:, items] = scores[:, items]
        return out
