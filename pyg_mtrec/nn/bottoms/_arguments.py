"""What bottoms and heads ask of their arguments."""

from collections.abc import Iterable, Mapping, Sequence

from pyg_mtrec._errors import InputError


def positive(owner: str, **numbers: float) -> None:
    r"""Refuses numbers that are not positive.

    Args:
        owner: The class, for the message.
        **numbers: The arguments.

    Raises:
        InputError: If one is not.
    """
    for name, number in numbers.items():
        if not number > 0:
            raise InputError(f"'{name}' needs to be positive in '{owner}' (got {number})")


def divides(owner: str, name: str, value: int, of: str, whole: int) -> None:
    r"""Refuses a number that is no divisor of another one.

    Args:
        owner: The class, for the message.
        name: The argument, for the message.
        value: Its value, which is positive.
        of: The other argument, for the message.
        whole: Its value.

    Raises:
        InputError: If it does not divide it.
    """
    if whole % value:
        raise InputError(
            f"'{name}' needs to divide '{of}', which is {whole}, in '{owner}' (got {value})"
        )


def names(owner: str, name: str, values: Iterable[str]) -> list[str]:
    r"""Returns names, of which there is at least one and none twice.

    Args:
        owner: The class, for the message.
        name: The argument, for the message.
        values: Its value.

    Raises:
        InputError: If there is no name, or one comes twice.
    """
    found = list(values)
    if not found or len(set(found)) < len(found):
        got = ", ".join(found) or "none"
        raise InputError(
            f"'{name}' needs to hold at least one name, each once, in '{owner}' (got {got})"
        )
    return found


def widths(owner: str, name: str, values: Sequence[int], least: int = 1) -> tuple[int, ...]:
    r"""Returns the widths of layers.

    Args:
        owner: The class, for the message.
        name: The argument, for the message.
        values: Its value.
        least: How many layers there need to be.

    Raises:
        InputError: If there are fewer or a width is not positive.
    """
    if len(values) < least or any(value < 1 for value in values):
        wanted = "positive widths" if least == 0 else f"at least {least} positive width"
        raise InputError(f"'{name}' needs to hold {wanted} in '{owner}' (got {list(values)})")
    return tuple(values)


def share(owner: str, dropout: float) -> float:
    r"""Returns the share of hidden units that is dropped.

    Args:
        owner: The class, for the message.
        dropout: The share.

    Raises:
        InputError: If it does not lie in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise InputError(f"'dropout' needs to lie in [0, 1) in '{owner}' (got {dropout})")
    return dropout


def chain(owner: str, targets: Mapping[str, str], least: int = 1) -> int:
    r"""Returns the length of a chain: the number of binary targets, all before the others.

    Args:
        owner: The class, for the message.
        targets: Name to kind, in order.
        least: How many binary targets there need to be.

    Raises:
        InputError: If there are fewer, or one comes after a continuous target.
    """
    length = sum(kind == "binary" for kind in targets.values())
    if length < least:
        raise InputError(
            f"'targets' needs to hold a binary target in '{owner}', whose chain is made of them"
            f" (got {', '.join(targets)}, all continuous): take HTLNet, SharedBottom, MMoE or PLE"
        )
    for name in list(targets)[:length]:
        if targets[name] != "binary":
            raise InputError(
                f"'targets' needs to hold the chain of binary targets first, and continuous ones"
                f" after it, in '{owner}' (got the continuous '{name}' inside the chain, in"
                f" {', '.join(targets)}): move '{name}' to the end"
            )
    return length


def choice(owner: str, name: str, value: str, choices: Sequence[str]) -> str:
    r"""Returns a value that is among the choices.

    Args:
        owner: The class, for the message.
        name: The argument, for the message.
        value: Its value.
        choices: What it may be.

    Raises:
        InputError: If it is none of them.
    """
    if value not in choices:
        wanted = ", ".join(map(repr, choices))
        raise InputError(f"'{name}' needs to be one of {wanted} in '{owner}' (got {value!r})")
    return value
