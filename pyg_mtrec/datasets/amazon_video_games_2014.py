import ast
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import HeteroData

from pyg_mtrec.datasets._base import Layouts, RawDataset, Report
from pyg_mtrec.datasets._download import SEQ_REC, RawFile
from pyg_mtrec.datasets._graph import Ids, edges, is_first, links
from pyg_mtrec.datasets._tables import Integers, Table

Links = tuple[Integers, Integers]


class AmazonVideoGames(RawDataset):
    r"""Reviews of video games on Amazon up to 2014, 5-core, with lists of related products.

    Collected by McAuley et al. for `"Image-Based Recommendations on Styles and Substitutes"
    <https://arxiv.org/abs/1506.04757>`_ (SIGIR 2015). This is **not** the 2018 edition that other
    papers call Video Games.

    Relations: :obj:`(user, interacts, item)` with :obj:`time` and :obj:`timestamp`, directed
    :obj:`(item, also_bought, item)` and :obj:`(item, also_viewed, item)` (only 700 items have any),
    and :obj:`(item, in, category)`. There are no ratings.

    .. note::
        :obj:`time` is an **order, not a clock**: the position 0, 1, 2, ... of a review among the
        reviews of its user. It orders the items of one user and must not be compared between
        users. :obj:`timestamp` holds seconds since 1970 where they are known and -1 where they are
        not, which is the case for the last two reviews of every user.

    .. warning::
        *Also bought* was crawled from the shop after the reviews were written. It covers the whole
        period and may tell of purchases that a split holds out for testing.

    Raw files, the first of these that is complete in ``root/raw``:

    * ``interactions_merged.tsv`` (``user item pos time``) and ``item_meta_merged.tsv``
      (``item category also_bought also_viewed ambiguous``). No public file has these columns
      together, so they are never downloaded.
    * ``train.csv`` (``user_id item_id time``) and ``item_meta.csv`` (``item_id i_category
      r_complement r_substitute``), downloaded if nothing is there: the same data under other ids
      **without the last two reviews of every user**, 183,174 in all. Splits that hold out the last
      review hold out another one here.

    All are tab-separated with a header. A pair of user and item that repeats is kept once, the
    first row; self loops and repetitions between items are dropped. :obj:`dataset.report` holds the
    counts. For research use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = AmazonVideoGames("data/amazon_video_games_2014")  # doctest: +SKIP
        >>> dataset[0]["item", "also_bought", "item"].num_edges  # doctest: +SKIP
        488929

    **STATS:**

    .. list-table::
        :widths: 12 12 12 16 16 16
        :header-rows: 1

        * - #users
          - #items
          - #categories
          - #interactions
          - #also bought
          - #also viewed
        * - 24,303
          - 10,672
          - 72
          - 231,780
          - 488,929
          - 10,503
    """

    name = "amazon_video_games_2014"
    default_tasks = ("bpr", "also-viewed", "also-bought")
    default_split = "random"
    #: ``time`` orders a user's own interactions; it is no clock common to all users.
    time_is_position: ClassVar[bool] = True
    layouts: ClassVar[Layouts] = {
        "merged": (
            RawFile(
                "interactions_merged.tsv",
                None,
                ("95f530ddab07c2e764cfb7b7bc09620c41ceae16c86d54b141d1ac80dd79a7c9",),
            ),
            RawFile(
                "item_meta_merged.tsv",
                None,
                ("eb7c8c73f61101308f7085b5471ddecb3d757a1b6a1359819853c484af104bee",),
            ),
        ),
        "public": (
            RawFile(
                "train.csv",
                f"{SEQ_REC}/data/Video_Games/train.csv",
                ("8d4dfd087341675b14c24e9596eb1ab23eb2fbafe98be97d3686354ede28b273",),
            ),
            RawFile(
                "item_meta.csv",
                f"{SEQ_REC}/data/Video_Games/item_meta.csv",
                ("46a3fe4ba691b5209fa93303ff7ccc1d6ae47544d264af414e3d2e4355f432be",),
            ),
        ),
    }

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        paths = [raw / name for name in self.raw_file_names]
        if self.layout == "merged":
            reviews = Table(paths[0], ("user", "item", "pos", "time"))
            raw_user, raw_item = reviews.integers("user", 1), reviews.integers("item", 1)
            order, timestamp = reviews.integers("pos"), reviews.integers("time", missing=-1)
            meta = Table(paths[1], ("item", "category", "also_bought", "also_viewed", "ambiguous"))
            meta_item, raw_category = meta.integers("item", 1), meta.integers("category")
            lists = {name: meta.id_lists(name, 1) for name in ("also_bought", "also_viewed")}
            ambiguous = int(meta.integers("ambiguous").sum())
            _refuse_unknown(meta, "item", (np.arange(len(meta_item)), meta_item), raw_item)
            for name, entries in lists.items():
                _refuse_unknown(meta, name, entries, raw_item)
        else:
            reviews = Table(paths[0], ("user_id", "item_id", "time"))
            raw_user, raw_item = reviews.integers("user_id", 1), reviews.integers("item_id", 1)
            timestamp = reviews.integers("time")
            order = _positions(raw_user, timestamp)
            meta = Table(paths[1], ("item_id", "i_category", "r_complement", "r_substitute"))
            meta_item, raw_category = meta.integers("item_id", 1), meta.integers("i_category")
            lists = {
                "also_bought": _python_lists(meta, "r_complement"),
                "also_viewed": _python_lists(meta, "r_substitute"),
            }
            ambiguous = 0

        data, report = HeteroData(), Report(rows_read=len(raw_user))
        users, categories = Ids(raw_user), Ids(raw_category)
        items = Ids(raw_item, meta_item, *(value for _, value in lists.values()))
        for ids, node_type in ((users, "user"), (items, "item"), (categories, "category")):
            ids.write(data, node_type)
        user, item = users(raw_user), items(raw_item)
        first = is_first(user, item)
        report["duplicates_dropped"] = int((~first).sum())
        report["reviews_without_timestamp"] = int((timestamp[first] < 0).sum())
        store = data["user", "interacts", "item"]
        store.edge_index = edges(user[first], item[first])
        store.time = torch.from_numpy(order[first])
        store.timestamp = torch.from_numpy(timestamp[first])

        for name, (row, value) in lists.items():
            found, loops, repeats = links(items(meta_item[row]), items(value))
            data["item", name, "item"].edge_index = found
            report[f"{name}_self_loops_dropped"] = loops
            report[f"{name}_duplicates_dropped"] = repeats
        member, group = items(meta_item), categories(raw_category)
        new = is_first(member, group)
        data["item", "in", "category"].edge_index = edges(member[new], group[new])
        report["items_without_interactions"] = len(items.raw) - len(np.unique(item))
        report["items_without_category"] = len(items.raw) - len(np.unique(member))
        report["ambiguous_items"] = ambiguous
        return data, report


