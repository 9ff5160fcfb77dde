"""What the editions of KuaiRand share: logs of impressions, read strictly and put in time order."""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._base import RawDataset, Report
from pyg_mtrec.datasets._columns import Floats, amounts, integers, labels, refuse_constant
from pyg_mtrec.datasets._features import Features
from pyg_mtrec.datasets._graph import Ids, edges
from pyg_mtrec.datasets._user_table import Integers, UserTable

Context = dict[str, tuple[Integers, list[str]]]

WATCH_TIME = "watch_time"
_BEIJING = 8 * 3600  # the hours and days of the users, who have no daylight saving time
_HOURS = [str(hour) for hour in range(24)]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_LONG_VIEW_MS = 18_000
_COLUMNS = ("user_id", "video_id", "hourmin", "time_ms", "play_time_ms", "duration_ms")


class KuaiRandFormat(RawDataset):
    r"""Base of the editions of KuaiRand. See :class:`~pyg_mtrec.datasets.KuaiRandPure`.

    A subclass names the columns of the binary targets that all are read and checked, whichever
    are asked for, and may add features of the moment and of the nodes.
    """

    default_tasks = ("bpr",)
    default_split = "time"
    #: The chain of targets: the binary ones in the order of conversion, then the continuous one.
    default_targets: ClassVar[tuple[str, ...]] = ("click", "long_view", WATCH_TIME)
    #: Binary target to its column.
    binary: ClassVar[Mapping[str, str]]
    #: Columns of categories that describe the moment of an impression.
    moment: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], HeteroData] | None = None,
        force_reload: bool = False,
        targets: Sequence[str] | None = None,
    ) -> None:
        self.targets = self.default_targets if targets is None else tuple(targets)
        choices = self.target_choices()
        unknown = [name for name in self.targets if name not in choices]
        if unknown or not self.targets or len(set(self.targets)) < len(self.targets):
            what = f"'{unknown[0]}'" if unknown else f"{list(self.targets)}"
            raise InputError(
                f"'targets' of '{type(self).__name__}' needs distinct ones of"
                f" {', '.join(choices)} (got {what})"
            )
        super().__init__(root, transform, pre_transform, force_reload)

    @classmethod
    def target_choices(cls) -> tuple[str, ...]:
        r"""Returns all targets that the files have."""
        return *cls.binary, WATCH_TIME

    @property
    def _options(self) -> dict[str, Any]:
        return {"targets": self.targets}

    @abstractmethod
    def logs(self) -> list[str]:
        r"""Returns the names of the files that hold impressions."""

    def labels(self, tables: Sequence[UserTable]) -> dict[str, Floats]:
        r"""Returns the labels of all binary targets.

        Args:
            tables: The logs.
        """
        return {
            name: np.concatenate([labels(t, column, "binary", missing=False) for t in tables])
            for name, column in self.binary.items()
        }

    def context(self, tables: Sequence[UserTable]) -> Context:
        r"""Returns categories of the moment beside hour and weekday.

        Args:
            tables: The logs.
        """
        return {}

    def node_features(self, raw: Path, node_type: str) -> tuple[Integers, Features] | None:
        r"""Returns raw ids of nodes and their features, if there are any.

        Args:
            raw: The folder of the files.
            node_type: ``"user"`` or ``"item"``.
        """
        return None

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        columns = (*_COLUMNS, *self.binary.values(), *self.moment)
        tables = [UserTable(raw / name, "log", (), columns) for name in self.logs()]
        raw_user, raw_video, time, hourmin = (
            np.concatenate([integers(table, name) for table in tables])
            for name in ("user_id", "video_id", "time_ms", "hourmin")
        )
        played, duration = (
            np.concatenate([amounts(table, name) for table in tables])
            for name in ("play_time_ms", "duration_ms")
        )
        label = self.labels(tables)
        label[WATCH_TIME] = played / 1000
        clock = time // 1000 + _BEIJING
        context: Context = {
            "hour": (clock // 3600 % 24, _HOURS),
            "weekday": ((clock // 86_400 + 3) % 7, _DAYS),  # 1970 began on a Thursday
            **self.context(tables),
        }
        for name in self.targets:
            refuse_constant(f"'{raw / self.logs()[0]}'", name, label[name])

        data = HeteroData()
        users, videos = Ids(raw_user), Ids(raw_video)
        users.write(data, "user")
        videos.write(data, "item")
        user, item = users(raw_user), videos(raw_video)
        # By time, then ids, then content: the order of the rows in the file is never kept.
        content = [duration, *(codes for codes, _ in context.values()), *label.values()]
        order = np.lexsort((*content, item, user, time))
        store = data["user", "interacts", "item"]
        store.edge_index = edges(user[order], item[order])
        store.time = torch.from_numpy(time[order])
        target = np.stack([label[name][order] for name in self.targets], axis=1)
        store.target = torch.from_numpy(target.astype(np.float32))  # [E, K]
        store.target_names = list(self.targets)
        store.target_kinds = [
            "continuous" if name == WATCH_TIME else "binary" for name in self.targets
        ]
        Features(context).take(order).write(store)

        lengths, several = _durations(item[order], duration[order], len(videos.raw))
        report = self._describe(data, raw, {"user": users, "item": videos}, lengths)
        report |= {
            "rows_read": len(time),
            "pairs_repeated": len(time) - _distinct(user, item),
            "rows_repeated": len(time) - _distinct(user, item, time),
            "long_view_without_click": int(
                ((label["long_view"] == 1) & (label["click"] == 0)).sum()
            ),
            "watched_without_click": int(((played > 0) & (label["click"] == 0)).sum()),
            "rows_not_watched": int((played == 0).sum()),
            "rows_without_duration": int((duration == 0).sum()),
            "long_view_unlike_watch_time": _unlike(label["long_view"], played, duration),
            "videos_without_duration": int(np.isnan(lengths).sum()),
            "videos_with_several_durations": several,
            "rows_logged_in_another_hour": int((hourmin // 100 != context["hour"][0]).sum()),
        }
        return data, report

    def _describe(
        self, data: HeteroData, raw: Path, ids: Mapping[str, Ids], lengths: Floats
    ) -> Report:
        r"""Adds the features of nodes; ``lengths`` are the durations of videos in milliseconds."""
        report: Report = {}
        for node_type, known in ids.items():
            size = len(known.raw)
            features = Features()
            found = self.node_features(raw, node_type)
            if found is not None:
                raw_id, described = found
                rows = np.flatnonzero(np.isin(raw_id, known.raw))
                features = described.take(rows).spread(known(raw_id[rows]), size)
                report[f"{node_type}s_without_features"] = size - len(rows)
            if node_type == "item":
                duration = np.log1p(lengths / 1000)
                if "duration" in features.numeric:
                    missing = np.isnan(duration)
                    duration = np.where(missing, features.numeric["duration"], duration)
                features.numeric = {**features.numeric, "duration": duration}
            features.write(data[node_type])
        return report


def _distinct(*columns: Integers) -> int:
    repeated = pd.DataFrame(dict(enumerate(columns))).duplicated()
    return len(repeated) - int(repeated.sum())


def _durations(item: Integers, duration: Floats, size: int) -> tuple[Floats, int]:
    r"""Returns every video's first duration that is known, and how many have another one too."""
    known = np.flatnonzero(duration > 0)
    out = np.full(size, np.nan)
    out[item[known][::-1]] = duration[known][::-1]  # the first row is written last
    other = known[duration[known] != out[item[known]]]
    return out, len(np.unique(item[other]))


def _unlike(long_view: Floats, played: Floats, duration: Floats) -> int:
    r"""Counts rows that are not a long view although played as long as one, or the reverse."""
    meant: NDArray[np.bool_] = played >= np.minimum(duration, _LONG_VIEW_MS)
    return int(((duration > 0) & (meant != (long_view == 1))).sum())
