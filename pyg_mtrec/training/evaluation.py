from typing import Any

import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import DotProductScorer
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training._data import load_data
from pyg_mtrec.training._impressions import load_impressions
from pyg_mtrec.training._prediction_run import evaluator as evaluator_of_targets
from pyg_mtrec.training._prediction_run import prediction_plans
from pyg_mtrec.training._predictor_arm import PredictorArm
from pyg_mtrec.training.experiment import evaluator
from pyg_mtrec.training.prediction_scorer import PredictionScorer
from pyg_mtrec.training.settings import Settings


def evaluate_run(run: RunDirectory, root: str | None = None) -> dict[str, Any]:
    r"""Ranks, or predicts, the test set of a finished run again, from what it saved.

    Args:
        run: The run.
        root: The folder of the data sets, if it has moved since.

    Returns:
        ``test`` and ``buckets`` as measured now, and ``recorded``, what ``results.json`` holds.

    Raises:
        InputError: If the run is not complete or the raw files are not those it was trained on.
    """
    settings = Settings(**run.read_config())
    if root is not None:
        settings.root = root
    recorded = run.read_results()
    model = run.load_tensors("model")
    if settings.head is not None:
        arm = _load_arm(settings, model, recorded)
        test = evaluator_of_targets(arm.data, "test")(arm.predict(arm.data.test))
        return {"test": test.metrics, "recorded": recorded["test"]}
    data = load_data(settings)
    _check_files(settings, data.provenance, recorded)
    result = evaluator(settings, data, "test")(DotProductScorer(model["user_x"], model["item_x"]))
    return {"test": result.metrics, "buckets": result.buckets, "recorded": recorded["test"]}


def load_scorer(run: RunDirectory, root: str | None = None) -> PredictionScorer:
    r"""Returns what ranks items by the core target of a finished run with a head.

    Args:
        run: The run.
        root: The folder of the data sets, if it has moved since.

    Raises:
        InputError: If the run is not complete or the raw files are not those it was trained on.
    """
    settings = Settings(**run.read_config())
    if root is not None:
        settings.root = root
    arm = _load_arm(settings, run.load_tensors("model"), run.read_results())
    task = arm.tasks[arm.data.core]
    return PredictionScorer(arm.model, task, arm.loader, arm.model.represent(arm.adj_dict))


def _load_arm(settings: Settings, model: dict[str, Any], recorded: dict[str, Any]) -> PredictorArm:
    data = load_impressions(settings)
    _check_files(settings, data.provenance, recorded)
    arm = prediction_plans(settings)[-1].build(settings, data, torch.device("cpu"))
    arm.load(model)
    return arm


def _check_files(settings: Settings, provenance: dict[str, Any], recorded: dict[str, Any]) -> None:
    if provenance["sha256"] != recorded["dataset"]["sha256"]:
        raise InputError(
            f"the raw files under '{settings.root}' are not those of the run (SHA-256 differ):"
            " pass '--root' of the folder that it was trained on"
        )
