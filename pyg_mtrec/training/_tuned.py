"""What the arms of the embedded default are trained with."""

from dataclasses import replace
from typing import Any

from pyg_mtrec.training.settings import Settings

# Each arm's winner, on validation, of the same grid over these three settings:
# benchmarks/results/planted-grid.json.
PLANTED: dict[str, dict[str, Any]] = {
    "single task": {"lr": 0.01, "weight_decay": 1e-4, "batch_size": 2048},
    "sum": {"lr": 0.01, "weight_decay": 1e-4, "batch_size": 2048},
    "pmtrec": {"lr": 0.005, "weight_decay": 1e-4, "batch_size": 512},
}
EASE_L2 = [30.0, 100.0, 300.0, 1000.0, 3000.0]
ARM_SETTINGS = ("lr", "weight_decay", "batch_size")
_UNTOUCHED = (
    "dataset",
    "dataset_options",
    "interactions",
    "encoder",
    "dim",
    "tasks",
    "pretrained",
    "finetune",
    *ARM_SETTINGS,
    "split",
    "protocol",
)


def is_embedded_default(settings: Settings) -> bool:
    r"""Returns whether the run is the one that the grid was searched for."""
    plain = Settings()
    return all(getattr(settings, name) == getattr(plain, name) for name in _UNTOUCHED)


def num_threads(settings: Settings) -> int | None:
    r"""Returns the CPU threads of a run, :obj:`None` for torch's choice."""
    # One is as fast as two on so small a world, and a core that others use cannot stall it.
    return 1 if settings.threads is None and is_embedded_default(settings) else settings.threads


def of_arm(settings: Settings, arm: str) -> Settings:
    r"""Returns the settings of an arm: its own on the embedded default, else all arms' alike."""
    if is_embedded_default(settings) and arm in PLANTED:
        return replace(settings, **PLANTED[arm])
    return settings
