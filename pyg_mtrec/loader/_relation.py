from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import EdgeStorage
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError


class Positives(NamedTuple):
    r"""The supervised edges of a relation: pairs :math:`[2, E]` and attributes by name."""

    edge_index: Tensor
    attrs: dict[str, Tensor]


def store_of(data: HeteroData, edge_type: EdgeType) -> EdgeStorage:
    r"""Returns a relation's store, or says which relations there are."""
    if tuple(edge_type) not in data.edge_types:
        known = ", ".join(str(known) for known in data.edge_types) or "none"
        raise InputError(f"the data needs the relation {tuple(edge_type)} (found {known})")
    store: EdgeStorage = data[edge_type]
    return store


def count_nodes(data: HeteroData, node_type: str) -> int:
    r"""Returns the number of nodes of a type, which has to be positive."""
    number = data[node_type].num_nodes if node_type in data.node_types else None
    if not number:
        raise InputError(
            f"the data needs at least one node of type {node_type!r} (found {number});"
            f" set data[{node_type!r}].num_nodes"
        )
    return int(number)


def positives_of(data: HeteroData, edge_type: EdgeType, attrs: tuple[str, ...] = ()) -> Positives:
    r"""Returns what supervises a relation.

    These are the positive pairs of ``edge_label_index`` where a split made one, else
    ``edge_index``. Links of a node to itself supervise nothing and are left out.
    """
    store = store_of(data, edge_type)
    prefix = "edge_label_" if "edge_label_index" in store else ""
    if prefix:
        edge_index: Tensor = store.edge_label_index
        label = store.get("edge_label")
        keep = (
            torch.ones_like(edge_index[0], dtype=torch.bool)
            if label is None
            else label.reshape(edge_index.size(1), -1)[:, 0] > 0
        )
    elif "edge_index" in store:
        edge_index = store.edge_index
        keep = torch.ones_like(edge_index[0], dtype=torch.bool)
    else:
        raise InputError(
            f"the relation {tuple(edge_type)} needs 'edge_index' (found {sorted(store.keys())})"
        )
    if edge_type[0] == edge_type[2]:
        keep = keep & (edge_index[0] != edge_index[1])
    found: dict[str, Tensor] = {}
    for name in attrs:
        if prefix + name not in store:
            raise InputError(
                f"the relation {tuple(edge_type)} needs the edge attribute {prefix + name!r}"
                f" (found {sorted(store.keys())})"
            )
        found[name] = store[prefix + name]
    if not bool(keep.all()):
        edge_index = edge_index[:, keep]
        found = {name: value[keep] for name, value in found.items()}
    _check_range(edge_index, edge_type, data)
    return Positives(edge_index, found)


def _check_range(edge_index: Tensor, edge_type: EdgeType, data: HeteroData) -> None:
    for index, node_type in ((edge_index[0], edge_type[0]), (edge_index[1], edge_type[2])):
        number = count_nodes(data, node_type)
        if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < number:
            raise InputError(
                f"{node_type} ids of {tuple(edge_type)} need to lie in 0 .. {number - 1}"
                f" (found {int(index.min())} .. {int(index.max())})"
            )
