import math
import random
from datetime import datetime, timedelta, timezone

import pandas as pd
import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import KuaiRandSlice

MAIN = ("user", "interacts", "item")
FILE = "kuairand_27k_kcore15.tsv"
HEADER = (
    "user_id\tvideo_id\tdate\thourmin\ttime_ms\tis_click\tis_follow\tis_comment\tis_forward"
    "\tlong_view\tplay_time_ms\tduration_ms\tcomment_stay_time\tis_profile_enter\tlabel"
    "\ttimestamp"
)
# 2022-04-08 08:00 in the users' time zone, a Friday, is midnight in UTC.
MIDNIGHT = 1_649_376_000_000
ROWS = [
    # user, video, hourmin, time; click, follow, comment, forward, long; play, duration; enter, like
    (9, 70, 800, MIDNIGHT + 5, 1, 0, 1, 0, 1, 20_000, 15_000, 0, 1),
    (9, 70, 900, MIDNIGHT + 3_599_999, 1, 1, 0, 0, 1, 250, 15_000, 1, 1),  # long, hardly played
    (4, 71, 700, MIDNIGHT - 1, 0, 0, 0, 0, 1, 18_000, 60_000, 0, 0),  # long view without click
    (4, 72, 800, MIDNIGHT + 5, 0, 0, 0, 0, 0, 0, 0, 0, 1),
    (9, 70, 900, MIDNIGHT + 5, 1, 0, 1, 0, 1, 20_000, 15_000, 0, 1),  # logged twice
    (4, 70, 800, MIDNIGHT + 5, 0, 0, 0, 1, 0, 1_500, 15_000, 0, 0),  # watched without click
]


def lines(rows):
    text = [HEADER]
    for user, video, hourmin, time, click, follow, comment, forward, long, *rest in rows:
        play, duration, enter, label = rest
        cells = [user, video, 20220408, hourmin, time, click, follow, comment, forward, long]
        cells += [play, duration, 0, enter, label, "2022-04-08 00:00:00"]
        text.append("\t".join(map(str, cells)))
    return "\n".join(text) + "\n"


def test_small_file(raw_root):
    dataset = KuaiRandSlice(raw_root({FILE: lines(ROWS)}))
    data, store = dataset[0], dataset[0][MAIN]
    assert data["user"].raw_id.tolist() == [4, 9]
    assert data["item"].raw_id.tolist() == [70, 71, 72]
    # by time, then user, then video
    assert store.edge_index.tolist() == [[0, 0, 0, 1, 1, 1], [1, 0, 2, 0, 0, 0]]
    assert (store.time - MIDNIGHT).tolist() == [-1, 5, 5, 5, 5, 3_599_999]
    assert store.target.tolist() == [
        [0.0, 1.0, 18.0],
        [0.0, 0.0, 1.5],
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 20.0],
        [1.0, 1.0, 20.0],
        [1.0, 1.0, 0.25],
    ]
    assert store.target_names == ["click", "long_view", "watch_time"]
    assert store.target_kinds == ["binary", "binary", "continuous"]
    assert store.categorical_names == ["hour", "weekday"]
    assert store.categorical.tolist() == [[7, 4], [8, 4], [8, 4], [8, 4], [8, 4], [8, 4]]
    assert store.categorical_levels["weekday"][4] == "Friday"
    assert store.categorical_levels["hour"] == [str(hour) for hour in range(24)]
    assert data["item"].numeric_names == ["duration"]
    expected = [math.log(16), math.log(61), math.nan]
    assert data["item"].numeric[:, 0].tolist() == pytest.approx(expected, nan_ok=True)
    assert dataset.report == {
        "layout": "slice",
        "rows_read": 6,
        "pairs_repeated": 2,
        "rows_repeated": 1,
        "long_view_without_click": 1,
        "watched_without_click": 2,
        "rows_not_watched": 1,
        "rows_without_duration": 1,
        "long_view_unlike_watch_time": 1,
        "videos_without_duration": 1,
        "videos_with_several_durations": 0,
        "rows_logged_in_another_hour": 2,
    }
    assert not dataset.known and not {"rating", "split"} & set(store.keys())


def test_the_order_of_the_file_is_not_kept(raw_root):
    rows = [*ROWS, (*ROWS[0][:4], 0, *ROWS[0][5:])]  # one moment, two labels
    want = KuaiRandSlice(raw_root({FILE: lines(rows)}))[0]
    for seed in range(5):
        shuffled = random.Random(seed).sample(rows, len(rows))
        data = KuaiRandSlice(raw_root({FILE: lines(shuffled)}))[0]
        assert str(data.to_dict()) == str(want.to_dict())


def test_other_targets(raw_root):
    root = raw_root({FILE: lines(ROWS)})
    chain = ("comment", "like", "hate", "follow", "forward", "profile_enter", "watch_time", "click")
    store = KuaiRandSlice(root, targets=chain)[0][MAIN]
    assert store.target_names == list(chain)
    assert store.target_kinds == ["binary"] * 6 + ["continuous", "binary"]
    assert store.target[0].tolist() == [0, 0, 1, 0, 0, 0, 18.0, 0]
    assert store.target[5].tolist() == [0, 1, 0, 1, 0, 1, 0.25, 1]
    # each choice is processed on its own
    assert KuaiRandSlice(root, targets=["click"])[0][MAIN].target_names == ["click"]
    assert KuaiRandSlice(root)[0][MAIN].target_names == list(KuaiRandSlice.default_targets)
    for targets, got in (
        (["clicks"], "'clicks'"),
        (["click", "click"], "['click', 'click']"),
        ([], "[]"),
    ):
        with pytest.raises(InputError, match="'targets' of 'KuaiRandSlice' needs") as error:
            KuaiRandSlice(root, targets=targets)
        assert f"(got {got})" in str(error.value) and "watch_time, hate" in str(error.value)


