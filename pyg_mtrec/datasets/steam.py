from collections.abc import Mapping
from typing import ClassVar

from torch_geometric.typing import EdgeType

from pyg_mtrec.datasets._base import Layouts
from pyg_mtrec.datasets._uprth import UPRTHFormat, raw_files


class Steam(UPRTHFormat):
    r"""Games of the players of Steam, with their friends, groups and the games' categories.

    In the split that comes with the code of `"Unified Pretraining for Recommendation via Task
    Hypergraphs" <https://arxiv.org/abs/2310.13286>`_ (WSDM 2024).

    Relations: :obj:`(user, interacts, item)` with :obj:`split` (0 training, 2 test),
    :obj:`(user, befriends, user)` with the pairs as they are listed, which is from both sides,
    :obj:`(user, in, group)`, :obj:`(item, in, category)` and :obj:`(item, in, rating)`. A user has
    any number of groups, an item of categories and ratings. There are no times and no grades.

    .. note::
        The 486 *ratings* are labels **of unknown meaning**, not grades: no text explains the
        integers of ``item_rating.txt``, which look like a developer's or publisher's number.

    .. warning::
        * Every user has **exactly one training item**, so that no two items share a user, and
          signal between items comes from the other relations alone. There is no validation split,
          and a training item that is held out for validation leaves its user with none.
          Test users have one test item each; they are those whose raw id ends in 6, 7 or 8.
        * Ids **leak**: items are numbered as they first appear, user by user, test rows included.
          5.9 % of the test rows name another item at most 10 numbers away from the user's
          training item, by chance it would be 1.1 %. Raw ids are kept here;
          :class:`~pyg_mtrec.transforms.PermuteIds` is the cure, and nothing may break ties by raw
          id.

    A pair that repeats is kept once, a test pair that training holds already is dropped, and so are
    self loops; the published files have none of these. 83 items have no training row.
    :obj:`dataset.report` holds the counts.

    Raw files: ``train.txt`` and ``test.txt``, lines ``user item item ...`` separated by spaces,
    ``user_friend.txt``, ``user_groups.txt``, ``item_category.txt`` and ``item_rating.txt``,
    likewise. They are read from ``root/raw`` or else downloaded. ``user_item_all.txt`` has other
    ids and is never read. For research use only.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, or its content is wrong.

    Example:
        >>> dataset = Steam("data/steam")  # doctest: +SKIP
        >>> dataset[0]["user", "in", "group"].num_edges  # doctest: +SKIP
        206329

    **STATS:**

    .. list-table::
        :widths: 12 12 12 12 14 14 14 14 14
        :header-rows: 1

        * - #users
          - #items
          - #training
          - #test
          - #friend edges
          - #groups
          - #group edges
          - #category edges
          - #rating edges
        * - 50,292
          - 1,809
          - 50,292
          - 15,087
          - 6,398
          - 11,198
          - 206,329
          - 2,558
          - 1,678
    """

    name = "steam"
    default_tasks = ("bpr", "social", "same-category")
    relations: ClassVar[Mapping[EdgeType, str]] = {
        ("user", "befriends", "user"): "user_friend.txt",
        ("user", "in", "group"): "user_groups.txt",
        ("item", "in", "category"): "item_category.txt",
        ("item", "in", "rating"): "item_rating.txt",
    }
    layouts: ClassVar[Layouts] = {
        "split": raw_files(
            "steam",
            train="0a626bb77044567c08be6ce57ac73ff7de22035916c5cc2e9822f4ea25904394",
            test="6feca344b38aa005204388e68481417ab08e7a0421fa3340f0a8695dd5f920c8",
            user_friend="2eb0a6148843576a97693d3821124e5649355cfec256bad78feaed0416fe3af4",
            user_groups="ed5320e42c77f407711e00b37079fe9d77cae84e6418ca72a36b28c343093ce4",
            item_category="3f00faca4c42dbe4e578b53e3137cf2a19f6624d34cb0f297bbbaeb19390c5b1",
            item_rating="e75806f21b6b09a36c1b1f4729bcf58d2981efc63926bc0b802931c07cda1f1e",
        )
    }
