from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pyg_mtrec.cli import main
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training.settings import Settings

Outcome = tuple[int, str, str]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`cli("train", "--tau", 0)`: exit code, standard output, standard error."""

    def call(*argv: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in argv])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def refused(cli: Callable[..., Outcome]) -> Callable[..., str]:
    """`refused(...)`: the one line that wrong input gets."""

    def call(*argv: object) -> str:
        code, out, err = cli(*argv)
        assert (code, out) == (2, "")
        assert err.startswith("pyg-mtrec: error: ")
        assert err.count("\n") == 1
        return err.removeprefix("pyg-mtrec: error: ").rstrip("\n")

    return call


@pytest.fixture
def finished(tmp_path: Path) -> Callable[..., RunDirectory]:
    """`finished("name", ...)`: a run directory as training leaves it."""

    def make(
        name: str,
        per_user: dict[str, Tensor] | None = None,
        users: Tensor | None = None,
        model: dict[str, Tensor] | None = None,
        ids: dict[str, Any] | None = None,
        seen: Tensor | None = None,
        **results: Any,
    ) -> RunDirectory:
        run = RunDirectory(tmp_path / name)
        run.prepare(asdict(Settings()), resume=False)
        per_user = per_user or {"recall@20": torch.tensor([0.0, 1.0])}
        users = torch.arange(next(iter(per_user.values())).numel()) if users is None else users
        means = {metric: values.mean().item() for metric, values in per_user.items()}
        run.write_results(
            {
                "dataset": {"name": "planted", "sha256": {"a": "1"}},
                "split": {"strategy": "random", "seed": 0, "train": 8, "val": 1, "test": 1},
                "masking": "training and validation interactions",
                "metrics": {"recall": "hits in the top k / |relevant|"},
                "selection": {
                    "split": "validation",
                    "metric": "recall@20",
                    "epoch": 3,
                    "value": 0.25,
                },
                "seconds": {},
                "test": means,
                "comparison": {},
                **results,
            }
        )
        run.save_tensors("test_users", {"users": users, "metrics": per_user})
        if model is not None:
            run.save_tensors("model", model)
        if ids is not None:
            run.save_tensors("ids", ids)
        if seen is not None:
            run.save_tensors("seen", {"edge_index": seen})
        return run

    return make
