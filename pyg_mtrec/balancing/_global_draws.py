from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from pyg_mtrec.balancing._draws import Draws


class GlobalDraws(nn.Module):
    r"""Random numbers for code that draws from torch's global generators.

    Args:
        seed: Where the generators start, one of the host and one of the gradients' device.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.host, self.device = Draws(seed), Draws(seed)

    @contextmanager
    def lend(self, device: torch.device) -> Iterator[None]:
        r"""Puts our states into the global generators, and afterwards theirs back.

        Args:
            device: Where the gradients are.
        """
        with ExitStack() as stack:
            stack.enter_context(_lent(self.host, torch.default_generator))
            if device.type != "cpu":
                generators = torch.get_device_module(device).default_generators
                stack.enter_context(_lent(self.device, generators[device.index]))
            yield

    def reset(self) -> None:
        r"""Starts anew from the seed."""
        self.host.reset()
        self.device.reset()


@contextmanager
def _lent(draws: Draws, world: torch.Generator) -> Iterator[None]:
    own, before = draws.generator(world.device), world.get_state()
    world.set_state(own.get_state())
    try:
        yield
    finally:
        own.set_state(world.get_state())
        world.set_state(before)
