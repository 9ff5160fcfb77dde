"""Propagation without tables: x_dict, adj_dict to Representations."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.encoders.encoder import Encoder as Encoder
    from pyg_mtrec.nn.encoders.lightgcn import LightGCN as LightGCN
    from pyg_mtrec.nn.encoders.mf import MF as MF
    from pyg_mtrec.nn.encoders.ngcf import NGCF as NGCF
    from pyg_mtrec.nn.encoders.representations import Representations as Representations
    from pyg_mtrec.nn.encoders.uprth import TaskHypergraphEncoder as TaskHypergraphEncoder

_NAMES = {
    "Encoder": "encoder",
    "LightGCN": "lightgcn",
    "MF": "mf",
    "NGCF": "ngcf",
    "Representations": "representations",
    "TaskHypergraphEncoder": "uprth",
}
__all__ = [
    "Encoder",
    "LightGCN",
    "MF",
    "NGCF",
    "Representations",
    "TaskHypergraphEncoder",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
