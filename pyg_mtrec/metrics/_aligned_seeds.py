"""Two methods' values per seed and user, brought into one order."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError

_WHERE = "'PairedComparison'"


def aligned_seeds(
    ours: Sequence[tuple[Tensor, Tensor]], theirs: Sequence[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    r"""Returns both as ``[S, U]`` float64, a column per user, NaN where not evaluated."""
    if len(ours) != len(theirs) or len(ours) == 0:
        raise InputError(
            f"both methods need the same seeds, at least one, in {_WHERE} (got {len(ours)} and "
            f"{len(theirs)} seeds)"
        )
    pairs = [
        (_sorted(mine, "ours", seed), _sorted(other, "theirs", seed))
        for seed, (mine, other) in enumerate(zip(ours, theirs, strict=True))
    ]
    for seed, ((mine, _), (other, _)) in enumerate(pairs):
        _check_same_users(mine, other, seed)
    ids = torch.cat([users for (users, _), _ in pairs]).unique()
    a = torch.full((len(pairs), ids.numel()), float("nan"), dtype=torch.double)
    b = a.clone()
    for row, ((users, mine), (_, other)) in enumerate(pairs):
        column = torch.searchsorted(ids, users)
        a[row, column] = mine
        b[row, column] = other
    return a, b


def _sorted(given: tuple[Tensor, Tensor], whose: str, seed: int) -> tuple[Tensor, Tensor]:
    users, values = (part.detach().cpu() for part in given)
    at = f"seed {seed} of '{whose}'"
    if users.dim() != 1 or users.shape != values.shape:
        raise InputError(
            f"{at} needs one value per user in {_WHERE} (got users of shape {list(users.shape)} and"
            f" values of shape {list(values.shape)})"
        )
    if users.numel() == 0:
        raise InputError(f"{at} holds no user in {_WHERE}; leave out seeds without evaluated users")
    if users.is_floating_point() or users.is_complex():
        raise InputError(f"{at} needs whole numbers as ids in {_WHERE} (got {users.dtype})")
    bad = ~values.isfinite()
    if bool(bad.any()):
        raise InputError(
            f"{at} needs finite values in {_WHERE} (got {float(values[bad][0])} for user "
            f"{int(users[bad][0])}); leave out users that were not evaluated"
        )
    users, order = users.long().sort()
    repeated = users[1:][users[1:] == users[:-1]]
    if repeated.numel():
        raise InputError(f"{at} holds user {int(repeated[0])} more than once in {_WHERE}")
    return users, values[order].double()


def _check_same_users(ours: Tensor, theirs: Tensor, seed: int) -> None:
    if torch.equal(ours, theirs):
        return
    only_ours, only_theirs = ours[~torch.isin(ours, theirs)], theirs[~torch.isin(theirs, ours)]
    if only_ours.numel() == ours.numel():
        raise InputError(
            f"the methods share no user under seed {seed} in {_WHERE}; compare runs of the same"
            " data and split"
        )
    example = int(torch.cat([only_ours, only_theirs])[0])
    raise InputError(
        f"the methods need the same users under seed {seed} in {_WHERE} (got {only_ours.numel()} of"
        f" ours alone and {only_theirs.numel()} of theirs alone, such as user {example}); compare"
        " runs of the same data and split"
    )
