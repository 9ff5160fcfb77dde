"""Tables of the DTRN benchmark: planted worlds, and heads on a data set."""

from pathlib import Path

from benchmarks.paper._dtrn_cells import ARMS, HEADS, PAIRS
from benchmarks.paper._dtrn_labels import (
    ARM_LABELS,
    MODE_LABELS,
    Found,
    difference,
    label,
    load,
    mean_interval,
    p_value,
    pair_label,
    target_text,
    with_p,
)
from benchmarks.paper._htlnet_labels import HEAD_LABELS, area, p_text
from benchmarks.paper._tables import NOT_RUN, Table, spread

PLANTED_HEADS = ("shared-bottom", "mmoe")
METRIC = "mean/log_loss"


def planted(results: Path) -> Table:
    """Shares of the gap to the best possible predictions, by target, in the set and its control."""
    found = load(results, "planted")
    if not found.get("modes"):
        return Table([], [])
    metrics = [METRIC, *(f"{target}/log_loss" for target in found["targets"])]
    rows = []
    for mode, text in MODE_LABELS.items():
        cells = found["modes"].get(mode, {}).get("cells", {})
        for head in PLANTED_HEADS:
            for arm in ARMS:
                cell = cells.get(f"{head}.{arm}")
                rows.append([text, label(f"{head}.{arm}"), *_shares(cell, metrics)])
                text = ""
    worlds = max(len(part["worlds"]) for part in found["modes"].values())
    notes = [
        "Shares of the gap in log loss to the true probabilities, in %, with 95 % intervals over"
        f" {worlds} worlds (Student): from the best constant and, for the mean of both targets,"
        " from the same head without behaviours. Settings come from another world, of the set; the"
        " control takes them over."
    ]
    columns = [f"{target_text(target)}, from the constant" for target in found["targets"]]
    header = ["", "head, below it", "both, from the constant", *columns, "both, from the bare head"]
    return Table([*header, "worlds"], rows, notes)


def _shares(cell: Found | None, metrics: list[str]) -> list[str]:
    if cell is None:
        return [NOT_RUN, *[""] * (len(metrics) + 1)]
    shares = cell["share"]
    found = [mean_interval(shares[metric]["constant"], 100, 1) for metric in metrics]
    bare = shares[METRIC].get("bare")
    return [*found, mean_interval(bare, 100, 1), str(len(cell["seeds"]))]


def planted_difference(results: Path) -> Table:
    """Paired differences of arms of one head, in the set, in the control, and between them."""
    found = load(results, "planted")
    if not found.get("modes"):
        return Table([], [])
    metrics = [METRIC, *(f"{target}/log_loss" for target in found["targets"])]
    rows = []
    for head in PLANTED_HEADS:
        for ours, theirs in PAIRS:
            pair = f"{head}.{ours} - {head}.{theirs}"
            text = pair_label(pair)
            for mode, where in MODE_LABELS.items():
                of = found["modes"].get(mode, {}).get("paired", {})
                entries = [of.get(metric, {}).get(pair) for metric in metrics]
                if entries[0] is None:
                    rows.append([text, where, NOT_RUN, *[""] * len(metrics)])
                else:
                    users = entries[0]["users"]
                    values = [with_p(entry and entry["share"], 100, 1) for entry in entries]
                    rows.append([text, where, *values, p_text(p_value(users))])
                text = ""
            second = found.get("difference_of_differences", {})
            values = [with_p(second.get(metric, {}).get(pair), 100, 1) for metric in metrics]
            if any(values):
                rows.append(["", "set less control", *values, ""])
    notes = [
        "Points of the share of the gap from the constant, with 95 % intervals and p-values of"
        " Student's paired test over worlds, Holm over the pairs; last column: sign-flips over the"
        " users of all worlds for both targets' mean loss, Holm. Set less control: p-values as they"
        " are."
    ]
    columns = ["both targets", *map(target_text, found["targets"])]
    return Table(["", "worlds", *columns, "p, by users"], rows, notes)


