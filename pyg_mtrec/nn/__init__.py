"""Tables, layers, encoders: everything with parameters, nothing that knows of training."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.conv import Adjacency as Adjacency
    from pyg_mtrec.nn.conv import HypergraphConv as HypergraphConv
    from pyg_mtrec.nn.conv import Incidence as Incidence
    from pyg_mtrec.nn.conv import LGConv as LGConv
    from pyg_mtrec.nn.conv import NGCFConv as NGCFConv
    from pyg_mtrec.nn.conv import TransitionalAttention as TransitionalAttention
    from pyg_mtrec.nn.embedding import FieldEmbedding as FieldEmbedding
    from pyg_mtrec.nn.embedding import NodeEmbedding as NodeEmbedding
    from pyg_mtrec.nn.encoders import MF as MF
    from pyg_mtrec.nn.encoders import NGCF as NGCF
    from pyg_mtrec.nn.encoders import Encoder as Encoder
    from pyg_mtrec.nn.encoders import LightGCN as LightGCN
    from pyg_mtrec.nn.encoders import Representations as Representations
    from pyg_mtrec.nn.encoders import TaskHypergraphEncoder as TaskHypergraphEncoder

_NAMES = {
    "Adjacency": "conv",
    "Encoder": "encoders",
    "FieldEmbedding": "embedding",
    "HypergraphConv": "conv",
    "Incidence": "conv",
    "LGConv": "conv",
    "LightGCN": "encoders",
    "MF": "encoders",
    "NGCF": "encoders",
    "NGCFConv": "conv",
    "NodeEmbedding": "embedding",
    "Representations": "encoders",
    "TaskHypergraphEncoder": "encoders",
    "TransitionalAttention": "conv",
}
__all__ = [
    "MF",
    "NGCF",
    "Adjacency",
    "Encoder",
    "FieldEmbedding",
    "HypergraphConv",
    "Incidence",
    "LGConv",
    "LightGCN",
    "NGCFConv",
    "NodeEmbedding",
    "Representations",
    "TaskHypergraphEncoder",
    "TransitionalAttention",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
