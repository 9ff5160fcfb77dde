"""Losses to per-task gradients on the rows that a step touched, and back into .grad."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.gradients.gradient_collector import GradientCollector as GradientCollector
    from pyg_mtrec.gradients.prediction_collector import (
        PredictionCollector as PredictionCollector,
    )
    from pyg_mtrec.gradients.row_gradients import RowGradients as RowGradients
    from pyg_mtrec.gradients.task_gradients import TaskGradients as TaskGradients
    from pyg_mtrec.gradients.update import Update as Update

_NAMES = {
    "GradientCollector": "gradient_collector",
    "PredictionCollector": "prediction_collector",
    "RowGradients": "row_gradients",
    "TaskGradients": "task_gradients",
    "Update": "update",
}
__all__ = [
    "GradientCollector",
    "PredictionCollector",
    "RowGradients",
    "TaskGradients",
    "Update",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
