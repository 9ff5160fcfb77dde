"""Tables, layers, encoders, bottoms, heads: what has parameters and knows not of training."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.bottoms import DTRN as DTRN
    from pyg_mtrec.nn.bottoms import TIM as TIM
    from pyg_mtrec.nn.bottoms import TRM as TRM
    from pyg_mtrec.nn.bottoms import Bottom as Bottom
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
    from pyg_mtrec.nn.heads import AITM as AITM
    from pyg_mtrec.nn.heads import ESMM as ESMM
    from pyg_mtrec.nn.heads import PLE as PLE
    from pyg_mtrec.nn.heads import Head as Head
    from pyg_mtrec.nn.heads import HTLNet as HTLNet
    from pyg_mtrec.nn.heads import MMoE as MMoE
    from pyg_mtrec.nn.heads import SharedBottom as SharedBottom
    from pyg_mtrec.nn.heads import SingleTask as SingleTask
    from pyg_mtrec.nn.predictor import Predictor as Predictor

_NAMES = {
    "AITM": "heads",
    "Adjacency": "conv",
    "Bottom": "bottoms",
    "DTRN": "bottoms",
    "ESMM": "heads",
    "Encoder": "encoders",
    "FieldEmbedding": "embedding",
    "HTLNet": "heads",
    "Head": "heads",
    "HypergraphConv": "conv",
    "Incidence": "conv",
    "LGConv": "conv",
    "LightGCN": "encoders",
    "MF": "encoders",
    "MMoE": "heads",
    "NGCF": "encoders",
    "NGCFConv": "conv",
    "NodeEmbedding": "embedding",
    "PLE": "heads",
    "Predictor": "predictor",
    "Representations": "encoders",
    "SharedBottom": "heads",
    "SingleTask": "heads",
    "TIM": "bottoms",
    "TRM": "bottoms",
    "TaskHypergraphEncoder": "encoders",
    "TransitionalAttention": "conv",
}
__all__ = [
    "AITM",
    "DTRN",
    "ESMM",
    "MF",
    "NGCF",
    "PLE",
    "TIM",
    "TRM",
    "Adjacency",
    "Bottom",
    "Encoder",
    "FieldEmbedding",
    "HTLNet",
    "Head",
    "HypergraphConv",
    "Incidence",
    "LGConv",
    "LightGCN",
    "MMoE",
    "NGCFConv",
    "NodeEmbedding",
    "Predictor",
    "Representations",
    "SharedBottom",
    "SingleTask",
    "TaskHypergraphEncoder",
    "TransitionalAttention",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
