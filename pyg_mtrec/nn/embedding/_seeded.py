"""What every module is whose first weights and dropout masks come from one explicit generator."""

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.embedding._init import xavier_uniform_


class Seeded(torch.nn.Module):
    r"""Owns a generator on the CPU, whose state is part of :meth:`state_dict`.

    Args:
        generator: Source of everything random (default: seeded with 0).

    Raises:
        InputError: If ``generator`` does not live on the CPU.
    """

    dropout: float = 0.0
    r"""Share of hidden units that is dropped in training."""

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        if self.generator.device.type != "cpu":
            raise InputError(
                f"'generator' needs to live on the CPU in '{type(self).__name__}'"
                f" (got {self.generator.device})"
            )

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        r"""Draws all weights anew; biases are zero.

        Args:
            generator: Source of randomness (default: the module's own).
        """
        generator = self.generator if generator is None else generator
        for name, value in [*self.named_parameters(), *self.named_buffers()]:
            if "bias" in name:
                value.zero_()
            elif value.is_floating_point():
                for matrix in value.view(-1, *value.shape[-2:]):
                    xavier_uniform_(matrix, generator)

    def _is_random(self) -> bool:
        return self.dropout > 0

    def _seed(self) -> int | None:
        r"""Returns the seed of one forward pass, :obj:`None` where nothing in it is random."""
        if not self.training or not self._is_random():
            return None
        # Drawn on the host, so that one saved state serves every device and nothing is awaited.
        return int(torch.randint(2**62, (), generator=self.generator))

    def get_extra_state(self) -> Tensor:
        r"""Returns the state of the generator, which :meth:`state_dict` holds."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        r"""Restores the state of the generator.

        Args:
            state: What :meth:`get_extra_state` returned.
        """
        self.generator.set_state(state.cpu())
