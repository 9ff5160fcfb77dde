"""Run directory, results, history, plots, checkpoints."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.runs.checkpoint import Checkpoint as Checkpoint
    from pyg_mtrec.runs.history import History as History
    from pyg_mtrec.runs.run_directory import RunDirectory as RunDirectory

_NAMES = {
    "Checkpoint": "checkpoint",
    "History": "history",
    "RunDirectory": "run_directory",
}
__all__ = [
    "Checkpoint",
    "History",
    "RunDirectory",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
