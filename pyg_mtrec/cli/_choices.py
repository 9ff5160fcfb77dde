"""What can be chosen by name, read from the rooms' tables of public names without torch."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module

from pyg_mtrec._errors import InputError

# Public names that cannot be chosen: base classes, what they return, and what does not rank
_HIDDEN = {
    "Balancer",
    "Bottom",
    "Encoder",
    "FromTorchJD",
    "GramBalancer",
    "Head",
    "LossBalancer",
    "Representations",
    "TIM",
    "TRM",
    "baselines.Constant",
    "baselines.ItemRate",
}
_SPOKEN = {
    "dataset": "data set",
    "yardsticks": "yardstick",
    "finetune": "encoder to finetune",
}


def names(room: str) -> dict[str, str]:
    r"""Returns the choices of a room, as ``lightgcn`` to ``LightGCN``.

    Args:
        room: A sub-package such as ``"nn.encoders"``.
    """
    table: dict[str, str] = import_module(f"pyg_mtrec.{room}")._NAMES
    return {
        module.replace("_", "-"): name
        for name, module in sorted(table.items(), key=lambda entry: entry[1])
        if not {name, f"{room}.{name}"} & _HIDDEN
        and name[0].isupper()  # functions start with a small letter
    }


def choose(setting: str, value: str, room: str) -> str:
    r"""Returns the name as the room spells it, from any case, ``_`` for ``-``, or a class name."""
    found = names(room)
    spellings = {_bare(name): choice for choice, name in found.items()}
    spellings |= {_bare(choice): choice for choice in found}
    if _bare(value) in spellings:
        return spellings[_bare(value)]
    raise unknown(_SPOKEN.get(setting, setting), value, found)


def unknown(what: str, value: str, choices: Iterable[str]) -> InputError:
    r"""Returns the one line for a name that does not exist, with the nearest that does."""
    choices = list(choices)
    plain = {choice.lower(): choice for choice in reversed(choices)}
    near = get_close_matches(value.lower().replace("_", "-"), plain, 1, 0.5) or get_close_matches(
        value.lower(), plain, 1, 0.5
    )
    if near:
        return InputError(f"unknown {what} '{value}': did you mean '{plain[near[0]]}'?")
    return InputError(f"unknown {what} '{value}': choose from {', '.join(choices)}")


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
