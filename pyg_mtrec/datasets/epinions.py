from pathlib import Path
from typing import ClassVar

from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._base import Layouts, RawDataset, Report
from pyg_mtrec.datasets._download import CONSISREC, RawFile
from pyg_mtrec.datasets._raw_ids import encode_strings
from pyg_mtrec.datasets._trust import read_trust_network


class Epinions(RawDataset):
    r"""Product reviews of epinions.com with a web of trust.

    Collected by Tang, Gao and Liu for `"mTrust: Discerning Multi-Faceted Trust in a Connected
    World" <https://doi.org/10.1145/2124295.2124309>`_ (WSDM 2012); the *Epinion* of
    `"Personalized Multi-task Training for Recommender System"
    <https://arxiv.org/abs/2407.21364>`_.

    Relations: :obj:`(user, interacts, item)` with :obj:`rating` 1 to 5, directed
    :obj:`(user, trusts, user)` from the first to the second column of the file (which does not say
    which of them trusts), and :obj:`(item, in, category)`, of which 577 items have several edges.
    There are no times.

    A user may have rated an item several times; the first row is kept. Self loops and repetitions
    of trust are dropped. Every user whom some relation mentions is a node, also user 21354, who
    has trust but no rating. :obj:`dataset.report` holds the counts. :obj:`raw_id_tables` of the
    graph holds the names of the categories: row :math:`r` is the name of raw id :math:`r`.

    Raw files: ``rating.mat``, ``trustnetwork.mat``, ``category.txt``. They are read from
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
        >>> dataset = Epinions("data/epinions")  # doctest: +SKIP
        >>> dataset[0]["user", "trusts", "user"].num_edges  # doctest: +SKIP
        355503

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
        * - 22,165
          - 296,277
          - 27
          - 912,441
          - 355,503
          - 922,267
    """

    name = "epinions"
    default_tasks = ("bpr", "social", "same-category")
    default_split = "random"
    layouts: ClassVar[Layouts] = {
        "mat": (
            RawFile(
                "rating.mat",
                f"{CONSISREC}/data/epinions/rating.mat",
                ("4fe1dd12896dbfc3d2b3e696c749947382d9725add4545cb6c44ee11c8e22159",),
            ),
            RawFile(
                "trustnetwork.mat",
                f"{CONSISREC}/data/epinions/trustnetwork.mat",
                ("9cd648ab98c2e02799bfed0ae186dbc8736e97178d18bf471cc168770f39cf0a",),
            ),
            RawFile(
                "category.txt",
                f"{CONSISREC}/data/epinions/category.txt",
                ("45c8d398a53e6d8eff36aaf237e717b37a1b61cae8ab8c484c9b7c0fb7bfeaaa",),
            ),
        )
    }

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        data, report = read_trust_network(raw, ("user", "item", "category", "rating"), 1)
        names = _category_names(raw / "category.txt")
        used = data["category"].raw_id.tolist()
        unnamed = [raw_id for raw_id in used if raw_id not in names]
        if unnamed:
            raise InputError(
                f"'{raw / 'category.txt'}' has no name for category {unnamed[0]} of 'rating.mat':"
                " place the whole file there"
            )
        # Row r of the table is the name of raw id r, so that a raw id is also its row.
        table = [names.get(raw_id, "") for raw_id in range(used[-1] + 1)]
        data.raw_id_tables = {"category": encode_strings(table)}
        return data, report


def _category_names(path: Path) -> dict[int, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read as text ({error})") from error
    names: dict[int, str] = {}
    for number, line in enumerate(lines, start=1):
        raw_id, _, name = line.strip().partition(" ")
        if not raw_id.isdecimal() or not name or int(raw_id) in names:
            raise InputError(
                f"'{path}', line {number}: needs a new category id and its name (got '{line[:40]}')"
            )
        names[int(raw_id)] = name.strip()
    return names
