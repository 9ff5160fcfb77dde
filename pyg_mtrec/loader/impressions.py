from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass
class Impressions:
    r"""Rows of a log, each a user who was shown an item, with what came of it.

    Columns of features belong to the user, the item or the moment, in this order;
    :class:`~pyg_mtrec.loader.ImpressionLoader` knows their names.

    Args:
        user: Users :math:`[B]`.
        item: Items :math:`[B]`.
        label: Labels :math:`[B, K]`, NaN where a row is unlabelled.
        categorical: Categories :math:`[B, F_c]`, negative where missing (default: no such column).
        numeric: Numbers :math:`[B, F_n]`, NaN where missing (default: no such column).
        index: Positions :math:`[B]` of the rows in ``edge_label_index``.
        time: Times :math:`[B]`, if they are known.
        sequences: Behaviour to the items :math:`[B, L]` of the user's events before, -1 where there
            is none, if they were asked for.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Impressions
        >>> batch = Impressions(
        ...     user=torch.tensor([0, 2]),
        ...     item=torch.tensor([5, 5]),
        ...     label=torch.tensor([[1.0, 12.5], [0.0, float("nan")]]),
        ... )
        >>> batch.size
        2
    """

    user: Tensor
    item: Tensor
    label: Tensor
    categorical: Tensor | None = None
    numeric: Tensor | None = None
    index: Tensor | None = None
    time: Tensor | None = None
    sequences: dict[str, Tensor] | None = None

    @property
    def size(self) -> int:
        r"""The number of rows :math:`B`."""
        return self.user.numel()

    def to(self, device: torch.device | str) -> "Impressions":
        r"""Returns a copy whose tensors lie on another device.

        Args:
            device: The device.
        """
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: x.to(device) for name, x in held.items() if isinstance(x, Tensor)
        }
        if self.sequences is not None:
            moved["sequences"] = {name: x.to(device) for name, x in self.sequences.items()}
        return replace(self, **moved)
