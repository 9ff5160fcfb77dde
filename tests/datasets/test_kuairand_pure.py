import hashlib
import io
import math
import tarfile
from dataclasses import replace

import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import KuaiRandPure

MAIN = ("user", "interacts", "item")
MIDNIGHT = 1_649_376_000_000
EARLY, LATE, RANDOM = (
    "log_standard_4_08_to_4_21_pure.csv",
    "log_standard_4_22_to_5_08_pure.csv",
    "log_random_4_22_to_5_08_pure.csv",
)
USERS, VIDEOS, STATISTICS = (
    "user_features_pure.csv",
    "video_features_basic_pure.csv",
    "video_features_statistic_pure.csv",
)
LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab\n"
)
ONE_HOT = [f"onehot_feat{place}" for place in range(18)]
USER_HEADER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    f"friend_user_num_range,register_days,register_days_range,{','.join(ONE_HOT)}\n"
)
VIDEO_HEADER = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag\n"
)


def log(user, video, time, click, long, play, duration, rand=0, tab=1, hate=0):
    cells = [user, video, 20220408, 800, MIDNIGHT + time, click, 0, 0, 0, 0, hate, long, play]
    return ",".join(map(str, [*cells, duration, 0, 0, 0, rand, tab])) + "\n"


def user(raw_id, degree, follows, follow_range, days, codes):
    cells = [raw_id, degree, 0, -124, 1, follows, f'"{follow_range}"', 3, '"[1,10)"', 0, 0, days]
    return ",".join(map(str, [*cells, "730+", *codes])) + "\n"


FILES = {
    EARLY: LOG
    + log(5, 30, 7, 1, 1, 9_000, 8_000, tab=10)
    + log(2, 31, 2, 0, 0, 0, 0)
    + log(2, 30, 9, 1, 0, 1_000, 8_500),  # another duration than before
    LATE: LOG + log(5, 31, 8, 0, 0, 400, 0, tab=2),
    RANDOM: LOG + log(7, 33, 1, 0, 1, 700, 500, rand=1, tab=1, hate=1),
    USERS: USER_HEADER
    + user(5, "full_active", 12, "(10,50]", 800, [1] + [""] * 17)
    + user(2, "UNKNOWN", 0, "0", -1, ["0.0"] * 18)
    + user(99, "high_active", 1, "(0,10]", 5, ["9"] * 18),  # in no log
    VIDEOS: VIDEO_HEADER
    + "30,900,NORMAL,2022-04-08,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,39\n"
    + '31,900,AD,2022-04-08,Web,0.0,12000.0,,1280.0,,,"12,65"\n',
    STATISTICS: "video_id,counts,like_cnt\n30,66,0.5\n98,1,1\n",
}


def described(store, name):
    """The levels of a categorical column, row by row."""
    column = store.categorical[:, store.categorical_names.index(name)].tolist()
    return [None if code < 0 else store.categorical_levels[name][code] for code in column]


def numbers(store, name):
    return store.numeric[:, store.numeric_names.index(name)].tolist()


def test_small_files(raw_root):
    dataset = KuaiRandPure(raw_root(FILES))
    data, store = dataset[0], dataset[0][MAIN]
    assert data["user"].raw_id.tolist() == [2, 5, 7]
    assert data["item"].raw_id.tolist() == [30, 31, 33]
    assert store.edge_index.tolist() == [[2, 0, 1, 1, 0], [2, 1, 0, 1, 0]]
    assert store.target.tolist() == [
        [0.0, 1.0, pytest.approx(0.7)],
        [0.0, 0.0, 0.0],
        [1.0, 1.0, 9.0],
        [0.0, 0.0, pytest.approx(0.4)],
        [1.0, 0.0, 1.0],
    ]
    assert store.categorical_names == ["hour", "weekday", "tab", "is_rand"]
    assert described(store, "tab") == ["1", "1", "10", "2", "1"]
    assert described(store, "is_rand") == ["1", "0", "0", "0", "0"]
    assert store.categorical_levels["tab"] == ["1", "2", "10"]

    people = data["user"]
    assert described(people, "user_active_degree") == ["UNKNOWN", "full_active", None]
    assert described(people, "follow_user_num_range") == ["0", "(10,50]", None]
    assert described(people, "fans_user_num_range") == ["[1,10)", "[1,10)", None]
    assert described(people, "is_live_streamer") == ["-124", "-124", None]
    assert described(people, "onehot_feat0") == ["0", "1", None]
    assert described(people, "onehot_feat17") == ["0", None, None]
    logs = [math.log1p(0), math.log1p(12), math.nan]
    assert numbers(people, "follow_user_num") == pytest.approx(logs, nan_ok=True)
    days = [math.nan, math.log1p(800), math.nan]
    assert numbers(people, "register_days") == pytest.approx(days, nan_ok=True)
    assert len(people.categorical_names) == 26 and len(people.numeric_names) == 4

    videos = data["item"]
    assert described(videos, "author_id") == ["900", "900", None]
    assert described(videos, "video_type") == ["NORMAL", "AD", None]
    assert described(videos, "music_id") == ["9155697141", None, None]
    assert described(videos, "tag") == ["39", "12", None]
    assert "visible_status" not in videos.categorical_names
    assert videos.numeric_names == ["server_width", "server_height", "duration"]
    widths = [math.log1p(720), math.nan, math.nan]
    assert numbers(videos, "server_width") == pytest.approx(widths, nan_ok=True)
    # the first of the logs in time, else that of the video's file
    lengths = [math.log1p(8.0), math.log1p(12.0), math.log1p(0.5)]
    assert numbers(videos, "duration") == pytest.approx(lengths)
    assert dataset.report == {
        "layout": "csv",
        "rows_read": 5,
        "pairs_repeated": 0,
        "rows_repeated": 0,
        "long_view_without_click": 1,
        "watched_without_click": 2,
        "rows_not_watched": 1,
        "rows_without_duration": 2,
        "long_view_unlike_watch_time": 0,
        "videos_without_duration": 1,
        "videos_with_several_durations": 1,
        "rows_logged_in_another_hour": 0,
        "users_without_features": 1,
        "items_without_features": 1,
    }


