"""Inputs of one target or all to one prediction per target."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.heads.aitm import AITM as AITM
    from pyg_mtrec.nn.heads.esmm import ESMM as ESMM
    from pyg_mtrec.nn.heads.head import Head as Head
    from pyg_mtrec.nn.heads.htlnet import HTLNet as HTLNet
    from pyg_mtrec.nn.heads.mmoe import MMoE as MMoE
    from pyg_mtrec.nn.heads.ple import PLE as PLE
    from pyg_mtrec.nn.heads.shared_bottom import SharedBottom as SharedBottom
    from pyg_mtrec.nn.heads.single_task import SingleTask as SingleTask

_NAMES = {
    "AITM": "aitm",
    "ESMM": "esmm",
    "HTLNet": "htlnet",
    "Head": "head",
    "MMoE": "mmoe",
    "PLE": "ple",
    "SharedBottom": "shared_bottom",
    "SingleTask": "single_task",
}
__all__ = [
    "AITM",
    "ESMM",
    "PLE",
    "HTLNet",
    "Head",
    "MMoE",
    "SharedBottom",
    "SingleTask",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
