from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.typing import EdgeType


@dataclass
class Batch:
    r"""One step's supervision of one task, under PyG's names, in global node ids.

    Args:
        edge_type: The relation ``(source, name, destination)`` that supervises.
        size: The nominal batch size :math:`B` by which losses are divided, so that a short last
            batch does not change the scale of gradients.
        src_index: Source nodes :math:`[b]`.
        dst_pos_index: Positive destinations :math:`[b]`.
        dst_neg_index: Negative destinations :math:`[b]` or :math:`[b, m]`.
        edge_label_index: Labelled pairs :math:`[2, b]`, for tasks that are not triplets.
        edge_label: Labels :math:`[b]` or :math:`[b, K]`.
        weight: Weights :math:`[b]`, zero where there was nothing to draw (default: all one).
        edge_id: Positions :math:`[b]` of the pairs in the relation's training edges.
    """

    edge_type: EdgeType
    size: int
    src_index: Tensor | None = None
    dst_pos_index: Tensor | None = None
    dst_neg_index: Tensor | None = None
    edge_label_index: Tensor | None = None
    edge_label: Tensor | None = None
    weight: Tensor | None = None
    edge_id: Tensor | None = None

    def node_ids(self) -> dict[str, Tensor]:
        r"""Returns the ids that the batch looks up, per node type, with repetitions."""
        src, _, dst = self.edge_type
        found: dict[str, list[Tensor]] = {}
        for node_type, index in (
            (src, self.src_index),
            (dst, self.dst_pos_index),
            (dst, self.dst_neg_index),
            (src, None if self.edge_label_index is None else self.edge_label_index[0]),
            (dst, None if self.edge_label_index is None else self.edge_label_index[1]),
        ):
            if index is not None:
                found.setdefault(node_type, []).append(index.reshape(-1))
        return {node_type: torch.cat(parts) for node_type, parts in found.items()}
