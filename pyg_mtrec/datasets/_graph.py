import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec.datasets._tables import Integers


class Ids:
    r"""Contiguous ids for raw ones, in the raw ids' order.

    Args:
        columns: Every column that mentions raw ids of this node type; each id becomes a node.
    """

    def __init__(self, *columns: Integers) -> None:
        self.raw = np.unique(np.concatenate([np.unique(column) for column in columns]))

    def __call__(self, column: Integers) -> Integers:
        return np.searchsorted(self.raw, column)

    def write(self, data: HeteroData, node_type: str) -> None:
        r"""Adds the nodes to the graph."""
        data[node_type].num_nodes = len(self.raw)
        data[node_type].raw_id = torch.from_numpy(self.raw)


def is_first(src: Integers, dst: Integers) -> npt.NDArray[np.bool_]:
    r"""Marks the first row of every (source, destination) pair of contiguous ids."""
    width = int(dst.max(initial=0)) + 1
    first: npt.NDArray[np.bool_] = ~pd.Series(src * width + dst).duplicated().to_numpy(bool)
    return first


def links(src: Integers, dst: Integers) -> tuple[Tensor, int, int]:
    r"""Returns the edges between nodes of one type without self loops and repetitions.

    Returns:
        The edge index :math:`[2, E]` and the numbers of self loops and of repetitions dropped.
    """
    proper = src != dst
    src, dst = src[proper], dst[proper]
    first = is_first(src, dst)
    loops, repeats = int((~proper).sum()), int((~first).sum())
    return edges(src[first], dst[first]), loops, repeats


def edges(src: Integers, dst: Integers) -> Tensor:
    r"""Returns the edge index :math:`[2, E]` as int64."""
    return torch.from_numpy(np.stack([src, dst]).astype(np.int64))


def published_split(
    user: Integers, item: Integers, num_train: int
) -> tuple[npt.NDArray[np.bool_], Tensor, dict[str, int]]:
    r"""Deduplicates rows of which the first ``num_train`` are for training, the others for test.

    Returns:
        The mark of the rows to keep, the split (0 training, 2 test) of the kept rows, and the
        counts for the report. A test pair that training holds already is dropped.
    """
    first = is_first(user, item)
    is_train = np.arange(len(user)) < num_train
    split = torch.from_numpy(np.where(is_train, 0, 2).astype(np.int8)[first])
    # dropped test rows that still repeat when only the test rows are looked at are mere repetitions
    again = int((~is_first(user[num_train:], item[num_train:])).sum())
    in_train = int((~first & ~is_train).sum()) - again
    return (
        first,
        split,
        {
            "rows_read": len(user),
            "duplicates_dropped": int((~first).sum()) - in_train,
            "test_pairs_in_training_dropped": in_train,
            "users_without_training": len(np.setdiff1d(user, user[:num_train])),
            "items_without_training": len(np.setdiff1d(item, item[:num_train])),
        },
    )
