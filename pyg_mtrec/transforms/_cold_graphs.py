"""What messages may travel where some users and items are cold, and the counts of the buckets."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import _cold_start as roles
from pyg_mtrec.transforms._leak import held_out, other_relations
from pyg_mtrec.transforms._split_graphs import messages
from pyg_mtrec.transforms._stores import edges, num_nodes, pair_keys, select_edges


def message_graph(
    data: HeteroData,
    edge_type: EdgeType,
    drawn: roles.ColdStart,
    behaviours: str,
    support: int | None = None,
    counts: dict[str, dict[str, int]] | None = None,
) -> HeteroData:
    r"""Returns the graph with the training interactions, and the support that is known with it.

    Args:
        data: All interactions.
        edge_type: The relation that is split.
        drawn: The role of every interaction.
        behaviours: ``"drop"`` or ``"keep"``.
        support: The role of the support that is known on this graph.
        counts: Gets the number of edges dropped from, or to be declared in, other relations.
    """
    edge_index, num_dst = data[edge_type].edge_index, num_nodes(data, edge_type[2])
    known = drawn.role == roles.TRAIN
    if support is not None:
        known |= drawn.role == support
    hidden, restored = (
        pair_keys(edge_index[:, mask], num_dst).sort().values
        for mask in (~known, known & (drawn.role != roles.TRAIN))
    )
    cleared = other_relations(data, edge_type, behaviours)
    data = copy.copy(data)
    for other in other_relations(data, edge_type, "drop"):
        if "edge_index" not in data[other]:
            continue
        flip, pairs = other[0] != edge_type[0], edges(data, other, roles.NAME)
        src, dst = pairs.flip(0) if flip else pairs
        # Of a cold node nothing may tell but its support.
        tells = (drawn.cold[0][src] | drawn.cold[1][dst]) & ~held_out(
            pairs, flip, restored, num_dst
        )
        tells |= held_out(pairs, flip, hidden, num_dst)
        if counts is not None:
            verb = "dropped" if other in cleared else "kept"
            counts[f"behaviours_{verb}"][" ".join(other)] = int(tells.sum())
        if other in cleared and bool(tells.any()):
            select_edges(data, other, (~tells).nonzero().view(-1), roles.NAME)
    return messages(data, edge_type, known.nonzero().view(-1), roles.NAME)


def count_buckets(edge_index: Tensor, drawn: roles.ColdStart) -> dict[str, dict[str, int]]:
    r"""Returns the counts of every bucket that was asked for."""
    found: dict[str, dict[str, int]] = {}
    for bucket, label in roles.BUCKETS.items():
        if bucket != "warm" and bucket not in drawn.counts:
            continue
        users = edge_index[0, drawn.role == label]
        if bucket != "warm" and users.numel() == 0:
            raise InputError(
                f"{roles.SHARES[bucket]!r} of {roles.NAME!r} leaves nothing to predict in "
                f"{bucket!r}: choose other shares or another seed"
            )
        found[bucket] = {"users": users.unique().numel(), "labels": users.numel()}
        if bucket == "few":
            found[bucket]["support"] = int((drawn.role == roles.SUPPORT).sum())
        if bucket == "cold-items":
            found[bucket]["items"] = drawn.items.numel()
        found[bucket] |= drawn.counts.get(bucket, {})
    return found


def count_roles(role: Tensor) -> dict[str, Any]:
    r"""Returns how many interactions have each role; together they are all."""
    count = torch.bincount(role, minlength=roles.UNUSED + 1).tolist()
    return {
        "train": count[roles.TRAIN],
        "val": count[roles.VAL],
        "test": sum(count[label] for label in roles.BUCKETS.values()),
        "support": count[roles.SUPPORT],
        "val_support": count[roles.VAL_SUPPORT],
        "unused": count[roles.UNUSED],
    }
