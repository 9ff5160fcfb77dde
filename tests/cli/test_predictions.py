"""What the commands say of runs with a head."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pyg_mtrec.cli import _predictions
from pyg_mtrec.cli._evaluate import _verdict
from pyg_mtrec.runs import RunDirectory

Cli = Callable[..., tuple[int, str, str]]
TRAIN = (
    "train --dataset planted --dataset-options num_interactions=1000 --dim 4 --epochs 2"
    " --batch-size 256 --threads 1"
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs with other heads."""
    from pyg_mtrec.cli import main

    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for head in ("shared-bottom", "single-task"):
        paths.append(folder / head)
        flags = ["--head", head, "--balancer", "sum", "--out", str(paths[-1])]
        assert main([*TRAIN.split(), *flags]) == 0
    return paths


def test_the_tables_of_a_run(cli: Cli, runs: list[Path]) -> None:
    results = json.loads((runs[0] / "results.json").read_text())
    text = _predictions.report(results, runs[0])
    assert "watch_time (continuous, core target)     RMSE" in text
    line = next(line for line in text.splitlines() if line.startswith("shared-bottom sum"))
    assert f"{results['test']['click/auc']:.4f}" in line
    assert "selected by watch_time: RMSE" in text
    for name in ("curve", "comparison", "reliability", "predicted"):
        assert str(runs[0] / f"{name}.png") in text
        assert (runs[0] / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_gives_every_metric_again(cli: Cli, runs: list[Path]) -> None:
    code, out, _ = cli("evaluate", runs[0])
    assert code == 0
    assert out.rstrip().endswith("same numbers as in results.json")
    assert "watch_time (continuous)" in out


def test_recommend_ranks_by_the_core_target(cli: Cli, runs: list[Path]) -> None:
    code, out, _ = cli("recommend", runs[0], "--user", 7, "--k", 3)
    assert code == 0
    assert out.splitlines()[0].split() == ["rank", "item", "watch_time"]
    assert len(out.splitlines()) == 5


def test_compare_shows_differences_on_the_same_rows(cli: Cli, runs: list[Path]) -> None:
    code, out, _ = cli("compare", *runs)
    assert code == 0
    rows = [RunDirectory(path).load_tensors("test_rows") for path in runs]
    means = [row["losses"]["click/log_loss"].mean().item() for row in rows]
    lines = out.splitlines()
    second = lines[next(i for i, line in enumerate(lines) if "click: Log loss" in line) + 1]
    assert second.split()[:3] == ["B", f"{means[1]:.4f}", f"{means[1] - means[0]:+.4f}"]
    roots = [row["losses"]["watch_time/squared_error"].mean().sqrt().item() for row in rows]
    third = lines[next(i for i, line in enumerate(lines) if "watch_time: RMSE" in line) + 1]
    assert third.split()[2] == f"{roots[1] - roots[0]:+.4f}"


def test_compare_refuses_other_rows(refused: Callable[..., str], runs: list[Path]) -> None:
    other = runs[1].parent / "other"
    if not other.exists():
        import shutil

        shutil.copytree(runs[1], other)
        rows = RunDirectory(other).load_tensors("test_rows")
        rows["item"] = torch.zeros_like(rows["item"])
        RunDirectory(other).save_tensors("test_rows", rows)
    assert "were tested on other impressions" in refused("compare", runs[0], other)


def test_a_run_that_ranks_cannot_be_compared(
    refused: Callable[..., str], runs: list[Path], tmp_path: Path
) -> None:
    ranks = RunDirectory(tmp_path / "ranks")
    ranks.prepare({"dataset": "planted"}, resume=False)
    ranks.write_results({"test": {"recall@20": 0.1}})
    assert "predicts and" in refused("compare", runs[0], tmp_path / "ranks")


def test_a_number_that_was_zero_counts() -> None:
    assert _verdict({"a": 0.5}, {"a": 0.0}) == (
        "results.json holds other numbers: they differ by up to 0.5"
    )
    same = "same numbers as in results.json"
    assert _verdict({"a": 0.5, "b": 0.0}, {"a": 0.5, "b": None}) == same
