from typing import ClassVar

from pyg_mtrec.datasets._base import Layouts
from pyg_mtrec.datasets._download import LIGHTGCN, RawFile
from pyg_mtrec.datasets._lightgcn import LightGCNFormat


class Yelp2018(LightGCNFormat):
    r"""Businesses that users reviewed in the Yelp challenge of 2018.

    In the split of `"LightGCN: Simplifying and Powering Graph Convolution Network for
    Recommendation" <https://arxiv.org/abs/2002.02126>`_ (SIGIR 2020).

    Relation: :obj:`(user, interacts, item)` with :obj:`split` (0 training, 2 test). There are no
    ratings and no times, so that only random splits and the given one are possible.

    A pair that repeats is kept once, and a test pair that training holds already is dropped; the
    published files have neither. :obj:`dataset.report` holds the counts.

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
        >>> dataset = Yelp2018("data/yelp2018")  # doctest: +SKIP
        >>> dataset[0]["user", "interacts", "item"].num_edges  # doctest: +SKIP
        1561406

    **STATS:**

    .. list-table::
        :widths: 12 12 16 16
        :header-rows: 1

        * - #users
          - #items
          - #training
          - #test
        * - 31,668
          - 38,048
          - 1,237,259
          - 324,147
    """

    name = "yelp2018"
    layouts: ClassVar[Layouts] = {
        "split": (
            RawFile(
                "train.txt",
                f"{LIGHTGCN}/data/yelp2018/train.txt",
                ("1e9568725a9e833d0ac3bae01c94cd95367f73b3bb6104fd26b5f65ea5054093",),
            ),
            RawFile(
                "test.txt",
                f"{LIGHTGCN}/data/yelp2018/test.txt",
                ("9cd9b37926cd1447a06625ffa7914527573fb097c10cb0bbdb1d1b8ded3742fe",),
            ),
        )
    }