def relevance(results: Path) -> Table:
    """Whether targets lose most without the behaviour that they want."""
    found = load(results, "planted")
    if not any(part.get("relevance") for part in found.get("modes", {}).values()):
        return Table([], [])
    rows = []
    for mode, text in MODE_LABELS.items():
        cells = found["modes"].get(mode, {}).get("relevance", {})
        for cell, entry in cells.items():
            values = [
                mean_interval(entry[name], 1, 2) for name in ("pearson", "spearman", "on_planted")
            ]
            rows.append([text, label(cell), *values])
            text = ""
    notes = [
        "Of every target and behaviour: by how much the test log loss grows when the sequences of"
        " that behaviour go to other impressions. Correlation of these increases with what was"
        " planted (1 or 0) over all pairs, and the share of all increase that falls on the planted"
        " ones; means over worlds with 95 % intervals (Student). Spearman's cannot reach 1, since"
        " planted values are tied."
    ]
    return Table(
        ["worlds", "head, below it", "Pearson", "Spearman", "share on planted"], rows, notes
    )


def real(results: Path, dataset: str) -> Table:
    """Every head with every arm on a data set."""
    found = load(results, dataset)
    if not found.get("cells"):
        return Table([], [])
    metrics = [METRIC]
    metrics += [f"{target}/{name}" for target in found["targets"] for name in ("log_loss", "auc")]
    rows = [["constant", "", *_values([found["constant"]], metrics), "", "", ""]]
    rate = found.get("item_rate")
    if rate:
        rows.append(["item rate", "", *_values([rate["test"]], metrics), "", "", ""])
    tests = found["paired"]["loss"][METRIC]
    for head in HEADS:
        title = HEAD_LABELS[head]
        for arm in ARMS:
            cell = found["cells"].get(f"{head}.{arm}")
            runs = [] if cell is None else [run["test"] for run in cell["seeds"].values()]
            row = _values(runs, metrics) if runs else [NOT_RUN, *[""] * (len(metrics) - 1)]
            for other in ("bare", "plain"):
                row.append(difference(tests.get(f"{head}.{arm} - {head}.{other}")))
            rows.append([title, ARM_LABELS[arm], *row, str(len(runs)) if runs else ""])
            title = ""
    budgets = {cell["search"]["budget"] for cell in found["cells"].values() if cell["search"]}
    notes = [
        "Each cell has the same grid and the same number of trials"
        f" ({' or '.join(map(str, sorted(budgets)))}), whose validation under one seed chooses the"
        " settings by the mean log loss of the targets; mean ± standard deviation over seeds of"
        " start and batches, each of which read the test set once. Differences are of that mean"
        " loss within one head, with 95 % intervals that resample seeds and users and p-values by"
        " sign-flips over users, Holm over all pairs of the table."
    ]
    if rate:
        notes.append(f"Item rate: smoothing {rate['smoothing']:g}, chosen on validation.")
    columns = ["mean log loss"]
    for target in found["targets"]:
        columns += [f"{target_text(target)} log loss", "AUC"]
    header = ["head", "below it", *columns, "less bare's", "less one Transformer's", "seeds"]
    return Table(header, rows, notes)


def _values(runs: list[Found], metrics: list[str]) -> list[str]:
    return [spread([run[metric] for run in runs]) for metric in metrics]


def auc(results: Path, dataset: str) -> Table:
    """Differences of the area under the curve, target by target."""
    found = load(results, dataset)
    if not found.get("cells"):
        return Table([], [])
    of = found["paired"]["auc"]
    pairs = list(dict.fromkeys(pair for entries in of.values() for pair in entries))
    rows = [
        [pair_label(pair), *(area(of[target].get(pair)) for target in found["targets"])]
        for pair in pairs
    ]
    notes = [
        "Predictions averaged over seeds, ± standard error by DeLong's method, clustered by user;"
        " Holm over the pairs."
    ]
    columns = [f"{target_text(target)} AUC" for target in found["targets"]]
    return Table(["", *columns], rows, notes)
