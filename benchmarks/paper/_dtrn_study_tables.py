"""Tables of the DTRN benchmark: what happens inside, and what a step costs."""

import json
from pathlib import Path

from benchmarks.paper._dtrn_cells import HEADS
from benchmarks.paper._dtrn_conflict import ARMS_MEASURED
from benchmarks.paper._dtrn_labels import (
    BLOCK_LABELS,
    Found,
    difference,
    label,
    load,
    spread3,
    target_text,
    with_p,
)
from benchmarks.paper._dtrn_unseen import VARIANTS
from benchmarks.paper._tables import NOT_RUN, Table, spread

METRIC = "mean/log_loss"
READ_LABELS = {
    "dtrn": "DTRN's output, below SharedBottom",
    "interests": "its interests alone",
    "ple": "PLE's gates, bare",
    "ple on dtrn": "PLE's gates, on DTRN",
}
VARIANT_LABELS = {
    "bare-frozen": "SharedBottom, bare, frozen; a new tower",
    "plain-frozen": "SharedBottom on one Transformer, frozen; a new tower",
    "dtrn-frozen": "SharedBottom on DTRN, frozen; a new embedding, refinement and tower",
    "bare-alone": "this target alone from the start, bare",
    "dtrn-alone": "this target alone from the start, DTRN",
}


def conflict(results: Path, dataset: str) -> Table:
    """Shares of negative cosines of targets' gradients, by block of what they share."""
    found = load(results, dataset).get("conflict")
    if not found:
        return Table([], [])
    rows = []
    for head in HEADS:
        for arm in ARMS_MEASURED:
            entry = found.get(f"{head}.{arm}")
            if entry is None:
                rows.append([label(f"{head}.{arm}"), NOT_RUN, *[""] * (len(BLOCK_LABELS) + 2)])
                continue
            shares = [
                spread3(entry["share"][block]) if block in entry["share"] else ""
                for block in BLOCK_LABELS
            ]
            less = [with_p(entry["less_bare"].get(block)) for block in ("all", "tables")]
            seeds = str(len(entry["share"]["all"]))
            rows.append([label(f"{head}.{arm}"), *shares, *less, seeds])
    notes = [
        "Share of negative cosines among all pairs of targets and all measured steps of training"
        " (every fourth), mean ± standard deviation over seeds. Single rows: of every row that two"
        " targets' losses reach, by itself. Less bare's: with a 95 % interval and p-value of"
        " Student's paired test over seeds. What is shared differs, since a bare head has no"
        " bottom; tables are the same."
    ]
    header = ["head, below it", *BLOCK_LABELS.values(), "everything less bare's"]
    return Table([*header, "tables less bare's", "seeds"], rows, notes)


def similarity(results: Path, dataset: str) -> Table:
    """Linear CKA between what two targets read."""
    found = load(results, dataset).get("representations")
    if not found:
        return Table([], [])
    pairs = list(next(iter(found["between"].values())))
    rows = [
        [text, *(spread3(found["between"][name][pair]) for pair in pairs)]
        for name, text in READ_LABELS.items()
    ]
    same = ", ".join(
        f"{target_text(target)} {spread3(values)}"
        for target, values in found["dtrn and ple"].items()
    )
    notes = [
        f"Linear CKA over {found['rows']:,} test impressions, mean ± standard deviation over seeds;"
        " 1 is equal up to rotation and scale.",
        f"DTRN's output and PLE's gates for the same target: {same}.",
    ]
    return Table(["what targets read", *map(target_text, pairs)], rows, notes)


def behaviours(results: Path, dataset: str) -> Table:
    """Every behaviour alone, all but one, all and none."""
    found = load(results, dataset)
    part = found.get("behaviours")
    if not part:
        return Table([], [])
    metrics = [METRIC, *(f"{target}/log_loss" for target in found["targets"])]
    named = {f"all {cell}": found["cells"][cell] for cell in _owners(part)}
    bare = found["cells"].get("shared-bottom.bare")
    named = {**({"none shared-bottom.bare": bare} if bare else {}), **named, **part["cells"]}
    rows = []
    for name, cell in named.items():
        which, _, owner = name.partition(" ")
        runs = [run["test"] for run in cell["seeds"].values()]
        values = [spread([run[metric] for run in runs]) for metric in metrics]
        test = part["paired"]["loss"][METRIC].get(name)
        rows.append([_which(which), label(owner), *values, difference(test)])
    notes = [
        "Settings as found with all behaviours. The difference is of the mean log loss, with a 95 %"
        " interval that resamples seeds and users and a p-value by sign-flips over users, Holm."
    ]
    columns = ["mean log loss", *map(target_text, found["targets"])]
    return Table(["behaviours", "head, below it", *columns, "less all behaviours'"], rows, notes)


