"""From the user's tables to the nodes and edges of a graph."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._features import Features
from pyg_mtrec.datasets._node_ids import number
from pyg_mtrec.datasets._raw_ids import decode, encode_strings
from pyg_mtrec.datasets._user_table import IdColumn, Integers, UserTable

Report: TypeAlias = dict[str, int | str]


class Rows:
    r"""A table, and its columns of ids: both ends of a link, or the node that a row describes."""

    def __init__(self, table: UserTable, *columns: IdColumn) -> None:
        self.table = table
        self.columns = columns

    def of(self, node_type: str) -> Integers:
        r"""Returns the distinct nodes of a type."""
        found = [column.nodes for column in self.columns if column.node_type == node_type]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def add_nodes(
    data: HeteroData, tables: Sequence[Rows], sizes: Mapping[str, int | None], report: Report
) -> None:
    r"""Numbers the nodes that the tables mention, in the order of their raw ids."""
    columns = [column for rows in tables for column in rows.columns]
    texts: dict[str, dict[str, Tensor]] = {}
    for node_type in dict.fromkeys(column.node_type for column in columns):
        own = [column for column in columns if column.node_type == node_type]
        raw, nodes = number(own, sizes.get(node_type))
        for column, rows in zip(own, nodes, strict=True):
            column.nodes = rows
        data[node_type].num_nodes = len(raw)
        if isinstance(raw, list):
            texts[node_type] = encode_strings(raw)
            raw = np.arange(len(raw))
        data[node_type].raw_id = torch.from_numpy(raw)
        report[f"{node_type}_ids"] = "strings" if node_type in texts else "integers"
    if texts:
        data.raw_id_tables = texts


def add_edges(
    data: HeteroData,
    key: EdgeType,
    rows: Rows,
    attributes: Mapping[str, str],
    report: Report,
    repeats: bool = False,
) -> NDArray[np.bool_]:
    r"""Adds a relation; returns which rows of its table are edges.

    Args:
        data: The graph.
        key: The relation.
        rows: Its table.
        attributes: Columns of ``rating`` and ``time``, read if they are there.
        report: Where counts go.
        repeats: Whether pairs that repeat are edges each time.
    """
    src, dst = (column.nodes for column in rows.columns)
    proper = src != dst if key[0] == key[2] else np.ones(len(src), bool)
    repeated = pd.Series(src * data[key[2]].num_nodes + dst).duplicated().to_numpy(bool)
    keep: NDArray[np.bool_] = proper if repeats else proper & ~repeated
    store = data[key]
    store.edge_index = torch.from_numpy(np.stack((src[keep], dst[keep])))
    for name, column in attributes.items():
        if column in rows.table:
            read = rows.table.ratings if name == "rating" else rows.table.times
            store[name] = torch.from_numpy(read(column)[keep])
    report[f"{key[1]}_rows_read"] = len(src)
    if repeats:
        report[f"{key[1]}_repeated_pairs"] = int(repeated.sum())
    else:
        report[f"{key[1]}_duplicates_dropped"] = int((proper & ~keep).sum())
    if key[0] == key[2]:
        report[f"{key[1]}_self_loops_dropped"] = int((~proper).sum())
    return keep


def add_features(data: HeteroData, rows: Rows, report: Report) -> None:
    r"""Adds the features of one type's nodes, of which a table has one row each."""
    (column,) = rows.columns
    twice = pd.Series(column.nodes).duplicated().to_numpy(bool)
    if twice.any():
        row = int(np.argmax(twice))
        value = column.values[int(column.codes[row])]
        rows.table.blame(row, f"'{column.name}' is there twice (got {value}): keep one row each")
    names = [str(name) for name in rows.table.frame.columns if name != column.name]
    size = data[column.node_type].num_nodes
    Features.read(rows.table, names).spread(column.nodes, size).write(data[column.node_type])
    report[f"{column.node_type}_features_rows_read"] = len(column.nodes)
    report[f"{column.node_type}s_without_features"] = size - len(column.nodes)


def count_unseen(
    data: HeteroData, node_type: str, main: Rows, others: Sequence[Rows], report: Report
) -> None:
    r"""Counts nodes without interactions; refuses a table that knows none of the others."""
    known = main.of(node_type)
    for rows in others:
        own = rows.of(node_type)
        if len(own) and not np.isin(own, known, assume_unique=True).any():
            raise InputError(
                f"{rows.table.label} shares no {node_type} with {main.table.label}"
                f" (e.g. {decode(data, node_type, torch.from_numpy(own[:1]))[0]!r} against"
                f" {decode(data, node_type, torch.from_numpy(known[:1]))[0]!r}): use the same ids"
            )
    report[f"{node_type}s_without_interactions"] = data[node_type].num_nodes - len(known)
