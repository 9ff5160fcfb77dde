"""Tables of the HTLNet benchmark on a log, from benchmarks/results/htlnet-DATASET.json."""

from pathlib import Path

from benchmarks.paper._htlnet_cells import ABLATION, HEADS, HTLNET, RULES, SHARED
from benchmarks.paper._htlnet_labels import (
    HEAD_LABELS,
    MAIN,
    RULE_LABELS,
    TARGET_SETS,
    area,
    budget_text,
    columns_of,
    label,
    load,
    loss_name,
    mean_text,
    metric_text,
    params_text,
    relative,
    row_of,
    value_texts,
)
from benchmarks.paper._tables import NOT_RUN, Table


def heads(results: Path, name: str = MAIN) -> Table:
    """Every head under every rule, and how it stands to SharedBottom with the plain sum."""
    found = load(results, name)
    if not found.get("cells"):
        return Table([], [])
    best = found["paired"].get("best_other", {}).get("against", "")
    roles = ("shared",) if best == str(SHARED) else ("shared", "best_other")
    tests = [found["paired"].get(role, {}).get("core", {}) for role in roles]
    gaps = [""] * (len(roles) + 1)
    rows = [["constant", "", *value_texts([found["constant"]], found), *gaps]]
    for head in HEADS:
        title = HEAD_LABELS[head]
        for rule in RULES:
            cell = found["cells"].get(f"{head}.{rule}")
            entries = [of.get(f"{head}.{rule}") for of in tests]
            rows.append([title, RULE_LABELS[rule], *row_of(cell, found), *map(relative, entries)])
            rows[-1].append(str(len(cell["seeds"])) if cell else "")
            title = ""
    loss = loss_name(found)
    header = ["head", "rule", *columns_of(found), f"{loss} less {label(str(SHARED))}'s"]
    header += [*[f"less {label(best)}'s" for _ in roles[1:]], "seeds"]
    notes = [
        "Split by time. Each cell has the same grid and the same number of trials"
        f" ({budget_text(found)}), whose validation under one seed chooses the settings; mean ±"
        " standard deviation over seeds of start and batches, each of which read the test set once."
        f" Differences are of the mean {loss}, in %, with p-values by sign-flips over users, Holm"
        f" over the cells. Of the cells without HTLNet, {label(best)} is the best on validation."
    ]
    return Table(header, rows, notes)


def auc(results: Path, name: str = MAIN) -> Table:
    """The discrete targets: differences of the AUC from SharedBottom with the plain sum."""
    found = load(results, name)
    tests = found.get("paired", {}).get("shared", {}).get("auc", {})
    if not tests:
        return Table([], [])
    rows = []
    for cell in found["cells"]:
        row = [label(cell)]
        for target, entries in tests.items():
            row.append(mean_text(found["cells"][cell], f"{target}/auc"))
            row.append(area(entries.get(cell)))
        rows.append(row)
    columns = [
        part
        for target in tests
        for part in (metric_text(f"{target}/auc"), f"less {label(str(SHARED))}'s")
    ]
    notes = [
        "Differences are of predictions averaged over seeds, ± standard error by DeLong's method,"
        " clustered by user; Holm over the cells."
    ]
    return Table(["head, rule", *columns], rows, notes)


def rank(results: Path, name: str = MAIN) -> Table:
    """Where HTLNet stands among the heads on the core target."""
    found = load(results, name)
    if not found.get("rank"):
        return Table([], [])
    rows = []
    for rule, entry in found["rank"].items():
        test = entry["test"]["core"][entry["htlnet"]]
        order = ", ".join(
            label(cell) if rule == "best" else HEAD_LABELS[cell.partition(".")[0]]
            for cell in entry["order"]
        )
        each = ", ".join(map(str, entry["rank_by_seed"]))
        rows.append(
            [
                RULE_LABELS[rule],
                f"{entry['rank']} of {entry['of']}",
                each,
                order,
                label(entry["rival"]),
                relative(test),
            ]
        )
    header = ["rule", "HTLNet's rank", "by seed", "heads, best first", "best other (validation)"]
    notes = [f"By {metric_text(found['metric'])} on the test set. p-values by Holm over the rows."]
    return Table([*header, f"HTLNet's {loss_name(found)} less its"], rows, notes)


def ablation(results: Path, name: str = MAIN) -> Table:
    """HTLNet with its rule, and with one thing changed."""
    found = load(results, name)
    part = found.get("ablation")
    if not part:
        return Table([], [])
    whole = found["cells"].get(str(HTLNET))
    rows = [[label(str(HTLNET)), *row_of(whole, found), ""]]
    for variant, change in ABLATION.items():
        entry = part["paired"]["core"].get(f"ablation/{variant}")
        rows.append([change.label, *row_of(part["cells"].get(variant), found), relative(entry)])
    notes = ["Settings as found for the whole. p-values by sign-flips over users, Holm."]
    return Table(
        ["variant", *columns_of(found), f"{loss_name(found)} less the whole's"], rows, notes
    )


def targets(results: Path, name: str = MAIN) -> Table:
    """Other sets of targets, a discrete core target, and the core target alone."""
    found = load(results, name)
    part = found.get("targets_changed")
    if not part:
        return Table([], [])
    rows = []
    for key, title in TARGET_SETS.items():
        entry = part.get(key)
        for cell in (str(HTLNET), str(SHARED)):
            test = None
            if entry is not None and cell == str(HTLNET) and "paired" in entry:
                test = entry["paired"]["core"].get(cell)
            of = None if entry is None else entry["cells"].get(cell)
            value = NOT_RUN if of is None else mean_text(of, entry["metric"])
            metric = "" if entry is None else metric_text(entry["metric"])
            rows.append([title, label(cell), metric, value, relative(test)])
            title = ""
    notes = ["Settings as found for the three targets, but for the last row."]
    if "alone" in part:
        entry = part["alone"]
        of = entry["cells"]["single-task.sum"]
        tests = {name: test["core"]["targets/alone"] for name, test in entry["paired"].items()}
        text = relative(tests.get(str(SHARED)))
        rows.append(
            [
                "watch time alone, wider grid",
                "SingleTask",
                metric_text(entry["metric"]),
                mean_text(of, entry["metric"]),
                text,
            ]
        )
        against = f" against {label(str(HTLNET))} {relative(tests.get(str(HTLNET)))};"
        notes.append(
            f"Watch time alone: {of['search']['budget']} trials over widths and sizes as well;"
            f"{against if str(HTLNET) in tests else ''} {params_text(of['params'])}."
        )
    header = ["targets", "head, rule", "metric", "test", "loss less SharedBottom sum's"]
    return Table(header, rows, notes)
