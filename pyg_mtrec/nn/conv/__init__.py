"""Message passing layers that take edge_index, EdgeIndex, CSR and SparseTensor."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.conv.adjacency import Adjacency as Adjacency
    from pyg_mtrec.nn.conv.lg_conv import LGConv as LGConv
    from pyg_mtrec.nn.conv.ngcf_conv import NGCFConv as NGCFConv

_NAMES = {
    "Adjacency": "adjacency",
    "LGConv": "lg_conv",
    "NGCFConv": "ngcf_conv",
}
__all__ = [
    "Adjacency",
    "LGConv",
    "NGCFConv",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
