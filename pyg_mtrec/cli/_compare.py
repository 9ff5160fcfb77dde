"""``pyg-mtrec compare``: runs side by side, in pairs of the same users."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli import _predictions, _table
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.runs._labels import metric_label

if TYPE_CHECKING:
    from torch import Tensor

# What has to agree for two tests to be the same test
_SAME = {
    "dataset": ("name", "sha256"),
    "split": ("strategy", "fractions", "seed", "train", "val", "test"),
}
_SEED = 0
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def run(arguments: argparse.Namespace) -> None:
    paths = arguments.run_dirs
    if len(paths) < 2 or len(paths) > len(_LETTERS):
        raise InputError(f"'compare' needs 2 to {len(_LETTERS)} run directories (got {len(paths)})")
    runs = [RunDirectory(path) for path in paths]
    results = [run.read_results() for run in runs]
    if any("targets" in found for found in results):
        predicts = ["targets" in found for found in results]
        if not all(predicts):
            one, other = paths[predicts.index(True)], paths[predicts.index(False)]
            raise InputError(f"'{one}' predicts and '{other}' ranks: they cannot be compared")
        rows = [run.load_tensors("test_rows") for run in runs]
        print(_predictions.comparison(paths, _LETTERS, results, rows))
        return
    for path, other in zip(paths[1:], results[1:], strict=True):
        _check_same(paths[0], results[0], path, other)
    print(report(paths, results, [run.load_tensors("test_users") for run in runs]))


def report(
    paths: Sequence[str],
    results: Sequence[Mapping[str, Any]],
    users: Sequence[Mapping[str, Any]],
) -> str:
    r"""Returns the table of the runs' test metrics and of the differences to the first run."""
    common = _common([entry["users"] for entry in users])
    cut_off = results[0]["selection"]["metric"].rpartition("@")[2]
    metrics = [
        metric
        for metric in results[0]["test"]
        if metric.rpartition("@")[2] == cut_off
        and all(metric in found["test"] for found in results)
    ]
    rows = []
    for metric in metrics:
        if not all(metric in entry["metrics"] for entry in users):  # one number of all users
            for index, found in enumerate(results):
                name = metric_label(metric) if index == 0 else ""
                value = _table.number(found["test"][metric])
                rows.append([name, _LETTERS[index], value, "", "", "", ""])
            continue
        values = [
            entry["metrics"][metric][position].double()
            for entry, position in zip(users, common, strict=True)
        ]
        for index, mine in enumerate(values):
            name = metric_label(metric) if index == 0 else ""
            row = [name, _LETTERS[index], _table.number(mine.mean().item()), _interval(mine)[0]]
            if index == 0:
                row += ["", "", ""]
            else:
                text, clear = _interval(mine - values[0])
                gap = round((mine - values[0]).mean().item(), 4) + 0.0  # no minus zero
                row += [f"{gap:+.4f}", text, "*" if clear else ""]
            rows.append(row)
    header = ["test", "run", "mean", "95 % interval", "minus A", "95 % interval", ""]
    notes = (
        f"Means over the {common[0].numel():,} users that all runs were tested on; percentile"
        " bootstrap over users (1,000 draws), differences paired by user;"
        " * marks those whose interval leaves out zero."
    )
    legend = {_LETTERS[index]: path for index, path in enumerate(paths)}
    return "\n".join(
        [
            _table.pairs(legend, indent=""),
            "",
            _table.render(header, rows),
            "",
            _table.wrap(notes),
            _table.definitions(metrics, results[0].get("metrics", {})),
        ]
    )


def _interval(values: "Tensor") -> tuple[str, bool]:
    import torch

    from pyg_mtrec.metrics import bootstrap_interval

    # the same draws for every row: a row does not depend on what stands above it
    low, high = bootstrap_interval(values, torch.Generator().manual_seed(_SEED))
    return f"[{low:7.4f}, {high:7.4f}]", low > 0 or high < 0


def _common(users: Sequence["Tensor"]) -> list["Tensor"]:
    r"""Returns where the users that all runs share stand in each run."""
    import torch

    shared = users[0]
    for other in users[1:]:
        shared = shared[torch.isin(shared, other)]
    if shared.numel() == 0:
        raise InputError("these runs have no test user in common: there is nothing to compare")
    positions = []
    for own in users:
        order = own.argsort()
        positions.append(order[torch.searchsorted(own[order], shared)])
    return positions


def _check_same(
    first: str, expected: Mapping[str, Any], path: str, found: Mapping[str, Any]
) -> None:
    for part, keys in _SAME.items():
        for key in keys:
            before, now = expected[part].get(key), found[part].get(key)
            if before != now:
                raise InputError(_different(first, before, path, now, f"{part} {key}"))
    if expected.get("masking") != found.get("masking"):
        before, now = expected.get("masking"), found.get("masking")
        raise InputError(_different(first, before, path, now, "masking of seen items"))


def _different(first: str, before: Any, path: str, now: Any, what: str) -> str:
    if isinstance(before, Mapping):
        return (
            f"'{path}' and '{first}' cannot be compared: their {what} differs;"
            " compare runs of the same data and split"
        )
    return (
        f"'{path}' and '{first}' cannot be compared: {what} is {now!r} in one and {before!r} in"
        " the other; compare runs of the same data and split"
    )
