import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._archive import Archive
from pyg_mtrec.datasets._base import Layouts, Report
from pyg_mtrec.datasets._columns import levels
from pyg_mtrec.datasets._download import RawFile
from pyg_mtrec.datasets._features import Features
from pyg_mtrec.datasets._kuairand import Context, KuaiRandFormat
from pyg_mtrec.datasets._kuairand_features import (
    USER_AMOUNTS,
    USER_CATEGORIES,
    VIDEO_AMOUNTS,
    VIDEO_CATEGORIES,
    read_features,
)
from pyg_mtrec.datasets._user_table import Integers, UserTable

Logs = Literal["all", "standard", "random"]

_STANDARD = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
_RANDOM = ("log_random_4_22_to_5_08_pure.csv",)
_USERS = "user_features_pure.csv"
_VIDEOS = "video_features_basic_pure.csv"
_STATISTICS = "video_features_statistic_pure.csv"
_MILLISECONDS = 1000.0
_ARCHIVE = Archive(
    "https://zenodo.org/records/10439422/files/KuaiRand-Pure.tar.gz",
    "0820331067a3784d9691136f772b35a7",
    "KuaiRand-Pure/data",
)


class KuaiRandPure(KuaiRandFormat):
    r"""Short videos shown to users of Kuaishou, partly at random, with what came of each.

    Published with `"KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
    Videos" <https://arxiv.org/abs/2208.08696>`_ (CIKM 2022); *KuaiRand-Pure* of `"Touch the Core:
    Exploring Task Dependence Among Hybrid Targets for Recommendation"
    <https://arxiv.org/abs/2403.17442>`_ (RecSys 2024). Every row of :obj:`(user, interacts, item)`
    is an impression; pairs repeat, and all rows are kept in the order of their time.

    Targets: the chain :obj:`click`, :obj:`long_view` (binary) and :obj:`watch_time` (seconds), or,
    by name, :obj:`like`, :obj:`hate`, :obj:`follow`, :obj:`comment`, :obj:`forward` and
    :obj:`profile_enter` as well.

    Features, as categories and as numbers :math:`\log(1 + x)`:

    * of the moment: :obj:`hour` and :obj:`weekday` in the users' time zone, :obj:`tab` (the page of
      the app) and :obj:`is_rand` (whether the video was chosen at random);
    * of users: degree of activity, roles, ranges and numbers of those followed, fans, friends and
      days since registration, and 18 encrypted categories;
    * of videos: author, type, way of upload, music and its type, the first tag, width, height, and
      the :obj:`duration` (seconds; the first that the logs know, else that of the video's file).

    .. warning::
        * ``video_features_statistic_pure.csv`` **leaks the future**: it averages over the whole
          month, test days included. ``video_statistics=True`` adds it for those who want to see how
          much it gives away; the report then says so.
        * The features of users are one snapshot, without a date, for the whole time.
        * Random exposures begin on the 15th day only, so a split by time moves from the app's own
          choices towards random ones; ``logs="standard"`` has none of these.
        * Play, comment and profile times, and ``visible_status``, which is of the day of the crawl,
          are never features. The hour is that of ``time_ms``, since ``hourmin`` is a later one.

    :obj:`dataset.report` holds counts of defects.

    Raw files: ``log_standard_4_08_to_4_21_pure.csv``, ``log_standard_4_22_to_5_08_pure.csv``,
    ``log_random_4_22_to_5_08_pure.csv``, ``user_features_pure.csv``,
    ``video_features_basic_pure.csv`` and, if asked for, ``video_features_statistic_pure.csv``. They
    are read from ``root/raw`` or else taken out of the archive of `Zenodo record 10439422
    <https://zenodo.org/records/10439422>`_ (47 MB, checked by MD5). Published under CC BY-SA 4.0.

    Args:
        root: Folder of the data set; raw files lie in ``root/raw``.
        transform: Applied to the graph at every access. (default: :obj:`None`)
        pre_transform: Applied to the graph once, before it is stored. (default: :obj:`None`)
        force_reload: Reads the raw files even if they were processed already.
            (default: :obj:`False`)
        targets: Names of the targets in the order of the chain. (default: ``("click", "long_view",
            "watch_time")``)
        logs: ``"standard"`` for impressions that the app chose, ``"random"`` for those that chance
            chose, ``"all"`` for both. (default: ``"all"``)
        video_statistics: Adds the statistics of videos, which leak. (default: :obj:`False`)

    Raises:
        InputError: If a raw file is missing and cannot be downloaded, its content is wrong, or an
            option is unknown.

    Example:
        >>> dataset = KuaiRandPure("data/kuairand_pure", logs="standard")  # doctest: +SKIP
        >>> dataset[0]["user", "interacts", "item"].target_names  # doctest: +SKIP
        ['click', 'long_view', 'watch_time']

    **STATS**, as published:

    .. list-table::
        :widths: 16 12 12 16
        :header-rows: 1

        * - logs
          - #users
          - #items
          - #impressions
        * - standard
          - 27,285
          - 7,551
          - 1,436,609
        * - random
          - 27,285
          - 7,583
          - 1,186,059
    """

    name = "kuairand_pure"
    archive: ClassVar[Archive] = _ARCHIVE
    binary: ClassVar[Mapping[str, str]] = {
        "click": "is_click",
        "long_view": "long_view",
        "like": "is_like",
        "hate": "is_hate",
        "follow": "is_follow",
        "comment": "is_comment",
        "forward": "is_forward",
        "profile_enter": "is_profile_enter",
    }
    moment = ("tab", "is_rand")
    layouts: ClassVar[Layouts] = {
        "csv": tuple(
            RawFile(name, _ARCHIVE.source, (sha256,))
            for name, sha256 in (
                (_STANDARD[0], "5bb6eb0b3d9f47e5436cb5dc82ee1899b845ebf9750a5560b801e929e18bd41c"),
                (_STANDARD[1], "429e3b948828942e572f2c3a5be5a25799ffe75591d22d18cf417b9b534d31fd"),
                (_RANDOM[0], "60b80994da969cd53da4d50c37ba3dafd6fb185df804c92c8410df34845a9d2c"),
                (_USERS, "dc729a656301b4c6d07f713fe41d05ec9bfaab670b90e531c70037caf033c011"),
                (_VIDEOS, "a6f7ee02684c5777422306cdc416e170302288aa89aca9dfea995edbd625bcc2"),
                (_STATISTICS, "d5c9e237ef2c6c1fc0e7f27e952f215d6626ecd934b01a6c53ecfcc72540f6b6"),
            )
        )
    }

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], HeteroData] | None = None,
        force_reload: bool = False,
        targets: Sequence[str] | None = None,
        logs: Logs = "all",
        video_statistics: bool = False,
    ) -> None:
        if logs not in get_args(Logs):
            raise InputError(
                f"'logs' needs to be one of {get_args(Logs)} in 'KuaiRandPure' (got {logs!r})"
            )
        self.which_logs = logs
        self.video_statistics = video_statistics
        super().__init__(root, transform, pre_transform, force_reload, targets)

    @property
    def _asked(self) -> Layouts:
        wanted = [*self.logs(), _USERS, _VIDEOS, *([_STATISTICS] if self.video_statistics else [])]
        return {"csv": tuple(file for file in self.layouts["csv"] if file.name in wanted)}

    @property
    def _options(self) -> dict[str, Any]:
        return {
            **super()._options,
            "logs": self.which_logs,
            "video_statistics": self.video_statistics,
        }

    def download(self) -> None:
        raw = Path(self.raw_dir)
        missing = [name for name in self.raw_file_names if not (raw / name).is_file()]
        if missing:
            self.archive.extract(missing, raw)

    def logs(self) -> list[str]:
        found = {"all": _STANDARD + _RANDOM, "standard": _STANDARD, "random": _RANDOM}
        return list(found[self.which_logs])

    def context(self, tables: Sequence[UserTable]) -> Context:
        return {name: _levels(tables, name) for name in self.moment}

    def node_features(self, raw: Path, node_type: str) -> tuple[Integers, Features] | None:
        if node_type == "user":
            return read_features(raw / _USERS, "user_id", USER_CATEGORIES, USER_AMOUNTS)
        raw_id, features = read_features(
            raw / _VIDEOS,
            "video_id",
            VIDEO_CATEGORIES,
            (*VIDEO_AMOUNTS, "video_duration"),
            {"video_duration": _MILLISECONDS},
        )
        features.numeric["duration"] = features.numeric.pop("video_duration")
        if self.video_statistics:
            other_id, statistics = read_features(raw / _STATISTICS, "video_id", amounts=None)
            place = {int(video): row for row, video in enumerate(raw_id)}
            known = np.array([place.get(int(video), -1) for video in other_id], np.int64)
            rows = np.flatnonzero(known >= 0)
            features.numeric |= statistics.take(rows).spread(known[rows], len(raw_id)).numeric
        return raw_id, features

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        data, report = super().read(raw)
        if self.video_statistics:
            report["leak"] = f"{_STATISTICS} averages over the whole month"
        return data, report


def _levels(tables: Sequence[UserTable], name: str) -> tuple[Integers, list[str]]:
    r"""Returns a column of categories of several tables, with levels that all of them share."""
    found = [levels(table, name) for table in tables]
    names = sorted(set().union(*(texts for _, texts in found)), key=lambda text: (len(text), text))
    place = {text: position for position, text in enumerate(names)}
    return (
        np.concatenate([np.array([*map(place.get, texts), -1])[codes] for codes, texts in found]),
        names,
    )
