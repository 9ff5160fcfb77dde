"""Fit, early stopping, settings, experiments."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.training.early_stopping import EarlyStopping as EarlyStopping
    from pyg_mtrec.training.evaluation import evaluate_run as evaluate_run
    from pyg_mtrec.training.experiment import run_experiment as run_experiment
    from pyg_mtrec.training.multi_task_step import MultiTaskStep as MultiTaskStep
    from pyg_mtrec.training.prediction_scorer import PredictionScorer as PredictionScorer
    from pyg_mtrec.training.row_adam import RowAdam as RowAdam
    from pyg_mtrec.training.settings import Settings as Settings
    from pyg_mtrec.training.trainer import Trainer as Trainer

_NAMES = {
    "EarlyStopping": "early_stopping",
    "MultiTaskStep": "multi_task_step",
    "PredictionScorer": "prediction_scorer",
    "RowAdam": "row_adam",
    "Settings": "settings",
    "Trainer": "trainer",
    "evaluate_run": "evaluation",
    "run_experiment": "experiment",
}
__all__ = [
    "EarlyStopping",
    "MultiTaskStep",
    "PredictionScorer",
    "RowAdam",
    "Settings",
    "Trainer",
    "evaluate_run",
    "run_experiment",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
