"""The few lines of TOML that a configuration needs; reading is tomllib's."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyg_mtrec._errors import InputError


def dumps(config: Mapping[str, Any]) -> str:
    r"""Writes a table; ``None`` has no TOML and is left out, as a default is.

    Args:
        config: Keys to strings, numbers, booleans, (nested) lists of them, or tables.
    """
    return "\n".join(_lines(config, ())) + "\n"


def loads(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def load(path: Path) -> dict[str, Any]:
    r"""Reads a TOML file.

    Raises:
        InputError: If there is no such file, or it is not TOML.
    """
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"'{path}' does not exist: check the path of the TOML file") from error
    except OSError as error:
        raise InputError(f"cannot read '{path}' ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not valid TOML: {error}") from error


def _lines(table: Mapping[str, Any], prefix: tuple[str, ...]) -> list[str]:
    lines = [
        f"{_key(key)} = {_value(value)}"
        for key, value in table.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    for key, value in table.items():  # tables after the plain keys: they would swallow them
        if isinstance(value, Mapping):
            name = (*prefix, _key(key))
            lines += ["", f"[{'.'.join(name)}]", *_lines(value, name)]
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)  # inf, nan and 1e-05 are TOML too
    if isinstance(value, (str, Path)):
        return _string(str(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"no TOML for a {type(value).__name__}: {value!r}")


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
