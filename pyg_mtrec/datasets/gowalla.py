from typing import ClassVar

from pyg_mtrec.datasets._base import Layouts
from pyg_mtrec.datasets._download import LIGHTGCN, RawFile
from pyg_mtrec.datasets._lightgcn import LightGCNFormat


class Gowalla(LightGCNFormat):
    r"""Check-ins of users at places of the location-based network Gowalla.

    In the split of `"LightGCN: Simplifying and Powering Graph Convolution Network for
    Recommendation" <https://arxiv.org/abs/2002.02126>`_ (SIGIR 2020).

    Relation: :obj:`(user, interacts, item)` with :obj:`split` (0 training, 2 test). There are no
    ratings and no times, so that only random splits and the given one are possible.

    A pair that repeats is kept once, and a test pair that training holds already is dropped; the
    published files have neither. :obj:`dataset.report` holds the counts.

    Raw files: ``train.txt``, ``test.txt``, lines ``user item item ...`` separated by spaces.
    The order of the items in a line carries nothing: both the original ``train.txt`` and the copy
    with sorted items are known. They are read from ``root/raw`` or else downloaded. For research
    use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = Gowalla("data/gowalla")  # doctest: +SKIP
        >>> dataset[0]["user", "interacts", "item"].num_edges  # doctest: +SKIP
        1027370

    **STATS:**

    .. list-table::
        :widths: 12 12 16 16
        :header-rows: 1

        * - #users
          - #items
          - #training
          - #test
        * - 29,858
          - 40,981
          - 810,128
          - 217,242
    """

    name = "gowalla"
    layouts: ClassVar[Layouts] = {
        "split": (
            RawFile(
                "train.txt",
                f"{LIGHTGCN}/data/gowalla/train.txt",
                # the sorted copy; of the original only git's id is known
                ("0f086326b28a56c2e6dcb81d86ee72d4ccb7eed3a8d26788392356d8f51111cc",),
                "a27782bd7a1d4d0744148dc0460ea94da74763f2",
            ),
            RawFile(
                "test.txt",
                f"{LIGHTGCN}/data/gowalla/test.txt",
                ("099a2a73924e4b754dc6efd730d764f492321b53c38eb93298850c83acf57be3",),
            ),
        )
    }
