"""Per-task gradients to one update."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.balancing.balancer import Balancer as Balancer
    from pyg_mtrec.balancing.pmtrec import PMTRec as PMTRec
    from pyg_mtrec.balancing.sum import Sum as Sum

_NAMES = {
    "Balancer": "balancer",
    "PMTRec": "pmtrec",
    "Sum": "sum",
}
__all__ = [
    "Balancer",
    "PMTRec",
    "Sum",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
