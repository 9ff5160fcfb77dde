"""The best possible scorer of a planted world."""

import math

import torch
from torch import Tensor

from pyg_mtrec.datasets._planted_model import NUM_TRAITS, PAIRS, PlantedModel


class PlantedOracle:
    r"""Scores items by the true weights that the interactions of `Planted` were drawn with.

    Differences of two items' scores are the log-odds of drawing one rather than the other.

    Args:
        model: The latents.
        user_ids: Raw id of every user [U'].
        item_ids: Raw id of every item [I'].
    """

    def __init__(self, model: PlantedModel, user_ids: Tensor, item_ids: Tensor) -> None:
        pairs = torch.from_numpy(PAIRS)[torch.from_numpy(model.codes)[item_ids]]
        self.num_items = item_ids.numel()
        self._tastes = torch.from_numpy(model.tastes())[user_ids].float()  # [U', 16]
        self._traits = torch.zeros(NUM_TRAITS, self.num_items).scatter_(0, pairs.t(), 1.0)
        self._log_popularity = torch.from_numpy(model.popularity)[item_ids].double().log().float()

    def to(self, device: torch.device | str) -> "PlantedOracle":
        r"""Moves the latents to ``device`` and returns the oracle itself."""
        self._tastes = self._tastes.to(device)
        self._traits = self._traits.to(device)
        self._log_popularity = self._log_popularity.to(device)
        return self

    def score(self, user_ids: Tensor) -> Tensor:
        r"""Returns the log-weights [b, num_items] of all items for the users [b]."""
        power = self._tastes[user_ids.to(self._tastes.device)] @ self._traits  # small integers
        return power.mul_(math.log(2.0)).add_(self._log_popularity)
