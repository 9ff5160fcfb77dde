from collections.abc import Callable
from typing import Any

import pytest
import torch

from pyg_mtrec.datasets._raw_ids import encode_strings
from pyg_mtrec.runs import RunDirectory

Cli = Callable[..., tuple[int, str, str]]

MODEL = {
    "user_x": torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    "item_x": torch.tensor([[0.5, 4.0], [3.0, 1.0], [2.0, 2.5], [1.0, -3.0]]),
}
SEEN = torch.tensor([[0, 0, 1, 2, 2, 2, 2], [1, 3, 0, 0, 1, 2, 3]])


@pytest.fixture
def run(finished: Callable[..., RunDirectory]) -> RunDirectory:
    ids = {"user": torch.tensor([70, 5, 900]), "item": torch.tensor([11, 22, 33, 44])}
    return finished("run", model=MODEL, seen=SEEN, ids={"raw_id": ids, "tables": {}})


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[2:]]


def test_raw_ids_scores_and_seen(cli: Cli, run: RunDirectory) -> None:
    code, text, err = cli("recommend", run.path, "--user", 70, "--k", 2)
    assert (code, err) == (0, "")
    assert rows(text) == [["1", "33", "2.0000"], ["2", "11", "0.5000"]]
    _, text, _ = cli("recommend", run.path, "--user", 70, "--k", 4, "--include-seen")
    assert rows(text) == [
        ["1", "22", "3.0000"],
        ["2", "33", "2.0000"],
        ["3", "44", "1.0000"],
        ["4", "11", "0.5000"],
    ]
    _, text, _ = cli("recommend", run.path, "--user", "5", "--k", 1)
    assert rows(text) == [["1", "33", "2.5000"]]


def test_fewer_than_k_are_left(cli: Cli, run: RunDirectory) -> None:
    _, text, _ = cli("recommend", run.path, "--user", 70, "--k", 4)
    assert len(rows(text)) == 3
    assert text.splitlines()[-1] == "user '70' has seen all the other items"
    code, text, _ = cli("recommend", run.path, "--user", 900, "--k", 1)
    assert code == 0
    assert text.splitlines()[-1] == "user '900' has seen all the other items"


def test_string_ids(cli: Cli, refused: Any, finished: Callable[..., RunDirectory]) -> None:
    order = torch.tensor([2, 0, 1])
    items = encode_strings(["milk", "Käse", "a b", ""])
    run = finished(
        "strings",
        model=MODEL,
        seen=SEEN,
        ids={
            "raw_id": {"user": order, "item": torch.arange(4)},
            "tables": {"user": encode_strings(["anna", "bert", "carla"]), "item": items},
        },
    )
    _, text, _ = cli("recommend", run.path, "--user", "anna", "--k", 2, "--include-seen")
    assert rows(text) == [["1", "milk", "4.0000"], ["2", "a", "b", "2.5000"]]
    assert "carla" in refused("recommend", run.path, "--user", "karla")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--user", 71], "there is no user '71'"),
        (["--user", "x"], "ids of 'user' are integers (got 'x')"),
        (["--user", 70, "--k", 0], "'--k' needs to be at least 1 (got 0)"),
        (["--user", 70, "--k", 5], "'k' needs to be at most the number of items, 4 (got 5)"),
    ],
)
def test_wrong_input(refused: Any, run: RunDirectory, argv: list[Any], line: str) -> None:
    assert refused("recommend", run.path, *argv).startswith(line)


def test_unknown_users_get_the_nearest(refused: Any, run: RunDirectory) -> None:
    line = refused("recommend", run.path, "--user", 71)
    assert "70" in line.partition("nearest")[2]


def test_runs_that_are_not_there(refused: Any, run: RunDirectory) -> None:
    (run.path / "model.pt").unlink()
    assert "model.pt' is missing" in refused("recommend", run.path, "--user", 70)
    (run.path / "results.json").unlink()
    assert "has not ended" in refused("recommend", run.path, "--user", 70)
    assert "does not exist" in refused("recommend", run.path / "none", "--user", 70)
