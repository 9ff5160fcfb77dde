"""Tables of the PMTRec benchmark, from benchmarks/results/pmtrec-DATASET.json.

The paper's number stands beside each of ours where it printed one. A cell without a run is
"not run", which is what every cell of a data set without results is.
"""

import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.paper._cells import ABLATION, CONTROL_RULES, MORE_RULES, ROW_RULES, YARDSTICKS
from pyg_mtrec.runs._labels import arm_label, metric_label

PUBLISHED = Path(__file__).with_name("published_pmtrec.json")
METRICS = ("recall@20", "ndcg@20")
PMTREC = "mf.all.pmtrec"
SINGLE = "mf.bpr.sum"
NOT_RUN = "not run"
SIGNIFICANT = 0.05

# The paper's rules, in its order
PAPER_RULES = {
    "sum": "sum (EW)",
    "graddrop": "GradDrop",
    "pcgrad": "PCGrad",
    "gradvac": "GradVac",
    "cagrad": "CAGrad",
    "aligned-mtl": "Aligned-MTL",
    "nash-mtl": "Nash-MTL",
    "rlw": "RLW",
    "pmtrec": "PMTRec",
}
_LABELS = {
    **PAPER_RULES,
    "mgda": "MGDA",
    "imtlg": "IMTL-G",
    "upgrad": "UPGrad",
    "metabalance": "MetaBalance",
    "uncertainty-weighting": "uncertainty weighting",
    "dwa": "DWA",
    "mean": "mean (sum / T)",
    "sum-adamw": "sum, decoupled decay",
    "pmtrec-adamw": "PMTRec, decoupled decay",
    "pmtrec-nofocus": "PMTRec without focusing (α = 1)",
    "pmtrec-nobalance": "PMTRec without balancing (τ = 1)",
}
ENCODERS = {"mf": "MF", "ngcf": "NGCF", "lightgcn": "LightGCN"}
TASK_SETS = {"bpr": "BPR", "t1": "+ T1", "t2": "+ T2", "all": "+ T1, T2"}
# What each variant is held against
VARIANTS = {
    PMTREC: None,
    **{f"mf.all.{rule}": PMTREC for rule in ABLATION},
    "mf.all.sum": PMTREC,
    "mf.all.mean": PMTREC,
    "mf.all.pmtrec-adamw": None,
    "mf.all.sum-adamw": "mf.all.pmtrec-adamw",
}


@dataclass
class Table:
    """Rows of text, and lines that stand below them."""

    header: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return table + "".join(f"\n{note}\n" for note in self.notes)

    def rst(self) -> str:
        lines = ["", ".. list-table::", "   :header-rows: 1", ""]
        for row in [self.header, *self.rows]:
            cells = [f"{'-' if i else '* -'} {cell}".rstrip() for i, cell in enumerate(row)]
            lines += [f"   {cell:>{len(cell) + 2 * bool(i)}}" for i, cell in enumerate(cells)]
        return "\n".join([*lines, "", *(f"{note}\n" for note in self.notes)]) + "\n"


def rule_label(rule: str) -> str:
    """How a rule, or a cell by its rule, is written."""
    if rule == SINGLE:
        return "BPR alone"
    name = rule.rpartition(".")[2]
    base = name.removesuffix("-row")
    label = _LABELS.get(base, arm_label(base))
    return f"{label}, row by row" if base != name else label


