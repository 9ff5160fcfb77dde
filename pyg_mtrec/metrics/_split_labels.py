"""Reads and checks what an evaluation needs from one split."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError


class SplitLabels:
    """Labels, seen items and history lengths of a split, on the CPU."""

    def __init__(self, data: HeteroData, edge_type: EdgeType) -> None:
        if edge_type not in data.edge_types:
            raise InputError(f"the split has no relation {edge_type} (found {data.edge_types})")
        store = data[edge_type]
        for key in ("edge_index", "edge_label_index", "seen_edge_index"):
            if key not in store:
                raise InputError(
                    f"'{key}' is missing from {edge_type}: make the split with 'SplitInteractions'"
                )
        self.num_users = int(data[edge_type[0]].num_nodes)
        self.num_items = int(data[edge_type[2]].num_nodes)

        pairs = store.edge_label_index.cpu()
        kinds = store.get("edge_label_kinds") or ["binary"]
        if "edge_label" in store and kinds[0] == "binary":
            label: Tensor = store.edge_label.cpu()
            pairs = pairs[:, (label if label.dim() == 1 else label[:, 0]) > 0]
        self.seen: Tensor = store.seen_edge_index.cpu()
        for name, index in (("edge_label_index", pairs), ("seen_edge_index", self.seen)):
            self._check_ids(name, index)

        label_keys = (pairs[0] * self.num_items + pairs[1]).unique()  # sorted, duplicates merged
        if label_keys.numel() == 0:
            raise InputError(f"'edge_label_index' of {edge_type} has nothing to predict")
        self.relevant = torch.stack([label_keys // self.num_items, label_keys % self.num_items])
        self.users = self.relevant[0].unique()  # [n], ascending
        seen_keys = self.seen[0] * self.num_items + self.seen[1]
        self.num_masked = int(torch.isin(label_keys, seen_keys).sum())
        if self.num_masked == label_keys.numel():
            raise InputError(
                f"all {self.num_masked} pairs to be predicted of {edge_type} are masked as seen: "
                "evaluate the validation or the test split"
            )
        candidates = store.get("candidate_items")
        self.candidates: Tensor | None = None if candidates is None else candidates.cpu()
        self.history = torch.bincount(store.edge_index[0].cpu(), minlength=self.num_users)  # [U]

    def _check_ids(self, name: str, index: Tensor) -> None:
        for row, size in ((0, self.num_users), (1, self.num_items)):
            bad = ((index[row] < 0) | (index[row] >= size)).nonzero().view(-1)
            if bad.numel() > 0:
                raise InputError(
                    f"'{name}' needs ids in 0 .. {size - 1} in row {row} (got "
                    f"{int(index[row, bad[0]])} at column {int(bad[0])})"
                )
