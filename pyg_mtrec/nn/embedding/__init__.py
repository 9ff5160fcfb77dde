"""Ids and fields to rows: the only owners of tables."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.nn.embedding.field_embedding import FieldEmbedding as FieldEmbedding
    from pyg_mtrec.nn.embedding.node_embedding import NodeEmbedding as NodeEmbedding

_NAMES = {
    "FieldEmbedding": "field_embedding",
    "NodeEmbedding": "node_embedding",
}
__all__ = [
    "FieldEmbedding",
    "NodeEmbedding",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
