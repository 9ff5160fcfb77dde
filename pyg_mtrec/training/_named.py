"""Classes by the names that settings use: a room's literal table is the only registry."""

import inspect
from importlib import import_module
from typing import Any


def named_class(room: str, name: str) -> Any:
    r"""Returns the class of a room whose module has this name, ``-`` and ``_`` alike.

    Args:
        room: The room, such as ``"nn.encoders"``.
        name: The name, such as ``"lightgcn"`` or ``"amazon-office"``.
    """
    package = import_module(f"pyg_mtrec.{room}")
    modules = {module: public for public, module in package._NAMES.items()}
    return getattr(package, modules[name.replace("-", "_")])


def build(cls: Any, **offered: Any) -> Any:
    r"""Makes an object from those of the offered arguments that its constructor takes."""
    taken = inspect.signature(cls).parameters
    return cls(**{name: value for name, value in offered.items() if name in taken})
