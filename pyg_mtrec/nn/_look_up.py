from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class LookUp:
    r"""What a batch reads of the tables.

    Args:
        ids: Table to row ids :math:`[n]`; of fields :math:`[B \cdot F]`.
        factors: Factors :math:`[B, F]` of the fields' rows.
        masks: Behaviour to a mask :math:`[B, L]`, true where there is an event. The rows of its
            items follow those of the impressions' own items, behaviour by behaviour.
    """

    ids: dict[str, Tensor]
    factors: Tensor | None = None
    masks: dict[str, Tensor] = field(default_factory=dict)