def test_options(raw_root):
    files = {name: text for name, text in FILES.items() if name not in (RANDOM, STATISTICS)}
    root = raw_root(files)
    data = KuaiRandPure(root, logs="standard", targets=("click", "watch_time"))[0]
    assert data["user"].raw_id.tolist() == [2, 5]
    assert data[MAIN].target_names == ["click", "watch_time"]
    root = raw_root(FILES)
    with pytest.raises(InputError, match="the target 'click' is 0 in every labelled row"):
        KuaiRandPure(root, logs="random")
    assert KuaiRandPure(root)[0][MAIN].edge_index.size(1) == 5
    dataset = KuaiRandPure(root, video_statistics=True)
    assert dataset.report["leak"] == f"{STATISTICS} averages over the whole month"
    assert "leak" not in KuaiRandPure(root).report
    assert dataset[0]["item"].numeric_names[-3:] == ["duration", "counts", "like_cnt"]
    likes = [math.log1p(0.5), math.nan, math.nan]
    assert numbers(dataset[0]["item"], "like_cnt") == pytest.approx(likes, nan_ok=True)
    assert set(dataset.raw_sha256) == set(FILES)
    with pytest.raises(InputError, match=r"'logs' needs to be one of .* \(got 'both'\)"):
        KuaiRandPure(root, logs="both")
    with pytest.raises(InputError, match="'targets' of 'KuaiRandPure' needs distinct ones of"):
        KuaiRandPure(root, targets=["play_time"])


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (LATE, ",0,0,0,0,0,0,0,400", ",3,0,0,0,0,0,0,400", "row 1: 'is_click' needs to be 0 or 1"),
        (RANDOM, ",700,", ",1e400,", "row 1: 'play_time_ms' needs to be a number >= 0 (got inf)"),
        (EARLY, "long_view,", "long,", " needs a column 'long_view' (found"),
        (USERS, "99,", "5,", "row 3: 'user_id' is there twice (got 5)"),
        (USERS, ",12,", ",many,", "row 1: 'follow_user_num' needs to be a number or empty (got ma"),
        (USERS, "register_days,", "", " needs a column 'register_days' (found"),
        (VIDEOS, ",720.0,", ",inf,", "row 1: 'server_width' needs to be a number or empty (got in"),
        (VIDEOS, "music_id,", "music,", " needs a column 'music_id' (found"),
    ],
)
def test_bad_files(raw_root, name, old, new, message):
    assert old in FILES[name]
    root = raw_root({**FILES, name: FILES[name].replace(old, new, 1)})
    with pytest.raises(InputError) as error:
        KuaiRandPure(root)
    found = str(error.value)
    assert str(root / "raw" / name) in found and message in found and "\n" not in found


@pytest.fixture
def archive(server, monkeypatch):
    """Serves an archive of the small files; returns its address, MD5 and path."""
    address, folder = server
    path = folder / "KuaiRand-Pure.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"KuaiRand-Pure/data/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    served = replace(
        KuaiRandPure.archive,
        source=f"{address}/{path.name}",
        md5=hashlib.md5(path.read_bytes()).hexdigest(),
    )
    monkeypatch.setattr(KuaiRandPure, "archive", served)
    return served, path


def test_files_are_taken_out_of_the_archive(archive, tmp_path, raw_root):
    dataset = KuaiRandPure(tmp_path / "new", logs="standard")
    raw = tmp_path / "new" / "raw"
    assert sorted(path.name for path in raw.iterdir()) == sorted([EARLY, LATE, USERS, VIDEOS])
    assert (raw / VIDEOS).read_text() == FILES[VIDEOS]
    # what lies there already stays, the rest is fetched
    (raw / USERS).write_text(FILES[USERS].replace("full_active", "lazy"))
    assert described(KuaiRandPure(tmp_path / "new")[0]["user"], "user_active_degree")[1] == "lazy"
    assert (raw / RANDOM).is_file() and not (raw / STATISTICS).exists()
    want = KuaiRandPure(raw_root(FILES), logs="standard")[0]
    assert torch.equal(dataset[0][MAIN].target, want[MAIN].target)


def test_a_wrong_archive_leaves_nothing(archive, tmp_path, monkeypatch):
    served, path = archive
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(InputError, match=f"has the MD5 [0-9a-f]+ instead of {served.md5}"):
        KuaiRandPure(tmp_path / "new")
    monkeypatch.setattr(KuaiRandPure, "archive", replace(served, source=f"{served.source}.gone"))
    with pytest.raises(InputError, match=r"download from .* failed"):
        KuaiRandPure(tmp_path / "new")
    path.write_bytes(whole)
    monkeypatch.setattr(KuaiRandPure, "archive", replace(served, folder="elsewhere"))
    with pytest.raises(InputError, match=f"'.*{EARLY}' cannot be taken out of") as error:
        KuaiRandPure(tmp_path / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new" / "raw").exists()


def test_published_files_are_pinned():
    (files,) = KuaiRandPure.layouts.values()
    assert {file.name for file in files} == set(FILES)
    assert all(file.source == KuaiRandPure.archive.source for file in files)
    assert all(len(digest) == 64 and int(digest, 16) for file in files for digest in file.sha256)
    assert KuaiRandPure.archive.md5 == "0820331067a3784d9691136f772b35a7"
