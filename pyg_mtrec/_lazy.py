"""Lazy public names (PEP 562): a room's table is read without importing torch."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy(
    package: str, names: dict[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    r"""Returns the ``__getattr__`` and ``__dir__`` of a room.

    Args:
        package: The room's ``__name__``.
        names: Public name to the module that defines it, relative to the room.
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{names[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next look-up does not come here
        return value

    def __dir__() -> list[str]:
        return sorted(names)

    return __getattr__, __dir__
