"""Labels that a model samples from its own prediction, soft enough to learn from."""

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.bottoms import _arguments

_SMALLEST = 2.0**-25  # a drawn 0 would be an infinite logit


class RelaxedLabel(torch.nn.Module):
    r"""Gumbel-softmax over two labels, with a temperature that falls from step to step.

    Args:
        gumbel: Whether there is noise in training.
        start: The first temperature.
        decay: Factor of the temperature.
        every: Steps between two decays.
        floor: The lowest temperature.
    """

    steps: Tensor

    def __init__(self, gumbel: bool, start: float, decay: float, every: int, floor: float) -> None:
        super().__init__()
        _arguments.positive(
            "HTLNet", temperature=start, temperature_every=every, temperature_floor=floor
        )
        if not 0 < decay <= 1:
            raise InputError(
                f"'temperature_decay' needs to lie in (0, 1] in 'HTLNet' (got {decay})"
            )
        self.gumbel = gumbel
        self.start, self.decay, self.every, self.floor = start, decay, every, floor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def temperature(self) -> Tensor:
        r"""The temperature, a scalar; it stays on the device."""
        falls = torch.div(self.steps, self.every, rounding_mode="floor")
        return (self.start * self.decay**falls).clamp(min=self.floor)

    def forward(self, logit: Tensor, draws: torch.Generator | None) -> Tensor:
        r"""Returns the probability of label 1 that stands for the label :math:`[B]`.

        Args:
            logit: Logits :math:`[B]`.
            draws: Source of the noise in training.
        """
        if not self.gumbel:
            return (logit / self.temperature).sigmoid()
        if not self.training or draws is None:
            return logit.sigmoid()
        # The difference of two Gumbel variables is logistic.
        uniform = torch.rand(logit.shape, generator=draws, device=logit.device)
        return ((logit + uniform.logit(_SMALLEST)) / self.temperature).sigmoid()
