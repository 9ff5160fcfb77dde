from collections.abc import Mapping, Sequence
from typing import ClassVar

from pyg_mtrec.datasets._base import Layouts
from pyg_mtrec.datasets._columns import Floats
from pyg_mtrec.datasets._download import KUAIRAND_FEEDBACK, RawFile
from pyg_mtrec.datasets._kuairand import KuaiRandFormat
from pyg_mtrec.datasets._user_table import UserTable


class KuaiRandSlice(KuaiRandFormat):
    r"""Watched videos that were liked or hated, with what came of each: a slice of KuaiRand-27K.

    The log of `"KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
    Videos" <https://arxiv.org/abs/2208.08696>`_ (CIKM 2022), cut down to users with at least 15
    likes and at least one hate. Every row of :obj:`(user, interacts, item)` is an impression; pairs
    repeat, and all rows are kept in the order of their time.

    Targets: the chain :obj:`click`, :obj:`long_view` (binary) and :obj:`watch_time` (seconds), or,
    by name, :obj:`like`, :obj:`hate`, :obj:`follow`, :obj:`comment`, :obj:`forward` and
    :obj:`profile_enter` as well. Features: :obj:`hour` and :obj:`weekday` of the moment in the
    users' time zone, and the :obj:`duration` of the video, :math:`\log(1 + \mathrm{seconds})`. It
    is the same in all rows of a video, so it lies on the item, and is missing (NaN) for the 1,200
    videos whose every row says 0.

    .. warning::
        * Only rows that were **liked or hated** are here, so rates are not those of the log, and no
          result on this slice compares with one on KuaiRand. Which of both a row was, selected it:
          :obj:`like` is no step of the chain. Within a user's rows of the file all likes come
          before all hates, so the order of the file tells; it is not kept.
        * Watch time is **not** gated by the click: 13,635 rows without a click were watched.
          :obj:`long_view` is watch time cut at the duration or 18 s on 98.5 % of the rows with a
          duration, so neither may be an input of the other; play, comment and profile times are
          never features.
        * ``hourmin`` is **not** the hour of the impression but a later one: in 18 % of the rows it
          is another hour than ``time_ms`` says, the more often the longer the video was watched. So
          the hour is taken from ``time_ms``.
        * 124 rows repeat a user, a video and a millisecond. A split by time keeps them together, a
          random one does not.

    :obj:`dataset.report` holds the counts of these defects.

    Raw file: ``kuairand_27k_kcore15.tsv``, tab-separated with a header, which is public as
    ``processed_standard_kcore_15.csv``. It is read from ``root/raw`` or else downloaded. KuaiRand
    is published under CC BY-SA 4.0.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)
        targets: Names of the targets in the order of the chain. (default: ``("click", "long_view",
            "watch_time")``)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, its content is wrong, or a
            target is unknown.

    Example:
        >>> dataset = KuaiRandSlice("data/kuairand_slice")  # doctest: +SKIP
        >>> dataset[0]["user", "interacts", "item"].target.mean(0)  # doctest: +SKIP
        tensor([ 0.6571,  0.4619, 21.3296])

    **STATS:**

    .. list-table::
        :widths: 12 12 16 12 12 16
        :header-rows: 1

        * - #users
          - #items
          - #impressions
          - click
          - long view
          - watch time
        * - 664
          - 9,359
          - 41,828
          - 65.7 %
          - 46.2 %
          - 21.3 s
    """

    name = "kuairand_slice"
    binary: ClassVar[Mapping[str, str]] = {
        "click": "is_click",
        "long_view": "long_view",
        "like": "label",
        "follow": "is_follow",
        "comment": "is_comment",
        "forward": "is_forward",
        "profile_enter": "is_profile_enter",
    }
    layouts: ClassVar[Layouts] = {
        "slice": (
            RawFile(
                "kuairand_27k_kcore15.tsv",
                f"{KUAIRAND_FEEDBACK}/processed_data/processed_standard_kcore_15.csv",
                ("321128c4543d3e658a1fa9788edd4049295b0d1ccf4469154326fb7769556e0a",),
            ),
        )
    }

    @classmethod
    def target_choices(cls) -> tuple[str, ...]:
        return *super().target_choices(), "hate"

    def logs(self) -> list[str]:
        return self.raw_file_names

    def labels(self, tables: Sequence[UserTable]) -> dict[str, Floats]:
        found = super().labels(tables)
        return {**found, "hate": 1 - found["like"]}
