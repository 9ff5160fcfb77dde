from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._base import Report
from pyg_mtrec.datasets._graph import Ids, edges, is_first, links
from pyg_mtrec.datasets._mat import read_mat


def read_trust_network(
    raw: Path, columns: tuple[str, ...], lowest_rating: int
) -> tuple[HeteroData, Report]:
    r"""Reads ``rating.mat`` and ``trustnetwork.mat``.

    Args:
        raw: Folder of the two files.
        columns: Columns of the rating matrix, the first four in the order user, item, category,
            rating.
        lowest_rating: Smallest rating that is allowed, the largest is 5.

    Returns:
        The graph, and what was found in the files.
    """
    rows = read_mat(raw / "rating.mat", "rating", columns)
    trust = read_mat(raw / "trustnetwork.mat", "trustnetwork", ("truster", "trustee"))
    rating = rows[:, 3]
    outside = (rating < lowest_rating) | (rating > 5)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"'{raw / 'rating.mat'}', row {row + 1}: 'rating' needs to lie in {lowest_rating}..5"
            f" (got {rating[row]})"
        )

    data = HeteroData()
    users, items, categories = Ids(rows[:, 0], trust), Ids(rows[:, 1]), Ids(rows[:, 2])
    for ids, node_type in ((users, "user"), (items, "item"), (categories, "category")):
        ids.write(data, node_type)

    user, item, category = users(rows[:, 0]), items(rows[:, 1]), categories(rows[:, 2])
    first = is_first(user, item)
    store = data["user", "interacts", "item"]
    store.edge_index = edges(user[first], item[first])
    store.rating = torch.from_numpy(rating[first].astype(np.float32))

    trusts, loops, repeats = links(users(trust[:, 0]), users(trust[:, 1]))
    data["user", "trusts", "user"].edge_index = trusts

    # An item's categories come from all rows: a repeated rating may name another category.
    member = is_first(item, category)
    item, category = item[member], category[member]
    data["item", "in", "category"].edge_index = edges(item, category)

    return data, {
        "rows_read": len(rows),
        "duplicates_dropped": int((~first).sum()),
        "trust_rows_read": len(trust),
        "trust_self_loops_dropped": loops,
        "trust_duplicates_dropped": repeats,
        "users_without_interactions": len(users.raw) - len(np.unique(user)),
        "items_with_several_categories": int((np.bincount(item) > 1).sum()),
        "ratings_of_zero": int((rating == 0).sum()),
    }
