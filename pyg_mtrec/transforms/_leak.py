"""What may not be known in training: finding it in a graph, and proving that it is not there."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.transforms._stores import MAIN, num_nodes, pair_keys


def other_relations(data: HeteroData, edge_type: EdgeType, behaviours: str) -> list[EdgeType]:
    r"""Relations besides ``edge_type`` that may give its pairs away.

    With ``behaviours='drop'`` these are all between the same two node types, either way; with
    ``'keep'`` only the reverse relation.
    """
    src, name, dst = edge_type
    return [
        other
        for other in data.edge_types
        if other != edge_type
        and (other[0], other[2]) in ((src, dst), (dst, src))
        and (behaviours == "drop" or other == (dst, f"rev_{name}", src))
    ]


def held_out(edge_index: Tensor, flip: bool, held: Tensor, num_dst: int) -> Tensor:
    r"""Returns a mask of the edges whose pair is among the sorted keys ``held``.

    Args:
        edge_index: Edges :math:`[2, E]`.
        flip: Whether they point from destination to source of the held-out relation.
        held: Sorted keys of held-out pairs.
        num_dst: Number of destinations of the held-out relation.
    """
    key = pair_keys(edge_index.flip(0) if flip else edge_index, num_dst)
    if held.numel() == 0:
        return torch.zeros_like(key, dtype=torch.bool)
    place = torch.searchsorted(held, key).clamp_(max=held.numel() - 1)
    return held[place] == key


def assert_no_leak(
    train: HeteroData,
    val: HeteroData,
    test: HeteroData,
    edge_type: EdgeType = MAIN,
    message_edges: str = "train",
    behaviours: str = "drop",
) -> None:
    r"""Raises an ``AssertionError`` that names the first pair known too early.

    Checked in all three splits: no held-out pair is a message edge of any behaviour in either
    direction, nor an entry of a stored adjacency; the three sets of labels are disjoint; and what
    evaluation masks is what was known before, never what it asks for.

    Args:
        train: The training split.
        val: The validation split.
        test: The test split.
        edge_type: The relation that was split.
        message_edges: As given to :class:`~pyg_mtrec.transforms.SplitInteractions`.
        behaviours: As given to :class:`~pyg_mtrec.transforms.SplitInteractions`.
    """
    num_dst = num_nodes(train, edge_type[2])
    splits = {"train": train, "val": val, "test": test}
    keys = {
        name: pair_keys(data[edge_type].edge_label_index, num_dst).sort().values
        for name, data in splits.items()
    }

    def check(edge_index: Tensor, flip: bool, held: Tensor, where: str) -> None:
        found = held_out(edge_index, flip, held, num_dst)
        if bool(found.any()):
            pair = edge_index[:, found][:, 0].tolist()
            raise AssertionError(f"{int(found.sum())} held-out pairs in {where}, first {pair}")

    for name, data in splits.items():
        both = message_edges == "train+val" and name == "test"
        held = torch.cat([keys["test"]] if both else [keys["val"], keys["test"]]).sort().values
        for other in [edge_type, *other_relations(data, edge_type, behaviours)]:
            flip = (other[0], other[2]) != (edge_type[0], edge_type[2])
            # What is kept as another behaviour may still not come back as the relation itself.
            for kind, edge_index in _message_edges(data, other).items():
                check(edge_index, flip, held, f"{kind!r} of {other} in {name}")
        store = data[edge_type]
        if name != "train":
            check(store.seen_edge_index, False, keys[name], f"'seen_edge_index' in {name}")
    for name, known in (("val", ["train"]), ("test", ["train", "val"])):
        before = torch.cat([keys[other] for other in known]).sort().values
        labels, seen = (
            splits[name][edge_type].edge_label_index,
            splits[name][edge_type].seen_edge_index,
        )
        check(labels, False, before, f"'edge_label_index' in {name}")
        seen_keys = pair_keys(seen, num_dst).sort().values
        if not torch.equal(seen_keys, before):
            raise AssertionError(f"'seen_edge_index' in {name} is not the pairs known before")


def _message_edges(data: HeteroData, edge_type: EdgeType) -> dict[str, Tensor]:
    """Everything in a store that messages may travel, as source and destination."""
    store, found = data[edge_type], {}
    if "edge_index" in store:
        found["edge_index"] = store.edge_index
    for name in ("adj", "adj_t"):
        if name in store:
            rows, columns = store[name].to_sparse_coo().indices().long()
            found[name] = torch.stack([rows, columns] if name == "adj" else [columns, rows])
    return found
