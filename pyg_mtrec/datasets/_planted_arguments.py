"""What can be asked of `Planted`."""

from typing import get_args

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._planted_targets import Targets


def check_arguments(
    num_interactions: int, num_users: int, num_items: int, seed: int, targets: str | None
) -> None:
    r"""Refuses sizes, seeds and targets out of range."""
    for key, value, least in (("num_users", num_users, 1), ("num_items", num_items, 4)):
        if value < least:
            raise InputError(f"'{key}' needs to be at least {least} in 'Planted' (got {value})")
    if seed < 0:
        raise InputError(f"'seed' needs to be at least 0 in 'Planted' (got {seed})")
    if targets is not None and targets not in get_args(Targets):
        raise InputError(
            f"'targets' needs to be None or one of {list(get_args(Targets))} in 'Planted'"
            f" (got {targets!r})"
        )
    most = min(num_users * (num_items // 4), 10**8)
    if not num_users <= num_interactions <= most:
        raise InputError(
            f"'num_interactions' needs to be in [{num_users}, {most}] in 'Planted' with"
            f" {num_users} users and {num_items} items: one per user to a quarter of the items"
            f" each, 10^8 in all (got {num_interactions})"
        )