def _positions(user: Integers, timestamp: Integers) -> Integers:
    r"""Returns the position of every review among its user's, by time, then by row."""
    order = np.lexsort((timestamp, user))
    start = np.flatnonzero(np.diff(user[order], prepend=-1))
    length = np.diff(start, append=len(user))
    position = np.empty(len(user), dtype=np.int64)
    position[order] = np.arange(len(user)) - np.repeat(start, length)
    return position


def _python_lists(meta: Table, column: str) -> Links:
    r"""Returns the row and the value of every entry of a column of lists in Python's notation."""
    rows: list[int] = []
    values: list[int] = []
    for row, text in enumerate(meta.strings(column)):
        try:
            entries = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            entries = None
        if not isinstance(entries, list) or not all(
            type(entry) is int and entry > 0 for entry in entries
        ):
            raise meta.error(row, f"'{column}' needs to be a list of item ids (got '{text[:40]}')")
        rows.extend([row] * len(entries))
        values.extend(entries)
    return np.array(rows, dtype=np.int64), np.array(values, dtype=np.int64)


def _refuse_unknown(meta: Table, column: str, entries: Links, known: Integers) -> None:
    row, value = entries
    unknown = ~np.isin(value, known)
    if unknown.any():
        where = int(np.argmax(unknown))
        raise meta.error(
            int(row[where]),
            f"'{column}' names item {value[where]}, which has no interaction: use the two files"
            " that belong together",
        )
