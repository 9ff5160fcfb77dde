from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from pyg_mtrec.runs import RunDirectory

Cli = Callable[..., tuple[int, str, str]]
TEST = {"recall@5": 0.1, "recall@20": 0.25, "ndcg@5": 0.05, "ndcg@20": 0.125, "coverage@20": 0.5}
BUCKETS = {"0": {"users": 0}, "1-5": {"users": 1234, "recall@20": 0.2, "ndcg@20": 0.1}}


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, float]], list[Any]]:
    def put(recorded: dict[str, float]) -> list[Any]:
        calls: list[Any] = []

        def evaluate_run(run: RunDirectory, root: str | None) -> dict[str, Any]:
            calls.append((run.path, root))
            return {"test": TEST, "buckets": BUCKETS, "recorded": recorded}

        module = import_module("pyg_mtrec.training.evaluation")
        monkeypatch.setattr(module, "evaluate_run", evaluate_run)
        return calls

    return put


def test_tables(cli: Cli, finished: Any, evaluation: Any) -> None:
    run, calls = finished("run"), evaluation(TEST)
    code, text, err = cli("evaluate", run.path, "--root", "here")
    assert (code, err) == (0, "")
    assert calls == [(run.path, "here")]
    lines = [line.split() for line in text.splitlines()]
    assert ["test", "@5", "@20"] in lines
    assert ["Recall", "0.1000", "0.2500"] in lines
    assert ["Coverage", "-", "0.5000"] in lines
    assert ["1-5", "1,234", "0.2000", "0.1000"] in lines
    assert ["0", "0", "-", "-"] in lines
    assert "hits in the top k / |relevant|" in text
    assert text.endswith("same numbers as in results.json\n")


def test_other_numbers_are_said_so(cli: Cli, finished: Any, evaluation: Any) -> None:
    evaluation({**TEST, "ndcg@20": 0.115})
    _, text, _ = cli("evaluate", finished("run").path)
    assert text.endswith("results.json holds other numbers: they differ by up to 0.01\n")


def test_wrong_input(refused: Any, finished: Any, tmp_path: Any) -> None:
    assert "does not exist" in refused("evaluate", tmp_path / "none")
    assert "holds no run" in refused("evaluate", tmp_path)
    run = finished("run")
    (run.path / "results.json").unlink()
    assert "has not ended" in refused("evaluate", run.path)
