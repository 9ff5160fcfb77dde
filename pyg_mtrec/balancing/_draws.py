from typing import Any

import torch
from torch import nn


class Draws(nn.Module):
    r"""The random numbers of a rule: their generator, and its state for the checkpoint.

    Args:
        seed: Where the generator starts.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self._generator: torch.Generator | None = None
        self._state: torch.Tensor | None = None

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        r"""Returns the generator, made on its first use where the gradients are.

        Args:
            device: The device to draw on.
        """
        device = torch.device(device)
        if self._generator is None or self._generator.device.type != device.type:
            self._generator = torch.Generator(device=device).manual_seed(self.seed)
            if self._state is not None:
                self._generator.set_state(self._state)
                self._state = None
        return self._generator

    def reset(self) -> None:
        r"""Starts anew from the seed."""
        self._generator = self._state = None

    def get_extra_state(self) -> dict[str, Any]:
        r"""Returns the generator's state."""
        state = self._state if self._generator is None else self._generator.get_state()
        return {} if state is None else {"state": state}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        r"""Continues where the saved generator was; it has to go on on the same kind of device."""
        self._generator, self._state = None, state.get("state")