def spread(values: list[float]) -> str:
    """Mean ± standard deviation."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


@dataclass
class Report:
    """What was found on a data set, empty if nothing was, and what the paper printed."""

    dataset: str
    found: dict[str, Any]
    published: dict[str, Any]

    @classmethod
    def load(cls, dataset: str, results: Path) -> "Report":
        path = results / f"pmtrec-{dataset}.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        return cls(dataset, found, json.loads(PUBLISHED.read_text()))

    @cached_property
    def cells(self) -> dict[str, Any]:
        """Cell to what was found for it."""
        return dict(self.found.get("cells", {}))

    @cached_property
    def num_seeds(self) -> int:
        """The number of seeds of a cell that was run in full."""
        return max((len(cell["seeds"]) for cell in self.cells.values()), default=0)

    def paper(self, part: str) -> Any:
        """A part of the paper that is about this data set."""
        return self.published[part].get(self.dataset.removesuffix("-2014"), {})

    def values(self, cell: str, metric: str) -> list[float]:
        """A test metric under each seed."""
        runs = self.cells.get(cell, {}).get("seeds", {}).values()
        return [run["test"][metric] for run in runs]

    def text(self, cell: str, metric: str) -> str:
        values = self.values(cell, metric)
        if not values:
            return NOT_RUN
        few = len(values) < self.num_seeds
        seeds = f" ({len(values)} seed{'s' * (len(values) > 1)})" if few else ""
        return spread(values) + seeds

    def printed(self, cell: str, metric: str) -> str:
        """The paper's number: Table 2's for MF with all tasks, else Table 3's."""
        encoder, _, rest = cell.partition(".")
        tasks, _, rule = rest.partition(".")
        if (encoder, tasks) == ("mf", "all"):
            numbers = self.paper("table2").get(rule, {})
        elif rule == ("sum" if tasks == "bpr" else "pmtrec"):
            numbers = self.paper("table3").get(encoder, {}).get(tasks, {})
        else:
            numbers = {}
        return f"{numbers[metric]:.4f}" if metric in numbers else ""

    def comparison(self, cell: str, metric: str, family: str = "metrics") -> dict[str, Any] | None:
        tests = self.found.get("paired", {}).get(family, {}).get(metric, {})
        entry: dict[str, Any] | None = tests.get(cell)
        return entry


def table_2(report: Report) -> Table:
    """Every rule with MF and all tasks, held against PMTRec."""
    blocks = _blocks(report)
    rules = [cell for title in list(blocks)[1:] for cell in blocks[title]]
    best = {metric: _best(report, rules, metric) for metric in METRICS}
    cost = (report.found.get("cost") or {}).get("ratio", {})
    rows = []
    for title, cells in blocks.items():
        for cell in cells:
            row = [title, rule_label(cell)]
            for metric in METRICS:
                text = report.text(cell, metric)
                row += [
                    f"**{text}**" if cell == best[metric] else text,
                    report.printed(cell, metric),
                    _difference(report.comparison(cell, metric)),
                ]
            ratio = cost.get(cell.removeprefix("mf.all.")) if cell in rules else None
            rows.append([*row, f"{ratio:.2f}" if ratio else "", _trials(report, cell)])
            title = ""
    columns = [part for m in METRICS for part in (metric_label(m), "paper", "less PMTRec's")]
    header = ["", "ranked by", *columns, "cost", "trials"]
    return Table(header, rows, _notes(report, rules))


def table_2_short(report: Report) -> Table:
    """What was run of Table 2, best Recall@20 first, with the paper's numbers and p-values."""
    blocks = _blocks(report)
    yardsticks, *others = blocks.values()
    rules = [cell for cells in others for cell in cells]
    ran = [cell for cell in [*yardsticks, *rules] if report.values(cell, METRICS[0])]
    ran.sort(key=lambda cell: -statistics.mean(report.values(cell, METRICS[0])))
    rows = []
    for cell in ran:
        row = [rule_label(cell)]
        for metric in METRICS:
            entry = report.comparison(cell, metric)
            p = "" if entry is None else _p(entry["p_holm"])
            row += [report.text(cell, metric), report.printed(cell, metric), p]
        rows.append(row)
    missing = [rule_label(cell) for cell in rules if cell not in ran]
    notes = [
        "p: against PMTRec, a two-sided sign-flip test over users of their metric averaged over"
        f" {report.num_seeds} split seeds, Holm-corrected."
    ]
    if missing:
        notes.append(f"Cells that are not run: {'; '.join(missing)}.")
    columns = [part for m in METRICS for part in (metric_label(m), "paper", "p")]
    return Table(["ranked by", *columns], rows, notes)


def table_2_full(report: Report) -> Table:
    """Table 2 at every cut-off, the paper's numbers below ours."""
    metrics = [f"{name}@{k}" for name in ("recall", "ndcg") for k in (5, 10, 20, 40)]
    rows = []
    for cells in _blocks(report).values():
        for cell in cells:
            label = rule_label(cell)
            rows.append([label, *(report.text(cell, metric) for metric in metrics)])
            printed = [report.printed(cell, metric) for metric in metrics]
            if any(printed):
                rows.append([f"{label}, paper", *printed])
    return Table(["ranked by", *map(metric_label, metrics)], rows, _misprints(report))


