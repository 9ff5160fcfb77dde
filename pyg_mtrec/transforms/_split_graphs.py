"""The graphs of a split: what messages travel, what is to be predicted, what is masked."""

import copy

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.transforms._stores import select_edges


def messages(data: HeteroData, edge_type: EdgeType, position: Tensor, transform: str) -> HeteroData:
    r"""Returns the graph in which messages travel the interactions at ``position`` alone."""
    out = copy.copy(data)
    select_edges(out, edge_type, position, transform)
    if "split" in out[edge_type]:  # would be misleading under another strategy
        del out[edge_type].split
    return out


def labelled(
    data: HeteroData,
    graph: HeteroData,
    edge_type: EdgeType,
    position: Tensor,
    pairs: Tensor,
    seen: Tensor,
) -> HeteroData:
    r"""Returns ``graph`` with what is to be predicted on it and what evaluation masks.

    Args:
        data: All interactions, whose attributes go with the labels.
        graph: What messages travel.
        edge_type: The relation that is split.
        position: Which interactions are to be predicted.
        pairs: The same as pairs :math:`[2, L]`, so that graphs can share the tensor.
        seen: The pairs to mask :math:`[2, S]`.
    """
    out = copy.copy(graph)
    store = out[edge_type]
    store.edge_label_index = pairs
    store.edge_label = torch.ones(position.numel(), 1, device=position.device)
    store.edge_label_names = [edge_type[1]]
    store.edge_label_kinds = ["binary"]
    for name in ("time", "rating"):
        if name in data[edge_type]:
            store[f"edge_label_{name}"] = data[edge_type][name][position]
    store.seen_edge_index = seen
    return out
