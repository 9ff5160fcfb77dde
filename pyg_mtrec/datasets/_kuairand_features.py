"""Features of the users and videos of KuaiRand, from the files that come with the logs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pyg_mtrec.datasets._columns import integers, levels, numbers
from pyg_mtrec.datasets._features import Features
from pyg_mtrec.datasets._user_table import Integers, UserTable

USER_CATEGORIES = (
    "user_active_degree",
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
    *(f"onehot_feat{place}" for place in range(18)),
)
USER_AMOUNTS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
# Not `visible_status`: it is the state on the day of the crawl, after all impressions.
VIDEO_CATEGORIES = ("author_id", "video_type", "upload_type", "music_id", "music_type", "tag")
VIDEO_AMOUNTS = ("server_width", "server_height")


def read_features(
    path: Path,
    key: str,
    categories: Sequence[str] = (),
    amounts: Sequence[str] | None = (),
    units: Mapping[str, float] | None = None,
) -> tuple[Integers, Features]:
    r"""Reads a file with one row per node.

    Args:
        path: The file.
        key: The column of raw ids.
        categories: Columns of categories; of a list of them the first counts.
        amounts: Columns of amounts :math:`a \geq 0`, read as :math:`\log(1 + a)`, a negative one as
            missing; :obj:`None` for all other columns.
        units: What to divide an amount by before (default: 1).

    Returns:
        The raw ids and the features.
    """
    units = units or {}
    needed = (key, *categories, *(amounts or ()))
    table = UserTable(path, key, (), needed, None if amounts is None else ())
    raw_id = integers(table, key)
    twice = pd.Series(raw_id).duplicated().to_numpy(bool)
    if twice.any():
        row = int(np.argmax(twice))
        table.blame(row, f"'{key}' is there twice (got {raw_id[row]})")
    if amounts is None:
        amounts = [str(name) for name in table.frame.columns if name not in needed]
    features = Features()
    for name in categories:
        column = table.frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            # ranges such as "[1,10)" begin with a bracket, lists such as "12,65" do not
            first = column.astype("string").str.replace(r"^([^\[(,]*),.*$", r"\1", regex=True)
            table.frame = table.frame.assign(**{name: first})
        features.categorical[name] = levels(table, name)
    for name in amounts:
        value = numbers(table, name) / units.get(name, 1.0)
        features.numeric[name] = np.log1p(np.where(value >= 0, value, np.nan))
    return raw_id, features
