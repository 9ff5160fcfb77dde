"""The fields of ``Settings`` as the command line and TOML see them."""

import types
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli._choices import choose, unknown
from pyg_mtrec.training.settings import Settings

_ARTICLE = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
}


@dataclass(frozen=True)
class Field:
    r"""One setting: its name, plain type, and what its metadata says."""

    name: str
    kind: type
    many: bool
    default: Any
    help: str
    metavar: str | None
    room: str | None
    choices: tuple[str, ...] | None

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    def convert(self, value: Any, source: str) -> Any:
        r"""Returns a value of TOML as the setting's type, choices as their room spells them.

        Args:
            value: What was found.
            source: Where, for the message.
        """
        if not self.many:
            return self._convert_one(value, source)
        if not isinstance(value, (list, tuple)):
            raise InputError(
                f"'{self.name}' in {source} needs to be a list, each entry {_ARTICLE[self.kind]}"
                f" (got {value!r})"
            )
        return [self._convert_one(item, source) for item in value]

    def _convert_one(self, value: Any, source: str) -> Any:
        if self.kind is float and type(value) is int:
            value = float(value)
        if type(value) is not self.kind:  # isinstance would take true for 1
            raise InputError(
                f"'{self.name}' in {source} needs to be {_ARTICLE[self.kind]} (got {value!r})"
            )
        if self.room is not None:
            return choose(self.name, str(value), self.room)
        if self.choices is not None and value not in self.choices:
            raise unknown(self.name, str(value), self.choices)
        return value


def setting_fields() -> dict[str, Field]:
    r"""Returns all settings, in their order."""
    hints = get_type_hints(Settings)
    found = {}
    for field in fields(Settings):
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        kind, many = _plain(hints[field.name])
        found[field.name] = Field(
            field.name,
            kind,
            many,
            default,
            field.metadata["help"],
            field.metadata.get("metavar"),
            field.metadata.get("room"),
            field.metadata.get("choices"),
        )
    return found


def _plain(hint: Any) -> tuple[type, bool]:
    if isinstance(hint, types.UnionType):  # X | None
        (hint,) = (part for part in get_args(hint) if part is not types.NoneType)
    if get_origin(hint) is list:
        return get_args(hint)[0], True
    return hint, False
