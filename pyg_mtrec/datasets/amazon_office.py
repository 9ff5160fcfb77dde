from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import HeteroData

from pyg_mtrec.datasets._base import Layouts, RawDataset, Report
from pyg_mtrec.datasets._download import POPULARITY_BIAS, RawFile
from pyg_mtrec.datasets._graph import Ids, edges, is_first
from pyg_mtrec.datasets._tables import Table


class AmazonOffice(RawDataset):
    r"""Reviews of office products on Amazon up to 2014, 5-core.

    Collected by McAuley et al. for `"Image-Based Recommendations on Styles and Substitutes"
    <https://arxiv.org/abs/1506.04757>`_ (SIGIR 2015); the *Office* of `"Personalized Multi-task
    Training for Recommender System" <https://arxiv.org/abs/2407.21364>`_.

    Relation: :obj:`(user, interacts, item)` with :obj:`rating` 1 to 5 and :obj:`time`.

    .. note::
        :obj:`time` is an **order, not a clock**: the position 0, 1, 2, ... of a review among the
        reviews of its user. It orders the items of one user and must not be compared between
        users.

    Raw files, the first of these that is complete in ``root/raw``:

    * ``office.tsv``: tab-separated with the header ``user item rating pos``. No public file has
      these columns together, so it is never downloaded.
    * ``train.txt``, ``val.txt``, ``test.txt``: tab-separated ``user item rating`` without a header,
      downloaded if nothing is there. The three are parts of the same reviews under other ids; their
      split is not by time and is not kept. This layout has **no** :obj:`time`, so that splits by
      time are refused.

    A pair of user and item that repeats is kept once, the first row. For research use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = AmazonOffice("data/amazon_office")  # doctest: +SKIP
        >>> dataset[0]["user", "interacts", "item"].num_edges  # doctest: +SKIP
        53258

    **STATS:**

    .. list-table::
        :widths: 12 12 16 16
        :header-rows: 1

        * - #users
          - #items
          - #interactions
          - #rows read
        * - 4,905
          - 2,420
          - 53,258
          - 53,258
    """

    name = "amazon_office"
    default_tasks = ("bpr", "alignment-uniformity", "rating-regression")
    default_split = "random"
    #: ``time`` orders a user's own interactions; it is no clock common to all users.
    time_is_position: ClassVar[bool] = True
    layouts: ClassVar[Layouts] = {
        "ordered": (
            RawFile(
                "office.tsv",
                None,
                ("dadbc1690337b3f25ef0a9705456441aee745f48418fd9b4fa4d5688f1811303",),
            ),
        ),
        "unordered": (
            RawFile(
                "train.txt",
                f"{POPULARITY_BIAS}/data/office/train.txt",
                ("81bd0f47d36315a18bd99a3f340ee1395da533ca594857f8ac9e4f59d74eba1f",),
            ),
            RawFile(
                "val.txt",
                f"{POPULARITY_BIAS}/data/office/val.txt",
                ("0915733bdc0ad8197a2887ea1edfe95687802fa8aed86fcb00b266650e6f1d37",),
            ),
            RawFile(
                "test.txt",
                f"{POPULARITY_BIAS}/data/office/test.txt",
                ("02dd86420cc4ea5abb5789cf3311bfac64cfd160d7ed1c863d09119ae7bbab0d",),
            ),
        ),
    }

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        ordered = self.layout == "ordered"
        columns = ("user", "item", "rating", "pos") if ordered else ("user", "item", "rating")
        tables = [Table(raw / name, columns, header=ordered) for name in self.raw_file_names]
        raw_user = np.concatenate([table.integers("user") for table in tables])
        raw_item = np.concatenate([table.integers("item") for table in tables])
        rating = np.concatenate([_ratings(table) for table in tables])

        data = HeteroData()
        users, items = Ids(raw_user), Ids(raw_item)
        users.write(data, "user")
        items.write(data, "item")
        user, item = users(raw_user), items(raw_item)
        first = is_first(user, item)
        store = data["user", "interacts", "item"]
        store.edge_index = edges(user[first], item[first])
        store.rating = torch.from_numpy(rating[first].astype(np.float32))
        if ordered:
            store.time = torch.from_numpy(tables[0].integers("pos")[first])
        return data, {"rows_read": len(user), "duplicates_dropped": int((~first).sum())}


def _ratings(table: Table) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    rating = table.floats("rating", minimum=1)
    if (rating > 5).any():
        row = int(np.argmax(rating > 5))
        raise table.error(row, f"'rating' needs to lie in 1..5 (got {rating[row]:g})")
    return rating
