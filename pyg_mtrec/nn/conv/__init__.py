"""Message passing layers that take edge_index, EdgeIndex, CSR and SparseTensor."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.conv.adjacency import Adjacency as Adjacency
    from pyg_mtrec.nn.conv.hypergraph_conv import HypergraphConv as HypergraphConv
    from pyg_mtrec.nn.conv.incidence import Incidence as Incidence
    from pyg_mtrec.nn.conv.lg_conv import LGConv as LGConv
    from pyg_mtrec.nn.conv.ngcf_conv import NGCFConv as NGCFConv
    from pyg_mtrec.nn.conv.transitional_attention import (
        TransitionalAttention as TransitionalAttention,
    )

_NAMES = {
    "Adjacency": "adjacency",
    "HypergraphConv": "hypergraph_conv",
    "Incidence": "incidence",
    "LGConv": "lg_conv",
    "NGCFConv": "ngcf_conv",
    "TransitionalAttention": "transitional_attention",
}
__all__ = [
    "Adjacency",
    "HypergraphConv",
    "Incidence",
    "LGConv",
    "NGCFConv",
    "TransitionalAttention",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
