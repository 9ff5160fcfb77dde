"""Arguments of rules and tasks that settings give as text."""

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

from pyg_mtrec._errors import InputError


def parse_options(options: Iterable[str], setting: str) -> dict[str, Any]:
    r"""Returns ``["c=0.4", "scope=row"]`` as ``{"c": 0.4, "scope": "row"}``.

    Args:
        options: The texts. A value is a number, ``true`` or ``false``, several of them separated by
            commas, or else a string.
        setting: Where they stand, for the message.

    Raises:
        InputError: If a text is not ``NAME=VALUE`` or a name occurs twice.
    """
    found: dict[str, Any] = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not (name and equals and text):
            raise InputError(f"'{setting}' needs NAME=VALUE (got '{option}')")
        if name in found:
            raise InputError(f"'{setting}' holds '{name}' twice: give it once")
        parts = [_value(part) for part in text.split(",") if part]
        found[name] = parts if "," in text else parts[0]
    return found


def check_options(options: Iterable[str], call: Callable[..., Any], owner: str) -> None:
    r"""Refuses options that a constructor does not take.

    Args:
        options: Their names.
        call: The constructor.
        owner: What is constructed, for the message.

    Raises:
        InputError: If it does not take one of them.
    """
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(call).parameters
    taken = [name for name, parameter in parameters.items() if parameter.kind not in variadic]
    for name in options:
        if name not in taken:
            near = get_close_matches(name, taken, 1)
            hint = f"it takes {', '.join(taken) or 'none at all'}"
            if near:
                hint = f"did you mean '{near[0]}'?"
            raise InputError(f"'{owner}' takes no option '{name}': {hint}")


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
