from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._columns import labels, levels, numbers, refuse_constant
from pyg_mtrec.datasets._features import Features
from pyg_mtrec.datasets._links import (
    Report,
    Rows,
    add_edges,
    add_features,
    add_nodes,
    count_unseen,
)
from pyg_mtrec.datasets._user_table import Table, UserTable

_MAIN: EdgeType = ("user", "interacts", "item")
_KINDS = ("binary", "continuous")


def from_tables(
    interactions: Table,
    social: Table | None = None,
    item_groups: Table | None = None,
    *,
    relations: Mapping[EdgeType, Table] | None = None,
    targets: Mapping[str, Literal["binary", "continuous"]] | None = None,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    user_features: Table | None = None,
    item_features: Table | None = None,
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

    With ``targets`` a row of ``interactions`` is an *impression*: what was shown to whom, and what
    came of it, for the heads and :class:`~pyg_mtrec.transforms.SplitImpressions`. Pairs that repeat
    are then kept. This serves any table whose rows are to be predicted: one of a census gets a
    column ``user`` that is the same everywhere (or the number of the row, if nothing else is to
    share parameters) and a column ``item`` of few values, such as the occupation; the columns that
    describe a row are ``categorical`` and ``numeric``.

    .. warning::
        A column that is known only *after* the fact, such as how long somebody watched, is a
        target and never a feature. Nothing here can tell.

    Args:
        interactions: What users did with items. ``rating`` is a number; ``time`` a number, kept as
            it is without its fraction, or an ISO 8601 date, turned into seconds since 1970 (UTC).
        social: Links between users.
        item_groups: Categories of items, one row for each pair.
        relations: Further tables by edge type, such as ``('user', 'views', 'item')``,
            ``('item', 'also_viewed', 'item')`` or ``('item', 'by', 'brand')``.
        targets: Columns of ``interactions`` that are to be predicted, as names and kinds, in the
            order of the chain (clicked, bought, amount). A ``"binary"`` one holds 0 and 1, a
            ``"continuous"`` one finite numbers; an empty cell is unlabelled (NaN).
        categorical: Columns of ``interactions`` that are features of the row, by their distinct
            values.
        numeric: Columns of ``interactions`` that are features of the row, by their numbers.
        user_features: One row per user with the column ``user``; columns of numbers are numeric,
            all others are categorical. A cell may be empty, and a user may have no row.
        item_features: The same of items.
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
        The graph. ``('user', 'interacts', 'item')`` has, if asked for, ``target`` :math:`[E, K]`
        float32 with ``target_names`` and ``target_kinds``. There and on the nodes features are
        ``categorical`` :math:`[n, F]` int64 (-1 where missing) with ``categorical_names`` and the
        sorted ``categorical_levels`` by name, and ``numeric`` :math:`[n, F]` float32 (NaN where
        missing) with ``numeric_names``.

    Raises:
        InputError: If a table is missing or empty, lacks a column, or holds a missing or negative
            id, an id beyond ``num_users`` or ``num_items``, a rating that is no finite number, a
            time that cannot be read, a label or number of another kind, a target that is the same
            everywhere, or two rows of features for one node. Names the table and the row, counted
            from 1 below the names.

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

        Impressions with two targets, one of them without a label once:

        >>> data = from_tables(
        ...     pd.DataFrame({
        ...         "user": [1, 2, 1], "item": [5, 5, 5], "device": ["tv", "phone", "tv"],
        ...         "click": [1, 0, 1], "seconds": [8.5, 0, None],
        ...     }),
        ...     targets={"click": "binary", "seconds": "continuous"},
        ...     categorical=["device"],
        ...     user_features=pd.DataFrame({"user": [2], "age": [31]}),
        ... )
        >>> store = data["user", "interacts", "item"]
        >>> store.target.tolist(), store.categorical.tolist(), store.categorical_levels
        ([[1.0, 8.5], [0.0, 0.0], [1.0, nan]], [[1], [0], [1]], {'device': ['phone', 'tv']})
        >>> data["user"].numeric.tolist()
        [[nan], [31.0]]
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

    kinds = _checked_targets(targets or {})
    attributes = {"rating": rating or "rating", "time": time or "time"}
    # A target is no attribute of what messages travel.
    optional = {name: column for name, column in attributes.items() if column not in kinds}
    needed = [name for name in (rating, time) if name is not None]
    needed += [*kinds, *categorical, *numeric]
    links: dict[EdgeType, Rows] = {}
    for key, (label, source, first, second) in asked.items():
        more = needed if key == _MAIN else ()
        table = UserTable(source, label, (first, second), more, list(attributes.values()), sep)
        links[key] = Rows(table, table.ids(first, key[0]), table.ids(second, key[2]))
    described: list[Rows] = []
    for label, source, column, node_type in (
        ("user_features", user_features, user, "user"),
        ("item_features", item_features, item, "item"),
    ):
        if source is not None:
            table = UserTable(source, label, (column,), optional=None, sep=sep)
            described.append(Rows(table, table.ids(column, node_type)))

    data = HeteroData()
    report: Report = {}
    main = links[_MAIN]
    add_nodes(data, [*links.values(), *described], {"user": num_users, "item": num_items}, report)
    for key, rows in links.items():
        if key == _MAIN:
            keep = add_edges(data, key, rows, optional, report, repeats=bool(kinds))
            _describe(data, rows.table, keep, kinds, categorical, numeric)
        else:
            add_edges(data, key, rows, attributes, report)
    for rows in described:
        add_features(data, rows, report)
    for node_type in ("user", "item"):
        count_unseen(data, node_type, main, [*links.values(), *described], report)
    data.report = report
    return data


_Asked: TypeAlias = tuple[str, Table, str, str]  # label, table, columns of both ends


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


def _checked_targets(targets: Mapping[str, str]) -> dict[str, str]:
    for name, kind in targets.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(
                f"a target needs a column whose name is an identifier (got {name!r}): rename it"
            )
        if kind not in _KINDS:
            raise InputError(f"the target '{name}' needs to be one of {_KINDS} (got {kind!r})")
    return dict(targets)


def _describe(
    data: HeteroData,
    table: UserTable,
    keep: NDArray[np.bool_],
    targets: Mapping[str, str],
    categorical: Sequence[str],
    numeric: Sequence[str],
) -> None:
    r"""Adds the targets and the features of the rows that are edges."""
    store = data[_MAIN]
    if targets:
        columns = {name: labels(table, name, kind) for name, kind in targets.items()}
        for name, value in columns.items():
            refuse_constant(table.label, name, value)
        value = np.stack(list(columns.values()), axis=1).astype(np.float32)
        store.target = torch.from_numpy(value)  # [E, K]
        store.target_names, store.target_kinds = list(targets), list(targets.values())
    features = Features(
        {name: levels(table, name) for name in categorical},
        {name: numbers(table, name) for name in numeric},
    )
    features.take(np.flatnonzero(keep)).write(store)
