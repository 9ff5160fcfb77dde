from typing import Any

import torch
from torch import Tensor


class EdgeStream:
    r"""Positions of a relation's edges in turn, reshuffled after each pass.

    Args:
        num_edges: Number of edges.
        size: Positions per step, at most ``num_edges``.
        generator: Draws the order.
        shuffle: Whether there is anything to draw.
    """

    def __init__(
        self, num_edges: int, size: int, generator: torch.Generator, shuffle: bool
    ) -> None:
        self.num_edges, self.size = num_edges, size
        self.generator, self.shuffle = generator, shuffle
        self._drawn_from: Tensor | None = None
        self._order: Tensor | None = None
        self._position = 0

    def draw(self) -> Tensor:
        r"""Returns a fresh order :math:`[E]`."""
        device = self.generator.device
        if not self.shuffle:
            return torch.arange(self.num_edges, device=device)
        return torch.randperm(self.num_edges, generator=self.generator, device=device)

    def advance(self) -> Tensor:
        r"""Returns the next positions; a pass that ends inside runs on into the next one."""
        if self._order is None:
            self._renew()
        assert self._order is not None
        index = self._order[self._position : self._position + self.size]
        self._position += self.size
        if self._position > self.num_edges:
            self._position -= self.num_edges
            self._renew()
            index = torch.cat([index, self._order[: self._position]])
        return index

    def state_dict(self) -> dict[str, Any]:
        r"""Returns the position and what the order was drawn from."""
        return {"position": self._position, "drawn_from": self._drawn_from}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        r"""Takes up another stream's place; leaves the generator as it was."""
        self._position, self._drawn_from = state["position"], state["drawn_from"]
        self._order = None
        if self._drawn_from is not None:
            now = self.generator.get_state()
            self.generator.set_state(self._drawn_from)
            self._order = self.draw()
            self.generator.set_state(now)

    def _renew(self) -> None:
        self._drawn_from = self.generator.get_state()
        self._order = self.draw()