def _owners(part: Found) -> list[str]:
    return list(dict.fromkeys(name.partition(" ")[2] for name in part["cells"]))


def _which(text: str) -> str:
    kind, _, name = text.partition("-")
    return target_text({"only": f"{name} alone", "no": f"all but {name}"}.get(kind, text))


def unseen(results: Path, dataset: str) -> Table:
    """A target that came later."""
    found = load(results, dataset)
    part = found.get("unseen")
    if not part:
        return Table([], [])
    rows = []
    for held, entry in part.items():
        title = target_text(held)
        whole = found["cells"].get("shared-bottom.dtrn")
        if whole:
            runs = [run["test"] for run in whole["seeds"].values()]
            values = [spread([run[f"{held}/{m}"] for run in runs]) for m in ("log_loss", "auc")]
            total = f"{sum(whole['parameters'].values()):,}"
            test = difference(entry["paired"].get("dtrn-frozen - whole"))
            name = "SharedBottom on DTRN, all targets from the start"
            rows.append([title, name, total, *values, test])
            title = ""
        for variant in VARIANTS:
            tests = entry["test"].get(variant)
            if tests is None:
                rows.append([title, VARIANT_LABELS[variant], "", NOT_RUN, "", ""])
            else:
                learned = f"{entry['learned'][variant]:,}"
                values = [spread(tests[metric]) for metric in ("log_loss", "auc")]
                test = difference(entry["paired"].get(f"dtrn-frozen - {variant}"))
                rows.append([title, VARIANT_LABELS[variant], learned, *values, test])
            title = ""
    notes = [
        "Settings as found for SharedBottom with all targets. Learned: parameters that this"
        " target's labels change. The difference is that of the frozen DTRN's log loss less that of"
        " the row, with a 95 % interval that resamples seeds and users and a p-value by sign-flips"
        " over users, Holm over the rows of a target."
    ]
    header = ["target", "how it is learned", "learned", "log loss", "AUC", "frozen DTRN less it"]
    return Table(header, rows, notes)


def cost(results: Path) -> Table:
    """Parameters and time of a bottom's step as tasks, behaviours and hypernetwork grow."""
    path = results / "bottoms.json"
    if not path.exists():
        return Table([], [])
    found: Found = json.loads(path.read_text())
    rows = [
        [
            str(entry["tasks"]),
            str(entry["behaviours"]),
            str(entry["hyper_hidden"]),
            f"{entry['tim_parameters']:,}",
            f"{entry['trm_parameters']:,}",
            f"{entry['naive_parameters']:,}",
            f"{entry['ms']:.1f}",
            f"{entry['ratio']:.2f}",
        ]
        for entry in found["growth"]
    ]
    bound, machine = found["bound"], found["machine"]
    verdict = "within" if bound["measured"] <= 1.15 * bound["bound"] else "above"
    of = found["growth_case"]
    notes = [
        f"Growth: batches of {of['batch_size']}, length {of['length']}, d = {of['dim']}; medians of"
        f" {found['rounds']} interleaved rounds of forward and backward; the ratio stands beside"
        " one plain Transformer over the same sequences.",
        f"T = {bound['tasks']}, M = {bound['behaviours']}, L = {bound['length']},"
        f" d = {bound['dim']}, batch {bound['batch_size']}: attention A ="
        f" {bound['attention_ms']:.0f} ms, the rest F = {bound['feed_ms']:.0f} ms,"
        f" (A + T F) / (A + F) = {bound['bound']:.3f}; a step is {bound['measured']:.3f} times one"
        f" shared Transformer's, {bound['measured'] / bound['bound']:.3f} times the bound:"
        f" {verdict} 1.15.",
        f"{machine['processor']}, {machine['threads']} thread, torch {machine['torch']}.",
    ]
    header = ["tasks", "behaviours", "hypernetwork", "TIM", "TRM", "a Transformer for each pair"]
    return Table([*header, "ms", "ratio"], rows, notes)