def table_3(report: Report, cut: int = 20) -> Table:
    """Encoders and sets of tasks under the sum, RLW and PMTRec."""
    metrics = [f"{name}@{cut}" for name in ("recall", "ndcg")]
    rows = []
    for cell in YARDSTICKS:
        row = [rule_label(cell), ""]
        for metric in metrics:
            row += [report.text(cell, metric), "", "", ""]
        rows.append(row)
    for encoder, title in ENCODERS.items():
        for tasks, label in TASK_SETS.items():
            row = [title, label]
            for metric in metrics:
                for rule in ("sum", "rlw", "pmtrec"):
                    cell = f"{encoder}.{tasks}.{rule}"
                    known = tasks != "bpr" or rule == "sum"
                    row.append(_marked(report, cell, metric) if known else "")
                final = f"{encoder}.{tasks}.{'sum' if tasks == 'bpr' else 'pmtrec'}"
                row.append(report.printed(final, metric))
            rows.append(row)
            title = ""
    columns = [
        part for m in metrics for part in (f"{metric_label(m)}, plain", "RLW", "PMTRec", "paper")
    ]
    return Table(["encoder", "tasks", *columns], rows, _table_3_notes(report, cut))


def ablation(report: Report) -> Table:
    """PMTRec with one half left out, and what else could explain its lead."""
    rows = [
        [rule_label(cell), "", *(part for m in METRICS for part in (report.text(cell, m), ""))]
        + [""] * 4
        for cell in YARDSTICKS
    ]
    for cell, against in VARIANTS.items():
        row = [rule_label(cell), rule_label(against) if against else ""]
        for metric in METRICS:
            row += [
                report.text(cell, metric),
                _difference(report.comparison(cell, metric, "ablation")),
            ]
        said = report.paper("ablation_percent").get(cell.removeprefix("mf.all."), {})
        for metric in ("recall@40", "ndcg@40"):
            printed = f"{_signed(said[metric], 1)} %" if metric in said else ""
            row += [_change(report, cell, against, metric), printed]
        rows.append(row)
    header = ["variant", "held against"]
    header += [part for m in METRICS for part in (metric_label(m), "difference")]
    header += [part for m in ("recall@40", "ndcg@40") for part in (metric_label(m), "paper")]
    notes = [
        "The variants of PMTRec keep the parameters found for it and change one of them; all other "
        "rows were searched like the rules of Table 2. At @40: change of the mean in per cent, "
        "beside the paper's where its text names one.",
        "The sum divided by the number of tasks has PMTRec's scale, and so its weight decay "
        "relative to the gradient. Decoupled weight decay (AdamW) does not pass through the "
        "gradient at all. Where PMTRec leads these as well, its lead is not one of weight decay.",
        _legend(report),
    ]
    return Table(header, rows, [note for note in notes if note])


def history(report: Report) -> Table:
    """Test users by the length of their training history."""
    cells = [cell for block in _blocks(report).values() for cell in block]
    found = {cell: report.cells.get(cell, {}).get("buckets") or {} for cell in cells}
    names = list(dict.fromkeys(name for buckets in found.values() for name in buckets))
    rows = []
    users = {name: b["users"] for buckets in found.values() for name, b in buckets.items()}
    if users:
        rows.append(["users", *(f"{users[name]:,.0f}" for name in names)])
    for cell in cells:
        values = [_pair(found[cell].get(name)) for name in names] or [NOT_RUN]
        rows.append([rule_label(cell), *values])
    columns = [f"{name} interactions" for name in names] or ["all lengths"]
    note = "Recall@20 / NDCG@20 and the number of test users, means over the split seeds."
    return Table(["ranked by", *columns], rows, [note])


TABLES: dict[str, Callable[[Report], Table]] = {
    "table2": table_2,
    "table2-short": table_2_short,
    "table2-full": table_2_full,
    "table3": table_3,
    "table3-at-5": lambda report: table_3(report, 5),
    "ablation": ablation,
    "history": history,
}


