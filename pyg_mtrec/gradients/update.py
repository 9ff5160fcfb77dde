from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Update:
    r"""One gradient for every parameter: what a balancer makes of the tasks' gradients.

    Args:
        rows: Table to the combined gradient of its rows :math:`[R, d]`, in the order of
            :attr:`TaskGradients.rows`.
        dense: Shared parameter to its combined gradient.
        own: Task to the gradients of its own parameters.
    """

    rows: Mapping[str, Tensor]
    dense: Mapping[str, Tensor] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
