from typing import ClassVar

from pyg_mtrec.datasets._base import Layouts
from pyg_mtrec.datasets._uprth import raw_files
from pyg_mtrec.datasets._xmarket import XMarketFormat


class XMRecCN(XMarketFormat):
    r"""Product reviews of the Chinese market of XMarket, with products bought or compared together.

    Collected by Bonab et al. for `"Cross-Market Product Recommendation"
    <https://arxiv.org/abs/2109.05929>`_ (CIKM 2021), in the split that comes with the code of
    `"Unified Pretraining for Recommendation via Task Hypergraphs"
    <https://arxiv.org/abs/2310.13286>`_ (WSDM 2024).

    Relations: :obj:`(user, interacts, item)` with :obj:`split` (0 training, 2 test),
    :obj:`(item, bought_together, item)` and :obj:`(item, compared_together, item)` from the first
    item of a line to each of the others, of which the latter is **empty** here,
    :obj:`(item, in, category)`, and :obj:`(item, in, rating)`, an item's mean rating in half stars:
    :obj:`value` of a rating holds its stars, :math:`1, 1.5, \dots, 5`, and :obj:`raw_id` twice the
    stars less 2. Every item has one category and one rating. There are no times, and interactions
    have no ratings of their own.

    .. warning::
        * The ratings of items **leak**: they are means over *all* reviews, those of the test rows
          included. Nobody states when *bought together* and *compared together* were taken from the
          shop; they may tell of test purchases too.
        * Ids **leak**: the items of a user have numbers close to each other. 2.9 % of the test rows
          name another item at most 10 numbers away from the user's training item, by chance it
          would be 0.3 %. Raw ids are kept here;
          :class:`~pyg_mtrec.transforms.PermuteIds` is the cure, and nothing may break ties by raw
          id.
        * Every user has **exactly one training item**, so that no two items share a user, and
          signal between items comes from the other relations alone. There is no validation split,
          and a training item that is held out for validation leaves its user with none.

    A pair that repeats is kept once, a test pair that training holds already is dropped, and so are
    self loops. In the published files 103 of the 4,259 test rows repeat a training pair, which
    leaves 84 test users without a test item, and 40 repeat within their line. 524 items have no
    training row. :obj:`dataset.report` holds the counts.

    Raw files: ``train.txt`` and ``test.txt``, lines ``user item item ...`` separated by spaces,
    ``boughtTogether.txt``, ``comparedTogether.txt`` and ``item_category.txt`` likewise, and
    ``item_rating.txt``, lines ``item 4.5``. They are read from ``root/raw`` or else downloaded.
    ``user_item.txt`` and ``all.txt`` hold training and test rows together and are never read.
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
        >>> dataset = XMRecCN("data/xmrec_cn")  # doctest: +SKIP
        >>> dataset[0]["item", "bought_together", "item"].num_edges  # doctest: +SKIP
        163

    **STATS:**

    .. list-table::
        :widths: 12 12 12 12 14 14 12
        :header-rows: 1

        * - #users
          - #items
          - #training
          - #test
          - #bought together
          - #compared together
          - #categories
        * - 18,806
          - 5,937
          - 18,806
          - 4,116
          - 163
          - 0
          - 12
    """

    name = "xmrec_cn"
    may_be_empty = ("comparedTogether.txt",)
    layouts: ClassVar[Layouts] = {
        "split": raw_files(
            "xmrec_cn",
            train="f6da5c601acd0e6926f8a3916ab0daade99ec898047744628a8c472aca28d234",
            test="4720496c63550ab693c5e394c4677a027d456857b2c0148a37549a37db510b43",
            boughtTogether="7019cf1b4623a712f59077abf6ab9686ecf2b3451c52197f95fa562c4984f810",
            comparedTogether="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            item_category="3b21ae3f3f3cd338f0dfd5549fec3ff9cb0e02ea7a7444288d34412e200819de",
            item_rating="85f54900c18f18a82e410772fe851ed3b2a29c37408a8b128cceb70b12969516",
        )
    }
