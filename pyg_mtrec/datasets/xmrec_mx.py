from typing import ClassVar

from pyg_mtrec.datasets._base import Layouts
from pyg_mtrec.datasets._uprth import raw_files
from pyg_mtrec.datasets._xmarket import XMarketFormat


class XMRecMX(XMarketFormat):
    r"""Product reviews of the Mexican market of XMarket, with products bought or compared together.

    Collected by Bonab et al. for `"Cross-Market Product Recommendation"
    <https://arxiv.org/abs/2109.05929>`_ (CIKM 2021), in the split that comes with the code of
    `"Unified Pretraining for Recommendation via Task Hypergraphs"
    <https://arxiv.org/abs/2310.13286>`_ (WSDM 2024).

    Relations: :obj:`(user, interacts, item)` with :obj:`split` (0 training, 2 test),
    :obj:`(item, bought_together, item)` and :obj:`(item, compared_together, item)` from the first
    item of a line to each of the others, :obj:`(item, in, category)`, and
    :obj:`(item, in, rating)`, an item's mean rating in half stars: :obj:`value` of a rating holds
    its stars, :math:`1, 1.5, \dots, 5`, and :obj:`raw_id` twice the stars less 2. Every item has
    one category and one rating. There are no times, and interactions have no ratings of their own.

    .. warning::
        * The ratings of items **leak**: they are means over *all* reviews, those of the test rows
          included. Nobody states when *bought together* and *compared together* were taken from the
          shop; they may tell of test purchases too.
        * Ids **leak**: items are numbered as they first appear, user by user, test rows included.
          19.6 % of the test rows name another item at most 10 numbers away from the user's
          training item, by chance it would be 0.06 %. Raw ids are kept here;
          :class:`~pyg_mtrec.transforms.PermuteIds` is the cure, and nothing may break ties by raw
          id.
        * Every user has **exactly one training item**, so that no two items share a user, and
          signal between items comes from the other relations alone. There is no validation split,
          and a training item that is held out for validation leaves its user with none.

    A pair that repeats is kept once, a test pair that training holds already is dropped, and so are
    self loops. In the published files 3,208 of the 83,679 test rows repeat a training pair, which
    leaves 2,504 test users without a test item, and 666 repeat within their line, 3 of them one of
    the former. 4,013 items have no training row. :obj:`dataset.report` holds the counts.

    Raw files: ``train.txt`` and ``test.txt``, lines ``user item item ...`` separated by spaces,
    ``boughtTogether.txt``, ``comparedTogether.txt`` and ``item_category.txt`` likewise, and
    ``item_rating.txt``, lines ``item 4.5``. They are read from ``root/raw`` or else downloaded.
    ``user_item.txt`` holds training and test rows together and is never read. For research use
    only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = XMRecMX("data/xmrec_mx")  # doctest: +SKIP
        >>> dataset[0]["item", "bought_together", "item"].num_edges  # doctest: +SKIP
        4822

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
        * - 221,890
          - 35,235
          - 221,890
          - 79,808
          - 4,822
          - 3,390
          - 14
    """

    name = "xmrec_mx"
    layouts: ClassVar[Layouts] = {
        "split": raw_files(
            "xmrec_mx",
            train="60933cad06e25b9aae8cbd9d33003f4ef126c648caf3d6e52916354d8bd37a7a",
            test="752397e2d2b9252951c61dd9b36fac80ae9d965cfeb52532765462ab18267342",
            boughtTogether="8ad1333db2f6419fb8aa707f65096d50fd2262e84f53d6f9e352baa445b160ab",
            comparedTogether="539f8bf7ba9d8400ed7f020cba55faccf8c3ef33518c7284f345f1f874c23cb2",
            item_category="7bd511095d90cc6d485cb832d87d112b497a2b99c062872a7408636b3a7f8f1f",
            item_rating="458eca75d7ff04ea68f177cbec4ccacb8e0d761c11d006bd6fa2f64bdc2ae222",
        )
    }
