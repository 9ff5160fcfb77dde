"""Trials and runs of the HTLNet benchmark: each is written as it ends, and never done twice."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper._htlnet_cells import Cell, Params, Study
from benchmarks.paper._search import Trial, read_json, tune, write_json
from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import Constant
from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.training import Settings
from pyg_mtrec.training._impressions import ImpressionData, load_impressions
from pyg_mtrec.training._prediction_run import evaluator
from pyg_mtrec.training._predictor_arm import PredictorArm, select_metric
from pyg_mtrec.training.trainer import Trainer

FAILED = -1e30  # the value of a trial that diverged
# Settings that decide which rows and targets there are
_OF_DATA = (
    "dataset",
    "dataset_options",
    "root",
    "interactions",
    "categorical",
    "numeric",
    "targets",
    "core_target",
    "split",
)


@lru_cache(maxsize=8)
def _loaded(settings: str) -> ImpressionData:
    return load_impressions(Settings(**json.loads(settings)))


def load(study: Study, settings: Settings) -> ImpressionData:
    """The split log of a run; kept, since every cell needs the same."""
    wanted = {name: getattr(settings, name) for name in _OF_DATA}
    return _loaded(json.dumps(wanted | ({"seed": settings.seed} if study.random else {})))


class Run:
    """One training, with its validation metrics epoch by epoch."""

    def __init__(self, study: Study, cell: Cell, params: Params, seed: int) -> None:
        self.settings = study.at(cell, params, seed)
        self.data = load(study, self.settings)
        self.arm = PredictorArm(
            str(cell), self.settings, cell.head, cell.rule, self.data, torch.device("cpu")
        )
        self.metric = select_metric(self.settings, self.data)
        self.curve: list[float] = []
        valid = evaluator(self.data, "val")
        self.trainer: Trainer = self.arm.trainer(
            lambda: valid(self.arm.predict(self.data.val)).metrics,
            loggers=[lambda row: self.curve.append(round(row[f"valid/{self.metric}"], 6))],
            progress=False,
        )
        began = time.perf_counter()
        self.valid = self.trainer.fit()
        self.seconds = round(time.perf_counter() - began, 2)

    def record(self) -> dict[str, Any]:
        """What is kept of it, but for the test set."""
        stopping = self.trainer.stopping
        return {
            "epoch": stopping.best_epoch,
            "epochs": self.trainer.epoch,
            "seconds": self.seconds,
            "metric": self.metric,
            "valid": self.valid,
            "curve": self.curve,
            "parameters": self.arm.num_parameters(),
        }


def search(
    study: Study,
    cell: Cell,
    space: dict[str, list[Any]],
    folder: Path,
    trials: int,
    deadline: float = float("inf"),
) -> Params | None:
    """Searches a grid on validation of the study's search seed.

    Args:
        study: The log.
        cell: What is trained.
        space: The grid.
        folder: Where search.json lies or will.
        trials: The number of different trials.
        deadline: The time after which no trial is begun.

    Returns:
        The best parameters, None if the deadline came before all trials were run.
    """

    def trial(params: Params, before: list[Trial]) -> Trial:
        began = time.perf_counter()
        try:
            run = Run(study, cell, params, study.search_seed)
        except InputError as error:
            # A training that leaves the numbers is a bad trial, not a bad input.
            if not any(word in str(error) for word in ("became", "diverged")):
                raise
            seconds = round(time.perf_counter() - began, 2)
            return {"params": params, "value": FAILED, "epoch": 0, "epochs": 0, "seconds": seconds}
        return {
            "params": params,
            "value": run.trainer.stopping.best_value,
            "epoch": run.trainer.stopping.best_epoch,
            "epochs": run.trainer.epoch,
            "seconds": run.seconds,
        }

    return tune(folder / "search.json", str(cell), space, trials, trial, deadline)


def run_seed(
    study: Study, cell: Cell, folder: Path, params: Params, seed: int, test: bool = True
) -> dict[str, Any]:
    """Trains from one seed with what the search found, and reads the test set, once.

    Args:
        study: The log.
        cell: What is trained.
        folder: Where seedN.json lies or will, and the test rows beside it.
        params: What was found.
        seed: The seed.
        test: Whether to read the test set at all.
    """
    path = folder / f"seed{seed}.json"
    if path.exists():
        return dict(read_json(path))
    run = Run(study, cell, params, seed)
    found = {
        "cell": str(cell),
        "seed": seed,
        "params": params,
        "settings": _settings(run.settings),
        "targets": run.data.targets,
        "core": run.data.core,
        **run.record(),
    }
    if test:
        found |= _test(run, path.with_suffix(".rows.pt"))
    write_json(path, found)
    return found


def _test(run: Run, path: Path) -> dict[str, Any]:
    """Test metrics of the run, of the best constant and, if there is one, of the oracle."""
    data = run.data
    judge = evaluator(data, "test")
    predictions = run.arm.predict(data.test)
    result = judge(predictions)
    rows = ImpressionLoader(data.test, shuffle=False).whole()
    _save(
        path,
        {
            "user": data.test["user"].raw_id[rows.user],
            "labels": {target: data.label("test", target) for target in data.targets},
            "predictions": predictions,
            "losses": result.per_row,
        },
    )
    label = torch.stack([data.label("train", target) for target in data.targets], dim=1)
    constant = Constant(label, data.targets).predict(judge.num_rows)
    oracle = None if data.oracle is None else judge(data.oracle(data.test)).metrics
    return {
        "test": result.metrics,
        "num_labelled": result.num_labelled,
        "constant": judge(constant).metrics,
        "oracle": oracle,
        "split": data.test.split_report,
        "provenance": data.provenance,
    }


def finished(folder: Path, seeds: Iterable[int] | None = None) -> dict[int, dict[str, Any]]:
    """Seed to its run, of those that are done."""
    paths = sorted(folder.glob("seed*.json"))
    runs = {int(path.stem.removeprefix("seed")): path for path in paths}
    wanted = sorted(runs) if seeds is None else [seed for seed in seeds if seed in runs]
    return {seed: read_json(runs[seed]) for seed in wanted}


def rows_of(folder: Path, seed: int) -> dict[str, Any]:
    """The test rows of a run: users, labels, predictions and losses."""
    found: dict[str, Any] = torch.load(folder / f"seed{seed}.rows.pt", weights_only=True)
    return found


def _save(path: Path, rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    torch.save(rows, temporary)
    os.replace(temporary, path)


def _settings(settings: Settings) -> dict[str, Any]:
    hidden = ("root", "out", "threads", "device", "interactions")
    return {name: value for name, value in asdict(settings).items() if name not in hidden}