def _blocks(report: Report) -> dict[str, list[str]]:
    """Title to cells; rules that are in no list but were run stand with the further ones."""
    blocks = {
        "yardsticks": [*YARDSTICKS, SINGLE],
        "the paper's rules": [f"mf.all.{rule}" for rule in PAPER_RULES],
        "row by row": [f"mf.all.{rule}" for rule in ROW_RULES],
        "further rules": [f"mf.all.{rule}" for rule in MORE_RULES],
        "controls": [f"mf.all.{rule}" for rule in CONTROL_RULES],
    }
    listed = {cell for cells in blocks.values() for cell in cells}
    listed |= {f"mf.all.{rule}" for rule in ABLATION}
    others = [cell for cell in report.cells if cell.startswith("mf.all.") and cell not in listed]
    for cell in others:
        blocks["row by row" if cell.endswith("-row") else "further rules"].append(cell)
    return blocks


def _best(report: Report, cells: Iterable[str], metric: str) -> str | None:
    means = {cell: report.values(cell, metric) for cell in cells}
    ran = {cell: statistics.mean(values) for cell, values in means.items() if values}
    return max(ran, key=ran.__getitem__) if len(ran) > 1 else None


def _signed(value: float, digits: int = 4) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _difference(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    counts = " / ".join(f"{entry[name]:,}" for name in ("wins", "ties", "losses"))
    return f"{_signed(entry['difference'])}, {_p(entry['p_holm'])}; {counts}"


def _trials(report: Report, cell: str) -> str:
    search = report.cells.get(cell, {}).get("search")
    if not search:
        return ""
    short = search["trials"] < search["budget"]
    return f"{search['trials']} of {search['budget']}" if short else str(search["trials"])


def _marked(report: Report, cell: str, metric: str) -> str:
    entry = report.comparison(cell, metric, "table3")
    differs = entry is not None and entry["p_holm"] < SIGNIFICANT
    return report.text(cell, metric) + (" †" if differs else "")


def _change(report: Report, cell: str, against: str | None, metric: str) -> str:
    ours, theirs = report.values(cell, metric), report.values(against or cell, metric)
    if against is None or not ours or not theirs:
        return ""
    return f"{_signed(100 * (statistics.mean(ours) / statistics.mean(theirs) - 1), 1)} %"


def _pair(bucket: dict[str, float] | None) -> str:
    return " / ".join(f"{bucket[metric]:.4f}" for metric in METRICS) if bucket else NOT_RUN


def _notes(report: Report, rules: list[str]) -> list[str]:
    notes = [*_verdicts(report, rules), _legend(report), _cost(report), _data(report)]
    notes += [*_protocol(report), *_misprints(report)]
    return [note for note in notes if note]


def _verdicts(report: Report, rules: list[str]) -> list[str]:
    """Who is ahead of whom, and of the paper, in words that follow from the numbers."""
    notes = []
    rivals = [cell for cell in rules if not cell.endswith("-adamw")]
    for metric in METRICS if report.values(PMTREC, METRICS[0]) else ():
        means = {
            cell: statistics.mean(values)
            for cell in rivals
            if (values := report.values(cell, metric))
        }
        rank = 1 + sum(value > means[PMTREC] for value in means.values())
        tests = {
            cell: entry for cell in means if (entry := report.comparison(cell, metric)) is not None
        }
        decided = [cell for cell, entry in tests.items() if entry["p_holm"] < SIGNIFICANT]
        ahead = [rule_label(cell) for cell in decided if tests[cell]["difference"] > 0]
        names = f" ({', '.join(ahead)})" if ahead else ""
        notes.append(
            f"{metric_label(metric)}: PMTRec is number {rank} of the {len(means)} rules that were "
            f"run; p < {SIGNIFICANT} for being above {len(decided) - len(ahead)} of them and below "
            f"{len(ahead)}{names}, undecided against {len(tests) - len(decided)}."
            + _ease(report, metric)
        )
    printed = [report.printed(PMTREC, metric) for metric in METRICS]
    if notes and all(printed) and report.paper("data")["comparable"]:
        below = [
            metric_label(metric)
            for metric, number in zip(METRICS, printed, strict=True)
            if statistics.mean(report.values(PMTREC, metric)) < float(number)
        ]
        verdict = f"not reached in {' and '.join(below)}" if below else "reached"
        notes.append(f"The level of the paper's PMTRec ({' / '.join(printed)}) is {verdict}.")
    return notes


def _ease(report: Report, metric: str) -> str:
    entry = report.comparison("ease", metric)
    if entry is None:
        return ""
    # The table holds EASE against PMTRec; said the other way round, the signs turn.
    low, high = _signed(-entry["high"]), _signed(-entry["low"])
    return (
        f" PMTRec less EASE is {_signed(-entry['difference'])} ({_p(entry['p_holm'])}; 95 % "
        f"interval over seeds and users from {low} to {high})."
    )


def _legend(report: Report) -> str:
    protocol = report.found.get("protocol") or {}
    if not report.num_seeds:
        return ""
    return (
        f"Mean ± standard deviation over {report.num_seeds} split seeds, each of whose test sets "
        "was read once. Differences are means over the test users of their metric averaged over "
        "seeds: what stands in the row, less what it is held against. p: two-sided sign-flip test "
        f"over users ({protocol.get('draws', 0):,} draws), Holm-corrected over the rows of the "
        "table; then the numbers of users won / tied / lost."
    )


def _cost(report: Report) -> str:
    cost = report.found.get("cost")
    trials = "Trials: different parameters that were tried on the validation set of seed 0."
    if not cost:
        return trials if report.num_seeds else ""
    machine = cost["machine"]
    where = machine.get("gpu") or f"{machine['processor']}, {machine['threads']} thread(s)"
    return (
        "Cost: time of a training step relative to the sum's "
        f"({cost['ms_per_step']['sum']:.1f} ms), median over {cost['rounds']} interleaved rounds "
        f"({where}, torch {machine['torch']}). {trials}"
    )


def _data(report: Report) -> str:
    data = report.paper("data")
    return f"Data: {data['note']}" if data else ""


def _protocol(report: Report) -> list[str]:
    """How these numbers were made, beside the paper's."""
    found = report.found.get("protocol") or {}
    if not found.get("epochs") or not report.paper("table2"):
        return []
    budget = " or ".join(map(str, found["trials"]))
    searches = [cell["search"] for cell in report.cells.values() if cell.get("search")]
    pruned, tried = (sum(search[name] for search in searches) for name in ("pruned", "trials"))
    anchored = found.get("auxiliary") == "anchored"
    batches = "anchored on the main batch's users and items" if anchored else "their own edges"
    return [
        "Protocol beside the paper's. "
        f"Search: {budget} trials for every rule alike ({pruned} of all {tried} were stopped "
        "early), over one grid of learning rate and weight decay and the rule's own parameters, on "
        "the validation set of seed 0 (paper: a grid; what it chose is not published). "
        f"Stopping: after {found['patience']} epochs without a gain in validation "
        f"{metric_label(found['select_metric'])} of at most {found['valid_users']:,} users, "
        f"{found['epochs']} epochs at most (paper: 10 epochs without a gain). "
        "Split: 60/20/20 by interaction, as in the paper, another one for each seed; the paper "
        "prints one number per cell, without a spread or a test. "
        "Ranking: the whole catalogue without training and validation items.",
        "What the paper leaves open: losses are means over the batch, which sets the scale of τ. "
        "Negatives are uniform, one for each positive, drawn anew at every step, and never "
        f"training positives. The batches of auxiliary tasks are {batches}, and the formulas of "
        "their losses are this library's. RLW draws its weights at every step (paper: in every "
        "epoch). Weight decay is Adam's and is added after the gradients are combined, which is "
        f"done at the {found['at']}.",
    ]


def _misprints(report: Report) -> list[str]:
    found = report.paper("misprints")
    if not found:
        return []
    source = report.published["source"]
    return [f"The paper's numbers are as printed in {source}. Errors in them: {' '.join(found)}"]


def _table_3_notes(report: Report, cut: int) -> list[str]:
    tasks = report.found.get("tasks") or {}
    named = f"T1 is {tasks['t1']}, T2 is {tasks['t2']}. " if tasks else ""
    notes = [
        f"{named}Plain: a yardstick, the recommendation task alone, or the sum of the tasks. The "
        "paper's rows with tasks appear to be trained by PMTRec, so they stand beside ours."
    ]
    if report.num_seeds and cut == 20:
        notes.append(
            f"†: differs from PMTRec of the same row (BPR: from PMTRec with both tasks) with "
            f"p < {SIGNIFICANT} by the sign-flip test over users, Holm-corrected over the table. "
            f"Mean ± standard deviation over {report.num_seeds} split seeds."
        )
    data = report.paper("data")
    if data and not data["comparable"]:
        notes.append(_data(report))
    return notes
