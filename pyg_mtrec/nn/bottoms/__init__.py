"""Fields and behaviour sequences of an impression to one input per target."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.bottoms.bottom import Bottom as Bottom
    from pyg_mtrec.nn.bottoms.dtrn import DTRN as DTRN
    from pyg_mtrec.nn.bottoms.tim import TIM as TIM
    from pyg_mtrec.nn.bottoms.trm import TRM as TRM

_NAMES = {
    "Bottom": "bottom",
    "DTRN": "dtrn",
    "TIM": "tim",
    "TRM": "trm",
}
__all__ = [
    "DTRN",
    "TIM",
    "TRM",
    "Bottom",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
