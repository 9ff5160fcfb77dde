"""Changes of a split: what is trained on changes, what is predicted and masked never does.

Each takes the split and a generator, and reads nothing but the training graph: no held-out label
decides what it draws, and the same draws come out whatever is held out.
"""

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.training._data import MAIN, SplitData
from pyg_mtrec.transforms._stores import attributes

RANDOM_PAIRS: EdgeType = ("user", "random_pairs", "item")
CATEGORY: EdgeType = ("item", "in", "category")


def thin(data: SplitData, generator: torch.Generator, fraction: float) -> SplitData:
    """Keeps a share of the training interactions; other relations, labels and masks stay.

    With the same draws a smaller share is part of a larger one.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"'fraction' needs to be in (0, 1] in 'thin' (got {fraction})")
    size = data.train[MAIN].edge_index.size(1)
    order = torch.randperm(size, generator=generator)
    kept = order[: max(1, round(fraction * size))].sort().values
    train = _select(data.train, kept, labels=True)
    # Messages at validation and test time are training interactions too.
    val, test = (_select(graph, kept, labels=False) for graph in (data.val, data.test))
    return _with(data, train, val, test)


def random_links(data: SplitData, generator: torch.Generator, node_type: str) -> SplitData:
    """Adds uniformly random links between users or items, as many as training interactions.

    The task over them is called ``random-user-links`` or ``random-item-links``.
    """
    number = data.train[node_type].num_nodes
    keys = _distinct(number * number, _size(data, number * number // 2), generator, number)
    train = copy(data.train)
    train[node_type, f"random_{node_type}_links", node_type].edge_index = _pairs(keys, number)
    return _with(data, train)


def random_pairs(data: SplitData, generator: torch.Generator) -> SplitData:
    """Adds uniformly random pairs of user and item, as many as training interactions."""
    users, items = (data.train[node_type].num_nodes for node_type in ("user", "item"))
    keys = _distinct(users * items, _size(data, users * items // 2), generator)
    train = copy(data.train)
    train[RANDOM_PAIRS].edge_index = _pairs(keys, items)
    return _with(data, train)


def shuffled_categories(data: SplitData, generator: torch.Generator) -> SplitData:
    """Gives every item the categories of another one: sizes stay, meaning goes."""
    if CATEGORY not in data.train.edge_types:
        raise InputError(f"shuffled categories need the relation {CATEGORY} (found none)")
    order = torch.randperm(data.train["item"].num_nodes, generator=generator)
    train = copy(data.train)
    item, category = train[CATEGORY].edge_index
    train[CATEGORY].edge_index = torch.stack([order[item], category])
    return _with(data, train)


def shuffled_ratings(data: SplitData, generator: torch.Generator) -> SplitData:
    """Gives every training interaction the rating of another one."""
    if "edge_label_rating" not in data.train[MAIN]:
        raise InputError(f"shuffled ratings need 'rating' on {MAIN} (found none)")
    train = copy(data.train)
    store = train[MAIN]
    order = torch.randperm(store.edge_label_rating.numel(), generator=generator)
    # Labels and messages of the training graph are the same interactions in the same order.
    store.edge_label_rating = store.edge_label_rating[order]
    store.rating = store.rating[order]
    return _with(data, train)


def _with(
    data: SplitData,
    train: HeteroData,
    val: HeteroData | None = None,
    test: HeteroData | None = None,
) -> SplitData:
    return replace(data, train=train, val=val or data.val, test=test or data.test)


def _select(graph: HeteroData, kept: Tensor, labels: bool) -> HeteroData:
    """A graph with some of its interactions; its labels and mask go along only where asked."""
    out = copy(graph)
    store = out[MAIN]
    for name, value, dim in list(attributes(out, MAIN, store.edge_index.size(1), "thin")):
        if labels or not name.startswith(("edge_label", "seen_")):
            store[name] = value.index_select(dim, kept)
    return out


def _size(data: SplitData, most: int) -> int:
    return min(int(data.train[MAIN].edge_index.size(1)), most)


def _distinct(
    number: int, size: int, generator: torch.Generator, loops: int | None = None
) -> Tensor:
    """A uniform set of ``size`` of the numbers below ``number``.

    Args:
        number: How many there are.
        size: At most half of them, so that drawing anew what repeats does not take long.
        generator: Draws them.
        loops: Leaves out the keys of links of one of so many nodes to itself.
    """
    found = torch.empty(0, dtype=torch.long)
    while found.numel() < size:
        drawn = torch.randint(number, (size,), generator=generator)
        if loops is not None:
            drawn = drawn[drawn // loops != drawn % loops]
        found = torch.cat([found, drawn]).unique()
    return found[torch.randperm(found.numel(), generator=generator)[:size]].sort().values


def _pairs(keys: Tensor, num_dst: int) -> Tensor:
    return torch.stack([keys // num_dst, keys % num_dst])
