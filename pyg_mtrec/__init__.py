"""Multi-task graph recommendation on PyTorch Geometric."""

from importlib import import_module
from typing import Any

from pyg_mtrec._errors import InputError

__version__ = "0.1.0"

_ROOMS = (
    "datasets",
    "transforms",
    "loader",
    "nn",
    "tasks",
    "gradients",
    "balancing",
    "baselines",
    "metrics",
    "runs",
    "training",
    "cli",
)
__all__ = ["InputError", "__version__", *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"pyg_mtrec.{name}")
    raise AttributeError(f"module 'pyg_mtrec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
