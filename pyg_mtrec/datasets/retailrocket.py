from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._base import Layouts, RawDataset, Report
from pyg_mtrec.datasets._download import SSLREC, RawFile
from pyg_mtrec.datasets._graph import Ids, edges, is_first
from pyg_mtrec.datasets._matrices import read_matrix
from pyg_mtrec.datasets._tables import Integers, Table

_FOLDER = f"{SSLREC}/datasets/multi_behavior/retail_rocket"
_VIEW, _CART, _BUY = range(3)


class Retailrocket(RawDataset):
    r"""What visitors of a web shop viewed, put into the cart and bought, with the times.

    The `Retailrocket <https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset>`_ log of four
    and a half months of 2015, cut down to users who bought, as it comes with `"SSLRec: A
    Self-Supervised Learning Framework for Recommendation" <https://arxiv.org/abs/2308.05697>`_
    (WSDM 2024).

    Relations: :obj:`(user, views, item)`, :obj:`(user, carts, item)` and :obj:`(user, buys, item)`
    with :obj:`time` in seconds since 1970, sorted by it; and :obj:`(user, interacts, item)`, the
    pairs that were bought, with :obj:`split` (0 training, 2 test) and without times. Behaviours are
    turned into impressions with targets by :class:`~pyg_mtrec.transforms.DrawImpressions`, and into
    sequences by :class:`~pyg_mtrec.loader.BehaviourSequences`.

    .. warning::
        * The test rows are one purchase of every user, said to be the last one, and have **no
          time**. Their pairs were taken out of all three behaviours, so whether a test item was
          viewed or put into the cart before is not known, and no test item is in its user's
          sequences. 208 test items have no event in training at all. What came after the test
          purchase can't be told from what came before: 54 % of the users have training events that
          are later than their last training purchase.
        * A user has at most one event per item and behaviour. Which of several views is kept is not
          known: 3,268 of the 12,456 carts come before the only view of their pair. A purchase
          without a view (1,128) or without a cart (772) is nothing unusual.
        * Users are those who bought something, so no rate here is one of the shop. One of them has
          3,808 views.

    A row that repeats is kept once, and a test pair that training holds in any behaviour is
    dropped; the published files have none of these. :obj:`dataset.report` holds the counts.

    Raw files, the first of these that is complete in ``root/raw``:

    * ``train.tsv`` (``user item behaviour time``, behaviour 0 view, 1 cart, 2 purchase) and
      ``test.tsv`` (``user item``), tab-separated with a header. No public file has these columns
      together, so they are never downloaded.
    * ``train_mat_view.pkl``, ``train_mat_cart.pkl``, ``train_mat_buy.pkl`` and ``test_mat.pkl``,
      downloaded if nothing is there: the same events as pickled sparse matrices. Since a pickle can
      run code, they are read only if their bytes are the published ones, and then nothing but
      arrays is made from them.

    For research use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = Retailrocket("data/retailrocket")  # doctest: +SKIP
        >>> dataset[0]["user", "carts", "item"].num_edges  # doctest: +SKIP
        12456

    **STATS:**

    .. list-table::
        :widths: 12 12 16 16 16 12
        :header-rows: 1

        * - #users
          - #items
          - #views
          - #carts
          - #buys
          - #test
        * - 2,174
          - 30,113
          - 75,374
          - 12,456
          - 9,551
          - 2,174
    """

    name = "retailrocket"
    default_tasks = ("bpr",)
    default_split = "given"
    #: Relations of events, in the order of their codes in the file.
    behaviours: ClassVar[tuple[str, ...]] = ("views", "carts", "buys")
    #: Behaviours to predict, and the names of their targets.
    behaviour_targets: ClassVar[Mapping[str, str]] = {"carts": "cart", "buys": "buy"}
    layouts: ClassVar[Layouts] = {
        "tables": (
            RawFile(
                "train.tsv",
                None,
                ("d4623a44ea75a4c70b9bf571cffdee2ba1475b6e144ebbd97b5372c3d95dbb59",),
            ),
            RawFile(
                "test.tsv",
                None,
                ("3b37de5cce6c5b0ba2c54de0ea49413fb560c60b17fde0790a0ac88595c6f3a1",),
            ),
        ),
        "matrices": tuple(
            RawFile(name, f"{_FOLDER}/{name}", (sha256,))
            for name, sha256 in (
                (
                    "train_mat_view.pkl",
                    "a2cc3b40b93cc65c92cd92802d10e0410dfd0d9b9ae295e80a8e738958f18419",
                ),
                (
                    "train_mat_cart.pkl",
                    "354822257ad20abee92fc9970755a70ad6725328e3318be62419244aecc45616",
                ),
                (
                    "train_mat_buy.pkl",
                    "7a82e52e84199fa5c038df73bb5aacbe82d675663cbf404110050f676b45ee3f",
                ),
                (
                    "test_mat.pkl",
                    "9bdb5afddca322712f4b0c3a1a2ed981eb4241c4c04da1ab871e7ce1ce424502",
                ),
            )
        ),
    }

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        user, item, behaviour, time, test_user, test_item = (
            self._matrices(raw) if self.layout == "matrices" else _tables(raw)
        )
        data = HeteroData()
        users, items = Ids(user, test_user), Ids(item, test_item)
        users.write(data, "user")
        items.write(data, "item")
        user, item, test_user, test_item = (
            users(user),
            items(item),
            users(test_user),
            items(test_item),
        )
        report: Report = {"rows_read": len(user) + len(test_user)}
        events = pd.DataFrame({"time": time, "user": user, "item": item, "behaviour": behaviour})
        events = events.drop_duplicates().sort_values(["time", "user", "item"], kind="stable")
        new = is_first(test_user, test_item)
        report["duplicates_dropped"] = len(user) - len(events) + int((~new).sum())
        pairs = {}
        for code, name in enumerate(self.behaviours):
            own = events[events.behaviour == code]
            store = data["user", name, "item"]
            store.edge_index = edges(own.user.to_numpy(), own.item.to_numpy())
            store.time = torch.from_numpy(own.time.to_numpy(np.int64, copy=True))
            pairs[code] = np.unique(_keys(own.user.to_numpy(), own.item.to_numpy(), items))
            report[name] = len(own)
        report["buys_without_view"] = len(np.setdiff1d(pairs[_BUY], pairs[_VIEW]))
        report["buys_without_cart"] = len(np.setdiff1d(pairs[_BUY], pairs[_CART]))

        known = np.isin(_keys(test_user, test_item, items), np.concatenate([*pairs.values()]))
        report["test_pairs_in_training_dropped"] = int((known & new).sum())
        test_user, test_item = test_user[new & ~known], test_item[new & ~known]
        report["test_pairs"] = len(test_user)
        report["test_items_without_training"] = len(np.setdiff1d(test_item, item))
        bought = divmod(pairs[_BUY], len(items.raw))
        store = data["user", "interacts", "item"]
        store.edge_index = edges(
            np.concatenate([bought[0], test_user]), np.concatenate([bought[1], test_item])
        )
        split = np.repeat([0, 2], [len(bought[0]), len(test_user)])
        store.split = torch.from_numpy(split.astype(np.int8))
        return data, report

    def _matrices(self, raw: Path) -> tuple[Integers, ...]:
        if not self.known:
            files = {file.name: file for file in self._asked[self.layout]}
            name = next(n for n, sha in self.raw_sha256.items() if sha not in files[n].sha256)
            raise InputError(
                f"'{raw / name}' has other bytes than the published file, and a pickle can run"
                " code: place the published files there, or 'train.tsv' and 'test.tsv'"
            )
        *parts, test = (read_matrix(raw / name) for name in self.raw_file_names)
        behaviour = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        user, item, time = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return user, item, behaviour, time, test[0], test[1]


def _tables(raw: Path) -> tuple[Integers, ...]:
    train = Table(raw / "train.tsv", ("user", "item", "behaviour", "time"))
    test = Table(raw / "test.tsv", ("user", "item"))
    behaviour = train.integers("behaviour")
    if (behaviour > _BUY).any():
        row = int(np.argmax(behaviour > _BUY))
        raise train.error(row, f"'behaviour' needs to be 0, 1 or 2 (got {behaviour[row]})")
    columns = (train.integers(name) for name in ("user", "item", "time"))
    user, item, time = columns
    return user, item, behaviour, time, test.integers("user"), test.integers("item")


def _keys(user: Integers, item: Integers, items: Ids) -> Integers:
    return user * len(items.raw) + item
