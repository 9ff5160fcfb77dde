import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyg_mtrec._errors import InputError


class LowerBounds(nn.Module):
    r"""Shifts losses to where they cannot be negative, for rules that divide by them.

    Args:
        bounds: What no loss of a task falls below; :obj:`None` leaves losses as they are.
        rule: The rule's name, for messages.
    """

    def __init__(self, bounds: Sequence[float] | None, rule: str) -> None:
        super().__init__()
        if bounds is not None and not all(math.isfinite(bound) for bound in bounds):
            raise InputError(f"'lower_bounds' need to be finite in '{rule}' (got {list(bounds)})")
        self.rule = rule
        # Not of the state: they come with the tasks, not from earlier steps.
        self.register_buffer(
            "bounds",
            None if bounds is None else torch.tensor(bounds, dtype=torch.float64),
            persistent=False,
        )
        self.bounds: Tensor | None

    def forward(self, losses: Tensor) -> Tensor:
        r"""Returns the losses above their bounds :math:`[T]`, in float64.

        Args:
            losses: The tasks' losses :math:`[T]`.
        """
        if self.bounds is None:
            return losses.double()
        if self.bounds.numel() != losses.numel():
            raise InputError(
                f"'lower_bounds' of '{self.rule}' need one number a task"
                f" (got {self.bounds.numel()} for {losses.numel()} tasks)"
            )
        return losses.double() - self.bounds
