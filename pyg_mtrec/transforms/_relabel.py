import copy

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec.transforms._stores import attributes, edges, num_nodes, refuse_derived, select_edges


def relabel(data: HeteroData, kept: dict[str, Tensor], transform: str) -> HeteroData:
    r"""Returns a copy in which node :math:`j` of a type is its former node ``kept[type][j]``.

    Edges that lose an end go; everything that belongs to a node or an edge moves with it.
    """
    refuse_derived(data, data.edge_types, transform)
    out = copy.copy(data)
    new_id: dict[str, Tensor] = {}
    for node_type, index in kept.items():
        size, store = num_nodes(data, node_type), out[node_type]
        if "raw_id" not in store:  # else nobody could tell who is who
            store.raw_id = torch.arange(size, device=index.device)
        new_id[node_type] = index.new_full((size,), -1)
        new_id[node_type][index] = torch.arange(index.numel(), device=index.device)
        for name, value, dim in list(attributes(out, node_type, size, transform)):
            store[name] = value.index_select(dim, index)
        store.num_nodes = index.numel()
    for edge_type in data.edge_types:
        src, _, dst = edge_type
        if (src not in kept and dst not in kept) or "edge_index" not in data[edge_type]:
            continue
        ends = [
            new_id[node_type][ids] if node_type in new_id else ids
            for node_type, ids in zip((src, dst), edges(data, edge_type, transform), strict=True)
        ]
        edge_index = torch.stack(ends)
        alive = (edge_index >= 0).all(dim=0)
        if not bool(alive.all()):
            position = alive.nonzero().view(-1)
            select_edges(out, edge_type, position, transform)
            edge_index = edge_index[:, position]
        out[edge_type].edge_index = edge_index
    return out
