from typing import ClassVar

from pyg_mtrec.datasets._base import Layouts
from pyg_mtrec.datasets._download import LIGHTGCN, RawFile
from pyg_mtrec.datasets._lightgcn import LightGCNFormat


class AmazonBook(LightGCNFormat):
    r"""Books that users reviewed on Amazon.

    In the split of `"LightGCN: Simplifying and Powering Graph Convolution Network for
    Recommendation" <https://arxiv.org/abs/2002.02126>`_ (SIGIR 2020).

    Relation: :obj:`(user, interacts, item)` with :obj:`split` (0 training, 2 test). There are no
    ratings and no times, so that only random splits and the given one are possible.

    A pair that repeats is kept once, and a test pair that training holds already is dropped.
    :obj:`dataset.report` holds the counts.

    Raw files: ``train.txt``, ``test.txt``, lines ``user item item ...`` separated by spaces.
    They are read from ``root/raw`` or else downloaded. For research use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = AmazonBook("data/amazon_book")  # doctest: +SKIP
        >>> dataset[0]["user", "interacts", "item"].num_edges  # doctest: +SKIP
        2984108

    **STATS:**

    .. list-table::
        :widths: 12 12 16 16
        :header-rows: 1

        * - #users
          - #items
          - #training
          - #test
        * - 52,643
          - 91,599
          - 2,380,730
          - 603,378
    """

    name = "amazon_book"
    layouts: ClassVar[Layouts] = {
        "split": (
            RawFile(
                "train.txt",
                f"{LIGHTGCN}/data/amazon-book/train.txt",
                git_blob="6ef55159c5f1fd7f6d86eb9ff290d0cc2854ac99",
            ),
            RawFile(
                "test.txt",
                f"{LIGHTGCN}/data/amazon-book/test.txt",
                ("6250754994dd953b91b48dccdd77a73f318e0634b4757c2abfcc9d33a54ab0f5",),
            ),
        )
    }
