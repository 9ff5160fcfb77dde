from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._node_ids import number
from pyg_mtrec.datasets._raw_ids import decode, encode_strings
from pyg_mtrec.datasets._user_table import IdColumn, Integers, Table, UserTable

_MAIN: EdgeType = ("user", "interacts", "item")


def from_tables(
    interactions: Table,
    social: Table | None = None,
    item_groups: Table | None = None,
    *,
    relations: Mapping[EdgeType, Table] | None = None,
    user: str = "user",
    item: str = "item",
    rating: str | None = None,
    time: str | None = None,
    friend: str = "friend",
    category: str = "category",
    other: str = "other",
    sep: str | None = None,
    num_users: int | None = None,
    num_items: int | None = None,
) -> HeteroData:
    r"""Turns your own tables into a graph, in one call.

    A table is a pandas ``DataFrame`` or the path of a CSV or TSV file whose first line names the
    columns; further columns are ignored.

    - ``interactions`` has the columns ``user``, ``item`` and, if you have them, ``rating`` and
      ``time``. It becomes ``('user', 'interacts', 'item')``.
    - ``social`` has ``user``, ``friend``. It becomes ``('user', 'trusts', 'user')``.
    - ``item_groups`` has ``item``, ``category``. It becomes ``('item', 'in', 'category')``.
    - A table of ``relations`` has one column for each of its two node types, called like them
      (within one node type the second is called ``other``), and may have ``rating`` and ``time``.

    Ids may be integers (not negative) or strings; if a single id of a node type is no integer, in
    any table, all of its ids are strings (``007`` is a string). Nodes are numbered in the order of
    their raw ids, which ``raw_id`` keeps. Users and items that occur in a side table only become
    nodes without interactions; a side table that shares no user or no item with the interactions
    is refused. Of repeated pairs the first is kept; links of a node to itself are dropped. Both,
    and all other counts, stand in ``data.report``.

    Args:
        interactions: What users did with items. ``rating`` is a number; ``time`` a number, kept as
            it is without its fraction, or an ISO 8601 date, turned into seconds since 1970 (UTC).
        social: Links between users.
        item_groups: Categories of items, one row for each pair.
        relations: Further tables by edge type, such as ``('user', 'views', 'item')``,
            ``('item', 'also_viewed', 'item')`` or ``('item', 'by', 'brand')``.
        user: Name of the column of users in all tables.
        item: Name of the column of items in all tables.
        rating: Name of the column of ratings (default: ``"rating"``, if there is one).
        time: Name of the column of times (default: ``"time"``, if there is one).
        friend: Name of the second column of ``social``.
        category: Name of the second column of ``item_groups``.
        other: Name of the second column of a relation within one node type.
        sep: Separator of files (default: tab if the name ends in ``.tsv``, else comma).
        num_users: If given, user ids are rows :math:`0, \dots, \mathrm{num\_users} - 1` already.
        num_items: If given, item ids are rows :math:`0, \dots, \mathrm{num\_items} - 1` already.

    Returns:
        The graph, without features.

    Raises:
        InputError: If a table is missing or empty, lacks a column, or holds a missing or negative
            id, an id beyond ``num_users`` or ``num_items``, a rating that is no finite number, or
            a time that cannot be read. Names the table and the row, counted from 1 below the names.

    Example:
        >>> import pandas as pd
        >>> from pyg_mtrec.datasets import from_tables
        >>> data = from_tables(
        ...     pd.DataFrame({"user": ["ann", "bob", "ann"], "item": [7, 9, 9]}),
        ...     social=pd.DataFrame({"user": ["ann"], "friend": ["cleo"]}),
        ... )
        >>> data["user", "interacts", "item"].edge_index
        tensor([[0, 1, 0],
                [0, 1, 1]])
        >>> data["item"].raw_id, data.report["users_without_interactions"]
        (tensor([7, 9]), 1)
    """
    for name, size in (("num_users", num_users), ("num_items", num_items)):
        if size is not None and size < 1:
            raise InputError(f"'{name}' needs to be positive in 'from_tables' (got {size})")
    named = {"user": user, "item": item, "category": category}
    asked: dict[EdgeType, _Asked] = {_MAIN: ("interactions", interactions, user, item)}
    if social is not None:
        asked["user", "trusts", "user"] = ("social", social, user, friend)
    if item_groups is not None:
        asked["item", "in", "category"] = ("item_groups", item_groups, item, category)
    for edge_type, source in (relations or {}).items():
        src, name, dst = _checked(edge_type, asked)
        second = other if src == dst else named.get(dst, dst)
        asked[src, name, dst] = (name, source, named.get(src, src), second)

    needed = [name for name in (rating, time) if name is not None]
    attributes = {"rating": rating or "rating", "time": time or "time"}
    links = {}
    for key, (label, source, first, second) in asked.items():
        more = needed if key == _MAIN else ()
        table = UserTable(source, label, (first, second), more, list(attributes.values()), sep)
        links[key] = _Links(table, (table.ids(first, key[0]), table.ids(second, key[2])))

    data = HeteroData()
    report: dict[str, int | str] = {}
    _add_nodes(data, links, {"user": num_users, "item": num_items}, report)
    for key, link in links.items():
        _add_edges(data, key, link, attributes, report)
    for node_type in ("user", "item"):
        _count_unseen(data, node_type, links, report)
    data.report = report
    return data


