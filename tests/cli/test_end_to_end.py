import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyg_mtrec.runs import RunDirectory

Cli = Callable[..., tuple[int, str, str]]
FILES = {"results.json", "config.toml", "history.csv", "curve.png", "comparison.png"}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    draw = random.Random(0)
    lines = [f"u{user},i{item}" for user in range(40) for item in draw.sample(range(30), 8)]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(["user,item", *lines, ""]))
    return path


def train(cli: Cli, mine: Path, out: Path, *argv: object) -> tuple[int, str, str]:
    return cli("train", "--interactions", mine, "--out", out, "--dim", 4, "--topk", 5, 20, *argv)


def test_own_tables_to_recommendations(cli: Cli, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, text, err = train(cli, mine, out, "--epochs", 2)
    assert (code, err) == (0, "")
    assert {"popularity", "EASE", "PMTRec"} <= {line.partition(" ")[0] for line in text.split("\n")}
    assert {path.name for path in out.iterdir()} >= FILES
    results = RunDirectory(out).read_results()

    code, text, err = cli("evaluate", out)
    assert (code, err) == (0, "")
    assert text.endswith("same numbers as in results.json\n")

    _, text, _ = cli("recommend", out, "--user", "u3", "--k", 5)
    items = [line.split()[1] for line in text.splitlines()[2:]]
    seen = {line.split(",")[1] for line in mine.read_text().split() if line.startswith("u3,")}
    assert len(set(items)) == 5
    assert len(seen & set(items)) <= 2  # of the 8, at most the test items are not masked

    assert train(cli, mine, out, "--epochs", 2, "--resume")[0] == 0  # it was complete
    assert RunDirectory(out).read_results()["test"] == results["test"]
    assert train(cli, mine, tmp_path / "other", "--epochs", 2, "--balancer", "sum")[0] == 0
    code, text, _ = cli("compare", out, tmp_path / "other")
    assert code == 0
    assert " B  " in text


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "empty"),
        ("user,item\n", "no rows"),
        ("user,thing\n1,2\n", "item"),
        ("user,item\n1,2\n,3\n", "row"),
        ("user,item\n1,2\n-1,3\n", "-1"),
    ],
)
def test_bad_tables(refused: Any, tmp_path: Path, content: str, word: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    line = refused("train", "--interactions", path, "--out", tmp_path / "run")
    assert "bad.csv" in line
    assert word in line
    assert not (tmp_path / "run").exists()


def test_a_cut_off_beyond_the_catalogue(refused: Any, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    line = refused("train", "--interactions", mine, "--topk", 31, "--out", out)
    assert "30 items of the catalogue (got 31)" in line
    assert not out.exists()


def test_unknown_task(refused: Any, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    argv = ("--interactions", mine, "--topk", 20, "--tasks", "bpt", "--out", out)
    assert "'bpt'" in refused("train", *argv)
    assert not out.exists()


def test_missing_raw_files(refused: Any, tmp_path: Path) -> None:
    # every other set would be downloaded; this one is only read
    out = tmp_path / "run"
    line = refused("train", "--dataset", "gowalla", "--root", tmp_path / "x", "--out", out)
    assert line.startswith(f"root '{tmp_path / 'x'}' does not exist")
    assert not out.exists()


def test_two_stages_from_own_tables(cli: Cli, refused: Any, mine: Path, tmp_path: Path) -> None:
    friends = tmp_path / "friends.csv"
    friends.write_text("user,friend\n" + "".join(f"u{u},u{(u * 7 + 3) % 40}\n" for u in range(40)))
    out = tmp_path / "run"
    two = ("--social", friends, "--encoder", "uprth", "--select-metric", "recall@5", "--threads", 1)
    short = ("--pretrain-epochs", 3, "--epochs", 2, "--yardsticks", "popularity")
    code, text, err = train(cli, mine, out, *two, *short, "--comparison", "on")
    assert (code, err) == (0, "")
    lines = text.splitlines()
    assert lines[2].startswith("stage 1, pretraining: uprth, d = 4, tasks: alignment, hyperedge-")
    assert lines[3].startswith("stage 2, finetuning: uprth without attention, d = 4, tasks: bpr;")
    assert "  a guess costs 0.6931 = ln 2" in text
    names = [line.partition("  ")[0] for line in lines]
    at = names.index("popularity")
    assert names[at : at + 4] == [
        "popularity",
        "no pretraining",
        "sum pretraining",
        "PMTRec pretraining",
    ]
    files = {"pretrain.csv", "pretrain.png", "pretrained.pt", *FILES}
    assert {path.name for path in out.iterdir()} >= files

    assert cli("evaluate", out)[1].endswith("same numbers as in results.json\n")
    assert len(cli("recommend", out, "--user", "u3", "--k", 5)[1].splitlines()) == 7
    other = tmp_path / "other"
    given = ("--pretrained", out / "pretrained.pt", "--finetune", "lightgcn")
    code, text, err = train(cli, mine, other, *two, *short, *given, "--pretrain-epochs", 0)
    assert (code, err) == (0, "")
    assert f"tables of '{out}/pretrained.pt' (mine): 40 of 40 users, 30 of 30 items" in text
    code, text, _ = cli("compare", out, other)
    assert code == 0 and " B  " in text
    code, text, _ = train(cli, mine, out, *two, *short, "--comparison", "on", "--resume")
    assert code == 0 and "nothing to resume" in text

    bad = ("--interactions", mine, *two[2:], "--topk", 5, "--out", tmp_path / "bad")
    assert "nothing but interactions" in refused("train", *bad)
    assert "is no file" in refused("train", *bad, "--pretrained", tmp_path / "none.pt")
    damaged = refused("train", *bad, "--pretrained", mine, "--pretrain-epochs", 0)
    assert "mine.csv' is damaged" in damaged
    assert not (tmp_path / "bad").exists()
