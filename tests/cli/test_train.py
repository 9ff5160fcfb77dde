from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training.settings import Settings

Cli = Callable[..., tuple[int, str, str]]

VALUES = {
    "popularity": (0.08125, 0.05, 0.2, 0.01),
    "ease": (0.2, 0.11, 0.4, 0.3),
    "single task": (0.21, 0.12, 0.41, 0.31),
    "sum": (0.19, 0.1, 0.39, 0.5),
    "pmtrec": (0.22, 0.13, 0.42, 0.51),
    "oracle": (0.5, 0.4, 0.9, 0.6),
}


def comparison() -> dict[str, dict[str, float]]:
    names = ("recall@20", "ndcg@20", "hit_ratio@20", "coverage@20")
    return {arm: dict(zip(names, values, strict=True)) for arm, values in VALUES.items()}


def results(arms: tuple[str, ...] = tuple(VALUES)) -> dict[str, Any]:
    return {
        "metrics": {"recall": "hits in the top k / |relevant|", "ndcg": "gain " * 30},
        "selection": {"split": "validation", "metric": "recall@20", "epoch": 7, "value": 0.25},
        "seconds": {"load": 1.0, "ease": 0.5, "single task": 0.0},
        "users": {"evaluated": 2987, "without_labels": 13},
        "test": comparison()["pmtrec"],
        "comparison": {arm: comparison()[arm] for arm in arms},
        "arms": {
            arm: {"epoch": 7, "seconds": {"train": seconds - 0.5, "validate": 0.5}}
            for arm, seconds in (("single task", 3.0), ("sum", 9.9), ("pmtrec", 10.04))
            if arm in arms
        },
    }


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Puts something in the place of `run_experiment`."""

    def put(run: Callable[..., Any]) -> None:
        room = import_module("pyg_mtrec.training")
        monkeypatch.setitem(vars(room), "run_experiment", run)  # setattr would import the real one

    return put


def test_the_quickstart_table(cli: Cli, training: Any, tmp_path: Path) -> None:
    calls: list[tuple[Any, ...]] = []

    def run(
        settings: Settings, run: RunDirectory, resume: bool, echo: Any, bar: bool
    ) -> dict[str, Any]:
        calls.append((settings, run.path, resume))
        run.prepare({"tau": settings.tau}, resume)
        (run.path / "comparison.png").touch()
        echo("planted: 3,000 users")
        return results()

    training(run)
    out = tmp_path / "run"
    code, text, err = cli("train", "--tau", 0.5, "--out", out)
    assert (code, err) == (0, "")
    assert calls == [(Settings(tau=0.5, out=str(out)), out, False)]
    lines = text.splitlines()
    assert lines[0] == "planted: 3,000 users"
    assert lines[2:10] == [
        "test         Recall@20  NDCG@20  HitRatio@20  Coverage@20  epoch  seconds",
        "─" * 73,
        "popularity      0.0813   0.0500       0.2000       0.0100      -        -",
        "EASE            0.2000   0.1100       0.4000       0.3000      -      0.5",
        "single task     0.2100   0.1200       0.4100       0.3100      7      3.0",
        "sum             0.1900   0.1000       0.3900       0.5000      7      9.9",
        "PMTRec          0.2200   0.1300       0.4200       0.5100      7     10.0",
        "oracle          0.5000   0.4000       0.9000       0.6000      -        -",
    ]
    assert "Recall@20  hits in the top k / |relevant|" in text
    assert "2,987 users" in " ".join(text.split())
    assert f"{out}/results.json" in text
    assert f"{out}/comparison.png" in text
    assert "curve.png" not in text
    assert "\033" not in text
    assert max(len(line) for line in lines if str(out) not in line) <= 100


def test_without_ease(cli: Cli, training: Any, tmp_path: Path) -> None:
    training(lambda *arguments: results(("popularity", "pmtrec")))
    _, text, _ = cli("train", "--out", tmp_path / "run")
    first = [line.partition(" ")[0] for line in text.splitlines()]
    assert [word for word in first if word in ("popularity", "EASE", "sum", "PMTRec")] == [
        "popularity",
        "PMTRec",
    ]


def test_bad_input_found_while_training(refused: Any, training: Any, tmp_path: Path) -> None:
    def run(*arguments: Any) -> None:
        raise InputError("'k' needs to be at most the number of items, 200 (got 300): lower 'k'")

    training(run)
    assert refused("train", "--topk", 300, "--out", tmp_path / "run").startswith("'k' needs to be")


def test_interrupt_says_how_to_go_on(cli: Cli, training: Any, tmp_path: Path) -> None:
    def run(settings: Settings, run: RunDirectory, resume: bool, echo: Any, bar: bool) -> None:
        if settings.seed == 1:
            run.prepare({"seed": 1}, resume)
        raise KeyboardInterrupt

    training(run)
    out = tmp_path / "run"
    code, _, err = cli("train", "--out", out)
    assert (code, err.count("\n")) == (130, 1)
    assert "before anything was written" in err
    code, _, err = cli("train", "--seed", 1, "--out", out)
    line = f"pyg-mtrec: interrupted: continue with 'pyg-mtrec train --resume --out {out}'\n"
    assert (code, err) == (130, line)


def test_folders_are_checked_before_anything_else(
    refused: Any, training: Any, finished: Any, tmp_path: Path
) -> None:
    training(lambda *arguments: pytest.fail("it must not come to training"))
    out = finished("run").path
    assert "already holds a run" in refused("train", "--out", out)
    assert "holds a run with tau = 0.001, not 0.5" in refused(
        "train", "--out", out, "--resume", "--tau", 0.5
    )
    (tmp_path / "thesis.tex").touch()
    assert "not empty and holds no run" in refused("train", "--out", tmp_path)
    assert "is a file" in refused("train", "--out", tmp_path / "thesis.tex")


def test_a_truncated_checkpoint(refused: Any, training: Any, finished: Any) -> None:
    run = finished("run")
    run.checkpoint.save({"epoch": 3, "list": list(range(500))})
    content = run.checkpoint.path.read_bytes()
    run.checkpoint.path.write_bytes(content[: len(content) // 2])

    def resume(settings: Settings, run: RunDirectory, resume: bool, echo: Any, bar: bool) -> None:
        run.checkpoint.load()

    training(resume)
    line = refused("train", "--out", run.path, "--resume")
    assert "checkpoint.pt' is damaged (truncated" in line


def test_a_run_in_two_stages(cli: Cli, training: Any, tmp_path: Path) -> None:
    def run(settings: Settings, run: RunDirectory, *rest: Any) -> dict[str, Any]:
        run.prepare({"tau": settings.tau}, resume=False)
        (run.path / "pretrain.png").touch()
        arms = ("no pretraining", "sum pretraining", "pmtrec pretraining")
        seconds = {"train": 3.0, "validate": 1.0}
        return {
            **results(("popularity",)),
            "comparison": {arm: comparison()["sum"] for arm in ("popularity", *arms)},
            "arms": {arm: {"epoch": 7, "seconds": seconds} for arm in arms},
            "pretraining": {
                arm: {"epoch": 20, "seconds": {"train": 2.5, "validate": 0.0}} for arm in arms[1:]
            },
        }

    training(run)
    out = tmp_path / "run"
    code, text, err = cli("train", "--encoder", "uprth", "--out", out)
    assert (code, err) == (0, "")
    assert text.splitlines()[1:7] == [
        "test                Recall@20  NDCG@20  HitRatio@20  Coverage@20  epoch  seconds",
        "─" * 80,
        "popularity             0.1900   0.1000       0.3900       0.5000      -        -",
        "no pretraining         0.1900   0.1000       0.3900       0.5000      7      4.0",
        "sum pretraining        0.1900   0.1000       0.3900       0.5000   20+7      6.5",
        "PMTRec pretraining     0.1900   0.1000       0.3900       0.5000   20+7      6.5",
    ]
    assert "epoch: of stage 1 by its own loss, of stage 2 selected by Recall@20" in " ".join(
        text.split()
    )
    assert f"{out}/pretrain.png" in text