_Asked: TypeAlias = tuple[str, Table, str, str]  # label, table, columns of both ends


class _Links:
    r"""A table of links, and the nodes at both ends of its rows."""

    def __init__(self, table: UserTable, columns: tuple[IdColumn, IdColumn]) -> None:
        self.table = table
        self.columns = columns
        self.nodes: list[Integers] = [column.codes for column in columns]

    def of(self, node_type: str) -> Integers:
        r"""Returns the distinct nodes of a type."""
        ends = zip(self.columns, self.nodes, strict=True)
        found = [nodes for column, nodes in ends if column.node_type == node_type]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)


def _checked(edge_type: EdgeType, asked: Mapping[EdgeType, _Asked]) -> EdgeType:
    parts = edge_type if isinstance(edge_type, tuple) else ()
    if len(parts) != 3 or not all(isinstance(p, str) and p.isidentifier() for p in parts):
        raise InputError(
            "keys of 'relations' need to be edge types of three identifiers, such as"
            f" ('user', 'views', 'item') (got {edge_type!r})"
        )
    if parts[1] in [name for _, name, _ in asked]:
        raise InputError(f"the relation '{parts[1]}' is given twice: rename one in 'relations'")
    return parts


def _add_nodes(
    data: HeteroData,
    links: Mapping[EdgeType, _Links],
    sizes: Mapping[str, int | None],
    report: dict[str, int | str],
) -> None:
    ends = [(link, end) for link in links.values() for end in (0, 1)]
    tables: dict[str, dict[str, Tensor]] = {}
    for node_type in dict.fromkeys(link.columns[end].node_type for link, end in ends):
        own = [(link, end) for link, end in ends if link.columns[end].node_type == node_type]
        raw, nodes = number([link.columns[end] for link, end in own], sizes.get(node_type))
        for (link, end), rows in zip(own, nodes, strict=True):
            link.nodes[end] = rows
        data[node_type].num_nodes = len(raw)
        if isinstance(raw, list):
            tables[node_type] = encode_strings(raw)
            raw = np.arange(len(raw))
        data[node_type].raw_id = torch.from_numpy(raw)
        report[f"{node_type}_ids"] = "strings" if node_type in tables else "integers"
    if tables:
        data.raw_id_tables = tables


def _add_edges(
    data: HeteroData,
    key: EdgeType,
    link: _Links,
    attributes: Mapping[str, str],
    report: dict[str, int | str],
) -> None:
    src, dst = link.nodes
    proper = src != dst if key[0] == key[2] else np.ones(len(src), bool)
    pairs = pd.Series(src * data[key[2]].num_nodes + dst)
    keep = proper & ~pairs.duplicated().to_numpy(bool)
    store = data[key]
    store.edge_index = torch.from_numpy(np.stack((src[keep], dst[keep])))
    for name, column in attributes.items():
        if column in link.table:
            read = link.table.ratings if name == "rating" else link.table.times
            store[name] = torch.from_numpy(read(column)[keep])
    report[f"{key[1]}_rows_read"] = len(src)
    report[f"{key[1]}_duplicates_dropped"] = int((proper & ~keep).sum())
    if key[0] == key[2]:
        report[f"{key[1]}_self_loops_dropped"] = int((~proper).sum())


def _count_unseen(
    data: HeteroData,
    node_type: str,
    links: Mapping[EdgeType, _Links],
    report: dict[str, int | str],
) -> None:
    main = links[_MAIN].of(node_type)
    for link in links.values():
        own = link.of(node_type)
        if len(own) and not np.isin(own, main, assume_unique=True).any():
            raise InputError(
                f"{link.table.label} shares no {node_type} with {links[_MAIN].table.label}"
                f" (e.g. {decode(data, node_type, torch.from_numpy(own[:1]))[0]!r} against"
                f" {decode(data, node_type, torch.from_numpy(main[:1]))[0]!r}): use the same ids"
            )
    report[f"{node_type}s_without_interactions"] = data[node_type].num_nodes - len(main)
