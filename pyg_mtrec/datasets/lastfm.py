from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import HeteroData

from pyg_mtrec.datasets._base import Layouts, RawDataset, Report
from pyg_mtrec.datasets._download import LIGHTGCN, RawFile
from pyg_mtrec.datasets._graph import Ids, edges, links, published_split
from pyg_mtrec.datasets._tables import Table


class LastFM(RawDataset):
    r"""Artists that users of last.fm listened to, with mutual friendships.

    From the `HetRec 2011 workshop <https://doi.org/10.1145/2043932.2044016>`_, in the split that
    comes with the code of `"LightGCN: Simplifying and Powering Graph Convolution Network for
    Recommendation" <https://arxiv.org/abs/2002.02126>`_ (SIGIR 2020).

    Relations: :obj:`(user, interacts, item)` with :obj:`split` (0 training, 2 test) and
    :obj:`rating`, and :obj:`(user, befriends, user)` with both directions of every friendship.

    .. note::
        :obj:`rating` is a **play count** from 1 to 324,660, not a grade. There are no times.

    A pair that repeats is kept once, the first row, and a test pair that training holds already is
    dropped. 2 users and 13 items of the test rows have no training row, 12 users no row at all.
    :obj:`dataset.report` holds the counts.

    Raw files: ``data1.txt`` (training), ``test1.txt``, ``trustnetwork.txt``. They are read from
    ``root/raw`` or else downloaded. For research use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = LastFM("data/lastfm")  # doctest: +SKIP
        >>> dataset[0]["user", "befriends", "user"].num_edges  # doctest: +SKIP
        25434

    **STATS:**

    .. list-table::
        :widths: 12 12 16 16 16
        :header-rows: 1

        * - #users
          - #items
          - #training
          - #test
          - #friend edges
        * - 1,892
          - 4,489
          - 42,135
          - 10,533
          - 25,434
    """

    name = "lastfm"
    default_tasks = ("bpr", "social")
    default_split = "given"
    layouts: ClassVar[Layouts] = {
        "split": (
            RawFile(
                "data1.txt",
                f"{LIGHTGCN}/data/lastfm/data1.txt",
                ("c82af3228cbbda2f55a39244de09ed93292894f1d0d9f1908ebb57e27598fded",),
            ),
            RawFile(
                "test1.txt",
                f"{LIGHTGCN}/data/lastfm/test1.txt",
                ("de4417c0e6123284ce59a0934bcf5288ec1ec8774a18a1eef453c9952dfa48f9",),
            ),
            RawFile(
                "trustnetwork.txt",
                f"{LIGHTGCN}/data/lastfm/trustnetwork.txt",
                ("5b5bd7cbe4d22f3cd333dbfc7ec4b995cb2bdb28d95b0e9c5fc5607079f7b69e",),
            ),
        )
    }

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        columns = ("user", "item", "count")
        parts = [Table(raw / name, columns, header=False) for name in ("data1.txt", "test1.txt")]
        friends = Table(raw / "trustnetwork.txt", ("user", "friend"), header=False)
        raw_user = np.concatenate([part.integers("user", 1) for part in parts])
        raw_item = np.concatenate([part.integers("item", 1) for part in parts])
        # Some counts are written as 3.2466e+05, so they are read as floating-point numbers.
        count = np.concatenate([part.floats("count") for part in parts])
        num_train = len(parts[0].integers("user", 1))
        raw_friends = friends.integers("user", 1), friends.integers("friend", 1)

        data = HeteroData()
        users, items = Ids(raw_user, *raw_friends), Ids(raw_item)
        users.write(data, "user")
        items.write(data, "item")
        user, item = users(raw_user), items(raw_item)
        first, split, report = published_split(user, item, num_train)
        store = data["user", "interacts", "item"]
        store.edge_index = edges(user[first], item[first])
        store.rating = torch.from_numpy(count[first].astype(np.float32))
        store.split = split
        befriends, loops, repeats = links(users(raw_friends[0]), users(raw_friends[1]))
        data["user", "befriends", "user"].edge_index = befriends

        return data, {
            **report,
            "friend_rows_read": len(raw_friends[0]),
            "friend_self_loops_dropped": loops,
            "friend_duplicates_dropped": repeats,
            "users_without_interactions": len(users.raw) - len(np.unique(user)),
        }
