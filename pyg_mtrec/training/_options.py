"""Arguments of encoders, rules and tasks that settings give as text."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pyg_mtrec._errors import InputError

_KINDS = {bool: "true or false", int: "an integer", float: "a number", str: "a word"}


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


def check_values(options: Mapping[str, Any], cls: type, owner: str) -> None:
    r"""Refuses values that are not of the type that a constructor asks for.

    Args:
        options: Names and values.
        cls: The class.
        owner: What is constructed, for the message.

    Raises:
        InputError: If a value is of another type, or its type cannot be written as text.
    """
    hints = get_type_hints(cls.__init__)  # type: ignore[misc]
    for name, value in options.items():
        hint = hints.get(name, Any)
        if hint is not Any and not _fits(value, hint):
            given = ",".join(map(str, value)) if isinstance(value, list) else value
            raise InputError(
                f"'{owner}' cannot be made of {name}={given}: '{name}' {_wanted(hint)}"
            )


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) in (types.UnionType, Union):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return True  # the constructor itself knows its choices
    if get_origin(hint) in (list, Sequence):
        inner = get_args(hint)[0]
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    if hint is float:
        return type(value) in (int, float)
    return hint in (int, bool, str) and type(value) is hint


def _wanted(hint: Any) -> str:
    parts = get_args(hint) if get_origin(hint) in (types.UnionType, Union) else (hint,)
    known = [_KINDS[part] for part in parts if part in _KINDS]
    if any(get_origin(part) in (list, Sequence) for part in parts):
        known.append("several, separated by commas (a single one with a comma behind it)")
    return f"needs to be {' or '.join(known)}" if known else "cannot be given as text"


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
