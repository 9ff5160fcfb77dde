from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError


@dataclass
class Batch:
    r"""One step's supervision of one task, under PyG's names, in global node ids.

    Args:
        edge_type: The relation ``(source, name, destination)`` that supervises.
        size: The nominal batch size :math:`B` by which losses are divided, so that a short last
            batch does not change the scale of gradients.
        src_index: Source nodes :math:`[b]`.
        dst_pos_index: Positive destinations :math:`[b]`.
        dst_neg_index: Negative destinations :math:`[b]` or :math:`[b, m]`, or :math:`[1, m]` if
            all pairs share them.
        edge_label_index: Labelled pairs :math:`[2, b]`, for tasks that are not triplets.
        edge_label: Labels :math:`[b]` or :math:`[b, K]`.
        weight: Weights :math:`[b]`, zero where there was nothing to draw (default: all one).
        edge_id: Positions :math:`[b]` of the pairs in the relation's training edges.
        dst_log_q: Logs :math:`[b]` of the probability that another pair of a random batch has this
            one's destination.
        src_known: Which destinations each source of the relation is known to have
            :math:`[S, D]`, for losses over all destinations.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.loader import Batch
        >>> one = torch.tensor([1])
        >>> batch = Batch(("user", "interacts", "item"), 1, one, one + 1, one + 2)
        >>> batch.node_ids()
        {'user': tensor([1]), 'item': tensor([2, 3])}
        >>> data = HeteroData()  # as it comes from PyG's LinkNeighborLoader
        >>> data["user"].n_id, data["item"].n_id = torch.tensor([7, 5]), torch.tensor([3, 9])
        >>> data["user"].src_index = torch.tensor([1])
        >>> data["item"].dst_pos_index = torch.tensor([0])
        >>> data["item"].dst_neg_index = torch.tensor([1])
        >>> Batch.from_hetero(data, ("user", "interacts", "item")).node_ids()
        {'user': tensor([5]), 'item': tensor([3, 9])}
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
    dst_log_q: Tensor | None = None
    src_known: Tensor | None = None

    @classmethod
    def from_hetero(cls, data: HeteroData, edge_type: EdgeType, local: bool = False) -> "Batch":
        r"""Reads a batch of PyG's ``LinkNeighborLoader``.

        Triplets are found on the node stores (``src_index``; ``dst_pos_index``,
        ``dst_neg_index``), labelled pairs on the store of the relation (``edge_label_index``,
        ``edge_label``). Ids of the sampled subgraph become ids of the whole graph through
        ``n_id``. The nominal size is the number of triplets or pairs.

        Args:
            data: The sampled graph.
            edge_type: The relation that the loader was given.
            local: Keeps the ids of the subgraph, for representations that were computed on it.

        Raises:
            InputError: If the graph holds neither triplets nor labelled pairs of the relation.
        """
        src, _, dst = edge_type
        source, target = (
            data[node_type] if node_type in data.node_types else {} for node_type in (src, dst)
        )

        def ids(index: Tensor, store: Any) -> Tensor:
            n_id: Tensor | None = None if local else store.get("n_id")
            return index if n_id is None else n_id[index]

        if "src_index" in source and "dst_pos_index" in target:
            index, negative = source["src_index"], target.get("dst_neg_index")
            return cls(
                edge_type,
                index.numel(),
                src_index=ids(index, source),
                dst_pos_index=ids(target["dst_pos_index"], target),
                dst_neg_index=None if negative is None else ids(negative, target),
            )
        store: Any = data[edge_type] if edge_type in data.edge_types else {}
        if "edge_label_index" in store:
            rows, columns = store["edge_label_index"]
            pairs = torch.stack([ids(rows, source), ids(columns, target)])
            label = store.get("edge_label")
            return cls(edge_type, pairs.size(1), edge_label_index=pairs, edge_label=label)
        raise InputError(
            f"the batch needs 'src_index' on {src!r} and 'dst_pos_index' on {dst!r}, or"
            f" 'edge_label_index' on {tuple(edge_type)} (found the stores"
            f" {[*data.node_types, *data.edge_types]})"
        )

    def node_ids(self) -> dict[str, Tensor | None]:
        r"""Returns the ids that the batch looks up, per node type, with repetitions.

        :obj:`None` would stand for all nodes (:class:`FullBatch`).
        """
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

    def pairs(self) -> tuple[Tensor, Tensor]:
        r"""Returns sources and destinations :math:`[b]` of the supervised pairs, positives only.

        Raises:
            InputError: If the batch holds neither triplets nor labelled pairs.
        """
        if self.src_index is not None and self.dst_pos_index is not None:
            return self.src_index, self.dst_pos_index
        if self.edge_label_index is not None:
            return self.edge_label_index[0], self.edge_label_index[1]
        raise InputError(
            f"the batch of {self.edge_type} holds no pairs: give it 'src_index' and"
            " 'dst_pos_index', or 'edge_label_index'"
        )

    def to(self, device: torch.device | str) -> "Batch":
        r"""Returns a copy whose tensors lie on another device.

        Args:
            device: The device.
        """
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {
            name: x.to(device) for name, x in held.items() if isinstance(x, Tensor)
        }
        return replace(self, **moved)
