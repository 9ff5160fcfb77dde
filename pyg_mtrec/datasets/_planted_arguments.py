"""What can be asked of `Planted`."""

from typing import TypeGuard, get_args

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._planted_sequences import NUM_TRAITS, SequenceTargets
from pyg_mtrec.datasets._planted_targets import Targets

TARGET_CHOICES: list[str] = [*get_args(Targets), *get_args(SequenceTargets)]


def is_sequences(targets: str | None) -> TypeGuard[SequenceTargets]:
    r"""Whether these targets depend on behaviours."""
    return targets in get_args(SequenceTargets)


def check_arguments(
    num_interactions: int, num_users: int, num_items: int, seed: int, targets: str | None
) -> None:
    r"""Refuses sizes, seeds and targets out of range."""
    # Every trait of a behaviour needs an item to show.
    fewest = NUM_TRAITS if is_sequences(targets) else 4
    for key, value, least in (("num_users", num_users, 1), ("num_items", num_items, fewest)):
        if value < least:
            raise InputError(f"'{key}' needs to be at least {least} in 'Planted' (got {value})")
    if seed < 0:
        raise InputError(f"'seed' needs to be at least 0 in 'Planted' (got {seed})")
    if targets is not None and targets not in TARGET_CHOICES:
        raise InputError(
            f"'targets' needs to be None or one of {TARGET_CHOICES} in 'Planted' (got {targets!r})"
        )
    most = min(num_users * (num_items // 4), 10**8)
    if not num_users <= num_interactions <= most:
        raise InputError(
            f"'num_interactions' needs to be in [{num_users}, {most}] in 'Planted' with"
            f" {num_users} users and {num_items} items: one per user to a quarter of the items"
            f" each, 10^8 in all (got {num_interactions})"
        )
