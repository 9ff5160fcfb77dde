"""What the commands print of a run with a head."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli import _table
from pyg_mtrec.runs._labels import arm_label, metric_label

_SHOWN = {
    "binary": ("auc", "log_loss", "calibration_error"),
    "continuous": ("rmse", "nrmse_std", "nmae_mean", "spearman", "gini"),
}
# What is compared in pairs, and which saved losses of rows it is made of
_PAIRED = {
    "binary": {"auc": "", "log_loss": "log_loss"},
    "continuous": {"rmse": "squared_error", "mae": "absolute_error"},
}
_SEED = 0
_FILES = ("curve.png", "comparison.png", "reliability.png", "predicted.png")


def report(results: Mapping[str, Any], path: Path) -> str:
    r"""Returns a table a target, what its numbers mean and where the run's files are."""
    arms, comparison = results["arms"], results["comparison"]
    main = list(arms)[-1]
    bold = [index for index, arm in enumerate(comparison) if arm == main]
    parts = []
    for target, kind in results["targets"].items():
        metrics = [f"{target}/{name}" for name in _SHOWN[kind]]
        rows = [
            [arm_label(arm), *(_table.number(values.get(metric)) for metric in metrics)]
            for arm, values in comparison.items()
        ]
        core = ", core target" if target == results["core_target"] else ""
        header = [f"{target} ({kind}{core})", *(_bare_label(metric) for metric in metrics)]
        parts.append(_table.render(header, rows, bold))
    trained = [
        [
            arm_label(arm),
            str(found["epoch"]),
            str(found["epochs"]),
            _table.number(sum(found["seconds"].values()), 1),
            f"{sum(found['parameters'].values()):,}",
        ]
        for arm, found in arms.items()
    ]
    parts.append(_table.render(["trained", "epoch", "of", "seconds", "parameters"], trained, bold))
    selection = results["selection"]
    chosen = (
        f"epoch: selected by {metric_label(selection['metric'])}"
        f" (here {_table.number(selection['value'])}) on {selection['split']}; tested on"
        f" {_counts(results['num_labelled'])} impressions"
    )
    shown = [name for kind in dict.fromkeys(results["targets"].values()) for name in _SHOWN[kind]]
    files = {"results": str(path / "results.json")}
    files |= {
        name.removesuffix(".png"): str(path / name) for name in _FILES if (path / name).exists()
    }
    text = [_table.wrap(chosen), _table.definitions(shown, results["metrics"])]
    return "\n\n".join([*parts, "\n".join(text), _table.pairs(files, indent="")])


def evaluation(found: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    r"""Returns the tables of all metrics of every target."""
    test = found["test"]
    parts = []
    for target, kind in results["targets"].items():
        own = [metric for metric in test if metric.startswith(f"{target}/")]
        rows = [
            [
                _bare_label(metric),
                _table.number(test[metric]),
                _table.number(results["constant"].get(metric)),
            ]
            for metric in own
        ]
        parts.append(_table.render([f"{target} ({kind})", "test", "constant"], rows))
    kinds = dict.fromkeys(metric.rpartition("/")[2] for metric in test)
    parts.append(_table.definitions(list(kinds), results["metrics"]))
    return "\n\n".join(parts)


def check_same(
    paths: Sequence[str], results: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]
) -> list[str]:
    r"""Returns the targets that all runs predict, on the same rows.

    Raises:
        InputError: If rows differ, or no target is common.
    """
    import torch

    for path, own in zip(paths, rows, strict=True):
        if not all(torch.equal(own[side], rows[0][side]) for side in ("user", "item")):
            raise InputError(
                f"'{path}' and '{paths[0]}' were tested on other impressions: compare runs of the"
                " same data and split"
            )
    common = [name for name in results[0]["targets"] if all(name in r["targets"] for r in results)]
    if not common:
        raise InputError("these runs have no target in common: there is nothing to compare")
    return common


def comparison(
    paths: Sequence[str],
    letters: str,
    results: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
) -> str:
    r"""Returns the table of the runs' test metrics and of the differences to the first run."""
    lines = []
    for target in check_same(paths, results, rows):
        kind = results[0]["targets"][target]
        for name, losses in _PAIRED[kind].items():
            for index, found in enumerate(results):
                metric = f"{target}/{name}"
                row = [metric_label(metric) if index == 0 else "", letters[index]]
                row.append(_table.number(found["test"].get(metric)))
                row += _difference(target, losses, rows[index], rows[0]) if index else [""] * 3
                lines.append(row)
        for name in _SHOWN[kind]:
            if name not in _PAIRED[kind]:  # no mean over rows or pairs
                metric = f"{target}/{name}"
                for index, found in enumerate(results):
                    label = metric_label(metric) if index == 0 else ""
                    value = _table.number(found["test"].get(metric))
                    lines.append([label, letters[index], value, "", "", ""])
    notes = (
        "Differences on the same impressions, 95 % intervals: of an AUC after DeLong, of the others"
        " by a bootstrap (1,000 draws), both over users, whose impressions are not independent;"
        " * marks those whose interval leaves out zero."
    )
    header = ["test", "run", "value", "minus A", "95 % interval", ""]
    legend = {letters[index]: path for index, path in enumerate(paths)}
    names = dict.fromkeys(line[0].rpartition(": ")[2] for line in lines if line[0])
    known = {_bare_label(f"/{key}"): key for key in results[0]["metrics"]}
    shown = [known[name] for name in names if name in known]
    return "\n".join(
        [
            _table.pairs(legend, indent=""),
            "",
            _table.render(header, lines),
            "",
            _table.wrap(notes),
            _table.definitions(shown, results[0]["metrics"]),
        ]
    )


def _difference(
    target: str, losses: str, found: Mapping[str, Any], first: Mapping[str, Any]
) -> list[str]:
    import torch

    from pyg_mtrec.metrics import bootstrap_interval, delong_test

    label, user = first["labels"][target], first["user"]
    if not losses:
        pair = (found["predictions"][target], first["predictions"][target])
        gap, error, _ = delong_test(*pair, label, user)
        low, high = gap - 1.96 * error, gap + 1.96 * error
    else:
        mine, theirs = (run["losses"][f"{target}/{losses}"] for run in (found, first))
        known = ~label.isnan()
        # Of roots of means the first-order difference, whose sum over users is resampled
        scale = 1.0
        if losses == "squared_error":
            scale = float(mine[known].mean().sqrt() + theirs[known].mean().sqrt())
        group = user[known].unique(return_inverse=True)[1]
        total = torch.zeros(int(group.max()) + 1, dtype=torch.double)
        total.index_add_(0, group, (mine - theirs)[known] / scale)
        values = total * (total.numel() / group.numel())
        gap = float(values.mean())
        low, high = bootstrap_interval(values, torch.Generator().manual_seed(_SEED))
    star = "*" if low > 0 or high < 0 else ""
    return [f"{round(gap, 4) + 0.0:+.4f}", f"[{low:7.4f}, {high:7.4f}]", star]


def _bare_label(metric: str) -> str:
    return metric_label(f"target/{metric.rpartition('/')[2]}").partition(": ")[2]


def _counts(num_labelled: Mapping[str, int]) -> str:
    counts = set(num_labelled.values())
    if len(counts) == 1:
        return f"{counts.pop():,}"
    return ", ".join(f"{count:,} ({target})" for target, count in num_labelled.items())
