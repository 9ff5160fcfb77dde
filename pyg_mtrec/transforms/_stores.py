"""Reading and cutting the stores of a graph: the checks that every transform shares."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError

MAIN: EdgeType = ("user", "interacts", "item")
HYPEREDGE = "hyperedge_"  # how the node types of hyperedges made by a transform begin


def num_nodes(data: HeteroData, node_type: str) -> int:
    r"""Returns the number of nodes of a type, which has to be known and not guessed."""
    if node_type not in data.node_types or not data[node_type].can_infer_num_nodes:
        raise InputError(
            f"node type {node_type!r} has no 'num_nodes' (node types: {data.node_types}): "
            f"set data[{node_type!r}].num_nodes"
        )
    return int(data[node_type].num_nodes)


def edges(data: HeteroData, edge_type: EdgeType, transform: str) -> Tensor:
    r"""Returns the ``edge_index`` of a relation after checking its shape, type and ids."""
    if edge_type not in data.edge_types or "edge_index" not in data[edge_type]:
        raise InputError(
            f"{transform!r} needs the relation {edge_type} (found {data.edge_types}): "
            "pass 'edge_type'"
        )
    edge_index: Tensor = data[edge_type].edge_index
    if edge_index.dim() != 2 or edge_index.size(0) != 2 or edge_index.dtype != torch.long:
        raise InputError(
            f"'edge_index' of {edge_type} needs to be int64 of shape [2, E] "
            f"(got {edge_index.dtype} of shape {list(edge_index.shape)})"
        )
    if edge_index.numel() > 0:
        for ids, node_type in zip(edge_index, (edge_type[0], edge_type[2]), strict=True):
            low, high = (int(bound) for bound in ids.aminmax())
            if low < 0 or high >= num_nodes(data, node_type):
                raise InputError(
                    f"{edge_type} has {node_type} id {low if low < 0 else high}, outside "
                    f"0..{num_nodes(data, node_type) - 1}: check 'edge_index' or 'num_nodes'"
                )
    return edge_index


def bipartite(data: HeteroData, edge_type: EdgeType, transform: str) -> Tensor:
    r"""Returns the checked ``edge_index`` of a relation between two different node types."""
    if edge_type[0] == edge_type[2]:
        raise InputError(
            f"{transform!r} needs a relation between two node types (got {edge_type}): "
            "pass the one between users and items as 'edge_type'"
        )
    return edges(data, edge_type, transform)


def attributes(
    data: HeteroData, key: str | EdgeType, size: int, transform: str
) -> Iterator[tuple[str, Tensor, int]]:
    r"""Yields the attributes with one entry per node or edge, and the dimension they lie along."""
    store = data[key]
    for name, value in store.items():
        if name.endswith(("_names", "_kinds")):
            continue  # of columns: as many as there are rows only by chance
        if isinstance(value, Tensor):
            dim: Any = data.__cat_dim__(name, value, store)
            if isinstance(dim, int) and value.dim() > 0 and value.size(dim) == size:
                yield name, value, dim
        elif not isinstance(value, str | dict) and hasattr(value, "__len__") and len(value) == size:
            raise InputError(
                f"{transform!r} can't carry {name!r} of {key!r}, a {type(value).__name__}: "
                "make it a tensor or delete it"
            )


def select_edges(data: HeteroData, edge_type: EdgeType, kept: Tensor, transform: str) -> None:
    r"""Keeps the edges at the positions ``kept``, with all their attributes, in ``data`` itself."""
    store = data[edge_type]
    size = store.edge_index.size(1)
    for name, value, dim in list(attributes(data, edge_type, size, transform)):
        store[name] = value.index_select(dim, kept)


def refuse_derived(data: HeteroData, edge_types: list[EdgeType], transform: str) -> None:
    r"""Refuses a graph with operators or splits that were made from the edges as they are."""
    for edge_type in edge_types:
        for name, made_by in (
            ("edge_label_index", "SplitInteractions"),
            ("adj_t", "NormalizedAdjacency"),
            ("adj", "NormalizedAdjacency"),
        ):
            if name in data[edge_type]:
                raise InputError(
                    f"{edge_type} already has {name!r}, which {transform!r} would leave stale: "
                    f"apply {transform!r} before {made_by!r}"
                )
    for node_type in data.node_types:
        # The head of a star is a node id, the value of a bin a mean over all interactions.
        if node_type.startswith(HYPEREDGE) and {"head", "value"} & set(data[node_type].keys()):
            raise InputError(
                f"the graph already has {node_type!r}, which {transform!r} would leave stale: "
                f"apply {transform!r} before 'AddTaskHypergraphs'"
            )


def unique_pairs(data: HeteroData, edge_type: EdgeType, transform: str) -> tuple[HeteroData, int]:
    r"""Returns a checked copy whose relation has every pair once, and the rows it had before."""
    edge_index = bipartite(data, edge_type, transform)
    num_rows = edge_index.size(1)
    if num_rows == 0:
        raise InputError(f"{edge_type} is empty: {transform!r} found no interaction")
    data = copy.copy(data)
    first = first_of_each(pair_keys(edge_index, num_nodes(data, edge_type[2])))
    if not bool(first.all()):
        select_edges(data, edge_type, first.nonzero().view(-1), transform)
    return data, num_rows


def pair_keys(edge_index: Tensor, num_dst: int) -> Tensor:
    r"""Returns one int64 key per pair, ordered by source and then by destination."""
    return edge_index[0] * max(num_dst, 1) + edge_index[1]


def first_of_each(key: Tensor) -> Tensor:
    r"""Returns a mask of the first occurrence of every key."""
    ordered, order = key.sort(stable=True)
    first = torch.ones_like(key, dtype=torch.bool)
    first[order[1:]] = ordered[1:] != ordered[:-1]
    return first
