"""Trials and runs of the DTRN benchmark: each is written as it ends, and never done twice."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.paper._dtrn_cells import Cell
from benchmarks.paper._htlnet_cells import Params, Study
from benchmarks.paper._htlnet_runs import _OF_DATA, FAILED, _save, _settings
from benchmarks.paper._search import Trial, read_json, tune, write_json
from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import Constant
from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.metrics import PredictionResult
from pyg_mtrec.training import Settings
from pyg_mtrec.training._arm import optimizer_of
from pyg_mtrec.training._impressions import ImpressionData, load_impressions
from pyg_mtrec.training._prediction_run import evaluator
from pyg_mtrec.training._predictor_arm import PredictorArm
from pyg_mtrec.training.multi_task_step import MultiTaskStep
from pyg_mtrec.training.trainer import Trainer

METRIC = "mean/log_loss"  # over the targets, all of which are binary


@lru_cache(maxsize=8)
def _loaded(settings: str) -> ImpressionData:
    return load_impressions(Settings(**json.loads(settings)))


def load(settings: Settings, behaviours: Sequence[str] | None = None) -> ImpressionData:
    """The split log of a run, the same rows whatever stands below the head.

    Args:
        settings: The settings.
        behaviours: What a bottom may read (default: all that there is).
    """
    wanted = {name: getattr(settings, name) for name in (*_OF_DATA, "behaviours")}
    found = _loaded(json.dumps(wanted | {"head": settings.head, "bottom": "dtrn"}))
    if settings.bottom is None:
        return replace(found, behaviours=[])
    return found if behaviours is None else replace(found, behaviours=list(behaviours))


def metrics_of(result: PredictionResult, targets: Sequence[str]) -> dict[str, float]:
    """All metrics, and the mean log loss of the targets, which selects."""
    losses = [result.metrics[f"{target}/log_loss"] for target in targets]
    return {**result.metrics, METRIC: sum(losses) / len(losses)}


class Run:
    """One training, with its validation metrics epoch by epoch."""

    def __init__(
        self,
        settings: Settings,
        data: ImpressionData,
        step: type[MultiTaskStep] = MultiTaskStep,
    ) -> None:
        self.settings, self.data = settings, data
        self.arm = build(settings, data)
        before = self.arm.step
        self.arm.step = step(before.collector, before.balancer, before.adj_dict)
        self.curve: list[float] = []
        valid = evaluator(data, "val")
        self.trainer = Trainer(
            self.arm.step,
            self.arm.loader,
            optimizer_of(settings, [self.arm.model], self.arm.step),
            lambda: metrics_of(valid(self.arm.predict(data.val)), list(data.targets)),
            select=METRIC,
            epochs=settings.epochs,
            patience=settings.patience,
            loggers=[lambda row: self.curve.append(round(row[f"valid/{METRIC}"], 6))],
            progress=False,
        )
        began = time.perf_counter()
        self.valid = self.trainer.fit()
        self.seconds = round(time.perf_counter() - began, 2)

    def record(self) -> dict[str, Any]:
        """What is kept of it, but for the test set."""
        return {
            "epoch": self.trainer.stopping.best_epoch,
            "epochs": self.trainer.epoch,
            "seconds": self.seconds,
            "metric": METRIC,
            "valid": self.valid,
            "curve": self.curve,
            "parameters": self.arm.num_parameters(),
        }


def build(settings: Settings, data: ImpressionData) -> PredictorArm:
    """What is trained, from its first weights."""
    head = str(settings.head)
    return PredictorArm(head, settings, head, settings.balancer, data, torch.device("cpu"))


def search(
    study: Study,
    cell: Cell,
    space: dict[str, list[Any]],
    folder: Path,
    trials: int,
    deadline: float = float("inf"),
) -> Params | None:
    """Searches a grid on validation of the study's search seed; None if the time is over."""

    def trial(params: Params, before: list[Trial]) -> Trial:
        settings = cell.settings(study, params, study.search_seed)
        began = time.perf_counter()
        try:
            run = Run(settings, load(settings))
        except InputError as error:
            # A training that leaves the numbers is a bad trial, not a bad input.
            if not any(word in str(error) for word in ("became", "diverged")):
                raise
            seconds = round(time.perf_counter() - began, 2)
            return {"params": params, "value": FAILED, "epoch": 0, "epochs": 0, "seconds": seconds}
        stopping = run.trainer.stopping
        return {
            "params": params,
            "value": stopping.best_value,
            "epoch": stopping.best_epoch,
            "epochs": run.trainer.epoch,
            "seconds": run.seconds,
        }

    return tune(folder / "search.json", str(cell), space, trials, trial, deadline)


def run_seed(
    study: Study,
    cell: Cell,
    folder: Path,
    params: Params,
    seed: int,
    behaviours: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Trains from one seed with what the search found, reads the test set once, keeps the weights.

    Args:
        study: The log.
        cell: What is trained.
        folder: Where seedN.json lies or will, test rows and weights beside it.
        params: What was found.
        seed: The seed.
        behaviours: What a bottom may read (default: all that there is).
    """
    path = folder / f"seed{seed}.json"
    if path.exists():
        return dict(read_json(path))
    settings = cell.settings(study, params, seed)
    data = load(settings, behaviours)
    run = Run(settings, data)
    torch.save(run.arm.state(), _made(path.with_suffix(".model.pt")))
    found = {
        "cell": str(cell),
        "seed": seed,
        "params": params,
        "settings": _settings(settings),
        "targets": data.targets,
        "behaviours": data.behaviours,
        **run.record(),
        **test_of(data, run.arm.predict(data.test), path.with_suffix(".rows.pt")),
    }
    write_json(path, found)
    return found


def trained(
    study: Study,
    cell: Cell,
    folder: Path,
    params: Params,
    seed: int,
    behaviours: Sequence[str] | None = None,
) -> PredictorArm:
    """The arm of a run that is done, with its weights."""
    settings = cell.settings(study, params, seed)
    arm = build(settings, load(settings, behaviours))
    arm.load(torch.load(folder / f"seed{seed}.model.pt", weights_only=True))
    arm.model.eval()
    return arm


def test_of(data: ImpressionData, predictions: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """Test metrics of predictions, of the best constant and, if there is one, of the oracle."""
    judge, targets = evaluator(data, "test"), list(data.targets)
    result = judge(predictions)
    losses = {f"{target}/log_loss": result.per_row[f"{target}/log_loss"] for target in targets}
    mean = torch.stack(list(losses.values())).mean(0)
    rows = ImpressionLoader(data.test, shuffle=False).whole()
    _save(
        path,
        {
            "user": data.test["user"].raw_id[rows.user],
            "labels": {target: data.label("test", target) for target in targets},
            "predictions": {target: predictions[target] for target in targets},
            "losses": {**losses, METRIC: mean},
        },
    )
    constant = judge(Constant(data.labels("train"), data.targets).predict(judge.num_rows))
    oracle = None
    if data.oracle is not None:
        best = data.oracle(data.test)
        oracle = judge({target: best[target] for target in targets})
    return {
        "test": metrics_of(result, targets),
        "num_labelled": result.num_labelled,
        "constant": metrics_of(constant, targets),
        "oracle": None if oracle is None else metrics_of(oracle, targets),
        "split": data.test.split_report,
        "provenance": data.provenance,
    }


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
