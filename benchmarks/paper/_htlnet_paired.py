"""Paired tests of two heads on the same test rows, by user."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import (
    delong_test,
    hierarchical_bootstrap_interval,
    holm,
    sign_flip_test,
)

DRAWS, RESAMPLES = 10_000, 1000  # sign vectors of a test, resamples of an interval
Rows = Mapping[str, Any]


def by_user(ours: Rows, theirs: Rows, loss: str, row_is_user: bool = False) -> Tensor:
    """Every user's share of the mean difference of a loss, ours less theirs.

    A user's rows are added up and scaled so that the mean over users is that over rows.
    """
    if not torch.equal(ours["user"], theirs["user"]):
        raise InputError(f"'{loss}' cannot be compared in pairs: the test rows differ")
    difference = (ours["losses"][loss] - theirs["losses"][loss]).double()
    known = ~difference.isnan()
    difference, user = difference[known], ours["user"][known]
    if row_is_user:
        return difference
    users, index = user.unique(return_inverse=True)
    sums = torch.zeros(users.numel(), dtype=torch.double).index_add_(0, index, difference)
    return sums * (users.numel() / difference.numel())


def compare(
    ours: Sequence[Rows],
    theirs: Sequence[Rows],
    loss: str,
    same_rows: bool = True,
    row_is_user: bool = False,
) -> dict[str, Any]:
    """How the mean of a loss differs, ours less theirs.

    Args:
        ours: The test rows of a method under each seed.
        theirs: Those of another under the same seeds.
        loss: Which one.
        same_rows: Whether all seeds are tested on the same rows: users are then averaged over
            seeds; else a seed's users are others than the next one's.
        row_is_user: Whether every row is somebody else, whatever its user is called.

    Returns:
        The difference, the same as a share of theirs, an interval that resamples seeds and users,
        and the p-value of a sign-flip test over users.
    """
    parts = [by_user(a, b, loss, row_is_user) for a, b in zip(ours, theirs, strict=True)]
    if same_rows:
        values = torch.stack(parts)  # [S, U]
        flipped = values.mean(0)
    else:
        total = sum(part.numel() for part in parts)
        values = torch.full((len(parts), total), math.nan, dtype=torch.double)
        at = 0
        for row, part in zip(values, parts, strict=True):
            row[at : at + part.numel()] = part
            at += part.numel()
        # The mean over all users is then the mean over seeds.
        scale = total / len(parts)
        flipped = torch.cat([part * (scale / part.numel()) for part in parts])
    draws = torch.Generator().manual_seed(0)
    difference = sum(float(part.mean()) for part in parts) / len(parts)
    base = sum(float(rows["losses"][loss].double().nanmean()) for rows in theirs) / len(theirs)
    low, high = hierarchical_bootstrap_interval(values, draws, RESAMPLES)
    return {
        "difference": difference,
        "relative": difference / base if base else None,
        "low": low,
        "high": high,
        "relative_low": low / base if base else None,
        "relative_high": high / base if base else None,
        "p": sign_flip_test(flipped, draws, DRAWS),
    }


def compare_auc(ours: Sequence[Rows], theirs: Sequence[Rows], target: str) -> dict[str, Any]:
    """How the AUC of predictions averaged over seeds differs: DeLong's test, clustered by user."""
    first, second = (
        torch.stack([rows["predictions"][target].double() for rows in side]).mean(0)
        for side in (ours, theirs)
    )
    label, user = ours[0]["labels"][target], ours[0]["user"]
    difference, error, p = delong_test(first, second, label, group=user)
    return {"difference": difference, "error": error, "p": p}


def corrected(entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """A family of tests, with p-values by Holm's method beside the others."""
    names = [name for name, entry in entries.items() if not math.isnan(entry["p"])]
    for name, p in zip(names, holm([entries[name]["p"] for name in names]), strict=True):
        entries[name]["p_holm"] = p
    return entries


def over_worlds(values: Sequence[float]) -> dict[str, Any]:
    """Mean, 95 % interval and p-value of Student's paired test, one value a world."""
    number = len(values)
    mean = sum(values) / number
    found: dict[str, Any] = {"values": list(values), "mean": mean}
    if number < 2:
        return found
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (number - 1) / number)
    reach = error * float(stats.t.ppf(0.975, number - 1))
    p = float(2 * stats.t.sf(abs(mean) / error, number - 1)) if error > 0 else float(mean == 0)
    return {**found, "low": mean - reach, "high": mean + reach, "p": p}
