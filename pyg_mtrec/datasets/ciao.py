from pathlib import Path
from typing import ClassVar

from torch_geometric.data import HeteroData

from pyg_mtrec.datasets._base import Layouts, RawDataset, Report
from pyg_mtrec.datasets._download import CONSISREC, RawFile
from pyg_mtrec.datasets._trust import read_trust_network


class Ciao(RawDataset):
    r"""Product reviews of ciao.co.uk with a web of trust.

    Collected by Tang, Gao and Liu for `"mTrust: Discerning Multi-Faceted Trust in a Connected
    World" <https://doi.org/10.1145/2124295.2124309>`_ (WSDM 2012).

    Relations: :obj:`(user, interacts, item)` with :obj:`rating` 0 to 5 (34 ratings are zero and
    stay so), directed :obj:`(user, trusts, user)` from the first to the second column of the file
    (which does not say which of them trusts), and :obj:`(item, in, category)`. The fifth column
    of the ratings, a code from 1 to 7 whose meaning is not known, is not read into the graph.
    There are no times.

    A user may have rated an item several times; the first row is kept. Self loops and repetitions
    of trust are dropped. :obj:`dataset.report` holds the counts.

    Raw files: ``rating.mat``, ``trustnetwork.mat``. They are read from ``root/raw`` or else
    downloaded. For research use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = Ciao("data/ciao")  # doctest: +SKIP
        >>> dataset[0]["user", "trusts", "user"].num_edges  # doctest: +SKIP
        111781

    **STATS:**

    .. list-table::
        :widths: 12 12 12 16 16 16
        :header-rows: 1

        * - #users
          - #items
          - #categories
          - #interactions
          - #trust
          - #rows read
        * - 7,375
          - 105,114
          - 28
          - 282,650
          - 111,781
          - 284,086
    """

    name = "ciao"
    default_tasks = ("bpr", "social", "same-category")
    default_split = "random"
    layouts: ClassVar[Layouts] = {
        "mat": (
            RawFile(
                "rating.mat",
                f"{CONSISREC}/data/ciao/rating.mat",
                ("aa793568686285a93286ba9e56954fcce347370ad2e58c785760362ab12d2c2c",),
            ),
            RawFile(
                "trustnetwork.mat",
                f"{CONSISREC}/data/ciao/trustnetwork.mat",
                ("0a8963ed22e6b534ce8d14e478f54ce0af6f5a3440a67ed5a35e62486580ce3a",),
            ),
        )
    }

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        return read_trust_network(raw, ("user", "item", "category", "rating", "code"), 0)
