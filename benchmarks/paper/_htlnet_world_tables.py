"""Tables of the HTLNet benchmark on planted worlds and on the census table."""

import json
from pathlib import Path

from benchmarks.paper._htlnet_cells import SHARED
from benchmarks.paper._htlnet_labels import (
    HEAD_LABELS,
    MODE_LABELS,
    Found,
    columns_of,
    interval_texts,
    label,
    load,
    loss_name,
    metric_text,
    p_text,
    percent,
    relative,
    row_of,
    value_texts,
)
from benchmarks.paper._tables import Table


def planted(results: Path) -> Table:
    """Shares of the gap between the best constant and the best possible prediction."""
    found = load(results, "planted")
    if not found.get("modes"):
        return Table([], [])
    rows = []
    metrics: list[str] = []
    for mode, part in found["modes"].items():
        title = MODE_LABELS[mode]
        for name, cell in part["cells"].items():
            metrics = list(cell["share"])
            values = [percent(cell["share"][metric]) for metric in metrics]
            rows.append([title, label(name), *values])
            title = ""
    worlds = max(len(part["worlds"]) for part in found["modes"].values())
    notes = [
        "Share of the way from the best constant (AUC: one half) to the true expectations, mean ±"
        f" standard deviation over {worlds} worlds. Settings come from another world."
    ]
    columns = [metric_text(metric) for metric in metrics]
    return Table(["discrete targets", "head, rule", *columns], rows, notes)


def planted_difference(results: Path) -> Table:
    """HTLNet less SharedBottom on the core target, with information and without."""
    found = load(results, "planted")
    if not found.get("modes"):
        return Table([], [])
    pairs = list(
        dict.fromkeys(name for part in found["modes"].values() for name in part.get("compared", {}))
    )
    rows = []
    for pair in pairs:
        ours, theirs = pair.split(" - ")
        title = f"{label(ours)} less {label(theirs)}"
        for mode, part in found["modes"].items():
            entry = part.get("compared", {}).get(pair)
            if entry is not None:
                p = p_text(entry["users"]["p"])
                rows.append([title, MODE_LABELS[mode], *interval_texts(entry["share"]), p])
                title = ""
        entry = found.get("difference_of_differences", {}).get(pair)
        if entry is not None:
            rows.append([title, "informative less control", *interval_texts(entry), ""])
    notes = [
        "Points of the share of the gap in squared error, with 95 % intervals and p-values of"
        " Student's paired test over worlds; by users: sign-flips within the worlds, models fixed."
    ]
    header = ["", "discrete targets", "points of share", "95 % interval", "p", "p, by users"]
    return Table(header, rows, notes)


def census(results: Path) -> Table:
    """Heads on a table that has nothing to do with recommendation."""
    found = load(results, "census")
    if not found.get("cells"):
        return Table([], [])
    rows = [["constant", *value_texts([found["constant"]], found), ""]]
    tests = found.get("paired", {}).get("core", {})
    for name, cell in found["cells"].items():
        rows.append([label(name), *row_of(cell, found), relative(tests.get(name))])
    number = len(next(iter(found["cells"].values()))["seeds"])
    notes = [f"{number} random splits; p-values by sign-flips over people, Holm."]
    header = ["head, rule", *columns_of(found), f"{loss_name(found)} less {label(str(SHARED))}'s"]
    return Table(header, rows, notes)


def speed(results: Path) -> Table:
    """A training step of every head, and two heads beside other libraries'."""
    path = results / "heads.json"
    if not path.exists():
        return Table([], [])
    found: Found = json.loads(path.read_text())
    rows = []
    for name, ms in found["ms_per_step"].items():
        head, rule = name.split(" + ")
        head, *size = head.split(", ")
        title = ", ".join([label(f"{head}.{rule}"), *size])
        number = f"{found['parameters'][name]:,}"
        rows.append([title, number, f"{ms:.1f}", f"{found['ratio'][name]:.2f}"])
    for kind, heads in found["peers"].items():
        for head, of in heads.items():
            for library, entry in of.items():
                title = f"{HEAD_LABELS[head]}, {kind}: {library}"
                rows.append([title, "", f"{entry['ms']:.1f}", f"{entry['times_ours']:.2f}"])
    machine = found["machine"]
    notes = [
        f"Batches of {found['batch_size']} impressions of {found['data']}, inputs of width"
        f" {found['input_width']}; medians of {found['rounds']} interleaved rounds. Steps stand"
        f" beside {label(str(SHARED))}, other libraries beside this one, all of the same sizes."
        f" HTLNet with GradientAdjustment takes {found['ratio_large']:.2f} times as long as the"
        f" large SharedBottom, and the small HTLNet {found['ratio_small']:.2f} times as long as"
        f" SharedBottom: pairs with about as many parameters each.",
        f"{machine['processor']}, {machine['threads']} thread, torch {machine['torch']}.",
    ]
    return Table(["", "parameters of the head", "ms", "ratio"], rows, notes)