def replaced(row, **cells):
    names = ["user_id", "video_id", "hourmin", "time_ms", "is_click", "is_follow", "is_comment"]
    names += ["is_forward", "long_view", "play_time_ms", "duration_ms", "is_profile_enter", "label"]
    rows = [list(r) for r in ROWS]
    for name, value in cells.items():
        rows[row - 1][names.index(name)] = value
    return lines(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (replaced(3, is_click=2), "row 3: 'is_click' needs to be 0 or 1 (got 2)"),
        (replaced(2, label=-1), "row 2: 'label' needs to be 0 or 1 (got -1)"),
        (replaced(6, is_forward=""), "row 6: 'is_forward' needs to be 0 or 1 (got nan)"),
        (replaced(5, long_view="yes"), "row 5: 'long_view' needs to be 0 or 1 (got yes)"),
        (replaced(1, play_time_ms="inf"), "row 1: 'play_time_ms' needs to be a number >= 0 (got i"),
        (replaced(2, play_time_ms=-5), "row 2: 'play_time_ms' needs to be a number >= 0 (got -5)"),
        (replaced(4, play_time_ms="NaN"), "row 4: 'play_time_ms' needs to be a number >= 0 (got n"),
        (replaced(4, duration_ms="-1"), "row 4: 'duration_ms' needs to be a number >= 0 (got -1)"),
        (replaced(4, user_id="-1"), "row 4: 'user_id' needs to be an integer >= 0 (got -1)"),
        (replaced(4, video_id=""), "row 4: 'video_id' needs to be an integer >= 0 (got nan)"),
        (replaced(4, time_ms="soon"), "row 4: 'time_ms' needs to be an integer >= 0 (got soon)"),
        (lines(ROWS).replace("is_click", "clicks"), " needs a column 'is_click' (found user_id, v"),
        (lines([]), " has no rows"),
        ("", " is empty"),
        (lines(ROWS) + "1\t2" + "\t0" * 20 + "\n", " has lines of unequal length"),
        (lines([(*row[:4], 1, *row[5:]) for row in ROWS]), "the target 'click' is 1 in every"),
    ],
)
def test_bad_files(raw_root, text, message):
    root = raw_root({FILE: text})
    with pytest.raises(InputError) as error:
        KuaiRandSlice(root)
    found = str(error.value)
    assert str(root / "raw" / FILE) in found and message in found and "\n" not in found
    assert not list(root.glob("processed/*.pt"))


def test_real_file(real_root):
    root = real_root("kuairand_slice")
    dataset = KuaiRandSlice(root)
    data, store = dataset[0], dataset[0][MAIN]
    assert dataset.known
    assert (data["user"].num_nodes, data["item"].num_nodes) == (664, 9359)
    assert store.edge_index.size(1) == 41_828
    expected = {
        "rows_read": 41_828,
        "pairs_repeated": 433,
        "long_view_without_click": 231,
        "watched_without_click": 13_635,
        "rows_not_watched": 991,
        "rows_without_duration": 7_738,
        "videos_with_several_durations": 0,
    }
    assert expected.items() <= dataset.report.items()
    assert store.target[:, :2].sum(0).tolist() == [27_484, 19_320]
    seconds = store.target[:, 2].double()
    assert seconds.mean().item() == pytest.approx(21.330, abs=1e-3)
    assert seconds.std().item() == pytest.approx(33.671, abs=1e-3)
    assert seconds.max().item() == pytest.approx(612.577)
    assert bool((store.time.diff() >= 0).all())
    counts = {"like": 33_745, "hate": 8_083, "follow": 304, "comment": 1_258, "forward": 326}
    counts["profile_enter"] = 2_214
    target = KuaiRandSlice(root, targets=tuple(counts))[0][MAIN].target
    assert target.sum(0).tolist() == list(counts.values())

    frame = pd.read_csv(root / "raw" / FILE, sep="\t").sample(frac=1, random_state=0)
    frame = frame.sort_values(["time_ms", "user_id", "video_id"], kind="stable")
    raw_user = data["user"].raw_id[store.edge_index[0]]
    raw_item = data["item"].raw_id[store.edge_index[1]]
    assert raw_user.tolist() == frame.user_id.tolist()
    assert raw_item.tolist() == frame.video_id.tolist()
    assert (store.target[:, 2] * 1000).round().tolist() == frame.play_time_ms.tolist()
    beijing = timezone(timedelta(hours=8))
    for row in range(0, 41_828, 997):
        moment = datetime.fromtimestamp(int(store.time[row]) / 1000, beijing)
        assert store.categorical[row].tolist() == [moment.hour, moment.weekday()]
    lengths = frame.groupby("video_id").duration_ms.agg(["min", "max"])
    assert (lengths["min"] == lengths["max"]).all()  # a property of the video
    duration = data["item"].numeric[:, 0].double().expm1() * 1000
    known = torch.tensor(lengths["max"].to_numpy(), dtype=torch.float64)
    assert torch.equal(duration.isnan(), known == 0)
    assert torch.allclose(duration[known > 0], known[known > 0], rtol=1e-5)
