"""What task hypergraphs are made of: their names, stars, bins, and finding them in a graph."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._stores import pair_keys

Direction = Literal["out", "in", "both"]


def task_hypergraphs(data: HeteroData) -> dict[str, EdgeType]:
    r"""Returns the relation (vertices to hyperedges) of every task that the graph marks."""
    found: dict[str, EdgeType] = {}
    for edge_type in data.edge_types:
        task = data[edge_type].get("task")
        if task is None:
            continue
        if task in found:
            raise InputError(
                f"{found[task]} and {edge_type} are both marked as task {task!r}: "
                "give each 'task' another name"
            )
        found[task] = edge_type
    return found


def distinct_names(options: Mapping[EdgeType, tuple[str, ...]]) -> dict[EdgeType, str]:
    r"""Returns for each relation the shortest of its names that no other relation takes.

    All relations that share a name give it up, so that the order of relations does not matter.
    """
    level = dict.fromkeys(options, 0)
    while True:
        names = {edge_type: options[edge_type][at] for edge_type, at in level.items()}
        count = Counter(names.values())
        shared = [edge_type for edge_type, name in names.items() if count[name] > 1]
        longer = [e for e in shared if level[e] + 1 < len(options[e])]
        if not shared:
            return names
        if not longer:
            raise InputError(
                f"{shared[0]} and {shared[1]} would both be task {names[shared[0]]!r}: "
                "leave one out of 'relations' or rename it"
            )
        for edge_type in longer:
            level[edge_type] += 1


def stars(
    edge_index: Tensor, num_nodes: int, direction: Direction, include_head: bool
) -> tuple[Tensor, Tensor]:
    r"""Returns the incidence :math:`[2, M]` of one hyperedge per head, and the heads :math:`[S]`.

    Heads ascend, and within a star its vertices; self loops and repeated edges do not count.
    """
    if direction == "in":
        edge_index = edge_index.flip(0)
    elif direction == "both":
        edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    edge_index = edge_index[:, edge_index[0] != edge_index[1]]
    if include_head:
        edge_index = torch.cat([edge_index, edge_index[0].unique().expand(2, -1)], dim=1)
    key = pair_keys(edge_index, num_nodes).unique()  # sorted by head, then by vertex
    head = torch.div(key, max(num_nodes, 1), rounding_mode="floor")
    vertex = key - head * num_nodes
    heads, star = torch.unique_consecutive(head, return_inverse=True)
    return torch.stack([vertex, star]), heads


def mean_bins(item: Tensor, rating: Tensor, num_items: int, width: float) -> tuple[Tensor, Tensor]:
    r"""Returns the incidence :math:`[2, M]` of rated items with bins of their mean, and the values.

    Halves round up; only bins that occur are numbered, in ascending order.
    """
    count = torch.bincount(item, minlength=num_items)
    # In float64 the sum of whole or half stars is exact, whatever the order.
    total = torch.zeros(num_items, dtype=torch.double, device=item.device)
    total.index_add_(0, item, rating.double())
    rated = count.nonzero().view(-1)
    step = torch.floor(total[rated] / count[rated] / width + 0.5)
    value, which = torch.unique(step, return_inverse=True)
    return torch.stack([rated, which]), (value * width).float()
