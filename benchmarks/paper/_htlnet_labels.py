"""How the tables and figures of the HTLNet benchmark write what was found."""

import json
from pathlib import Path
from typing import Any

from benchmarks.paper._tables import NOT_RUN, spread

MAIN = "kuairand-slice"
HEAD_LABELS = {
    "single-task": "SingleTask",
    "shared-bottom": "SharedBottom",
    "mmoe": "MMoE",
    "ple": "PLE",
    "esmm": "ESMM",
    "aitm": "AITM",
    "htlnet": "HTLNet",
}
RULE_LABELS = {
    "sum": "sum",
    "gradient-adjustment": "GradientAdjustment",
    "pmtrec": "PMTRec",
    "pcgrad": "PCGrad",
    "best": "each head's best on validation",
}
METRIC_LABELS = {
    "auc": "AUC",
    "log_loss": "log loss",
    "rmse": "RMSE",
    "mse": "squared error",
    "nrmse_std": "NRMSE (std)",
    "nmae_mean": "NMAE (mean)",
    "spearman": "Spearman",
}
OF_CORE = {"continuous": ("rmse", "nrmse_std", "nmae_mean", "spearman"), "binary": ("log_loss",)}
MODE_LABELS = {"hybrid": "informative", "hybrid-control": "control"}
TARGET_SETS = {
    "2": "click, watch time",
    "3": "click, long view, watch time",
    "4": "… and profile enter",
    "5": "… and comment",
    "long_view": "all three, core: long view",
    "discrete": "click, long view (core)",
}
Found = dict[str, Any]


def label(cell: str) -> str:
    """How a cell is written."""
    head, _, rule = cell.partition(".")
    return f"{HEAD_LABELS[head]} + {RULE_LABELS[rule]}" if rule else cell


def load(results: Path, name: str) -> Found:
    """What a results file holds, nothing if there is none."""
    path = results / f"htlnet-{name}.json"
    found: Found = json.loads(path.read_text()) if path.exists() else {}
    return found


def metrics_of(found: Found) -> list[str]:
    """What stands in a table: the core target in full, the AUC of the others."""
    core, kinds = found["core"], found["targets"]
    names = [f"{core}/{metric}" for metric in OF_CORE[kinds[core]]]
    return names + [f"{target}/auc" for target, kind in kinds.items() if kind == "binary"]


def columns_of(found: Found) -> list[str]:
    """Their names."""
    return [metric_text(metric) for metric in metrics_of(found)]


def metric_text(metric: str) -> str:
    """How a metric is written."""
    target, _, name = metric.partition("/")
    return f"{target.replace('_', ' ')} {METRIC_LABELS.get(name, name)}"


def loss_name(found: Found) -> str:
    """What tests are of."""
    return "log loss" if found["targets"][found["core"]] == "binary" else "squared error"


def value_texts(runs: list[Found], found: Found) -> list[str]:
    """Every metric over runs."""
    return [spread([run[metric] for run in runs]) for metric in metrics_of(found)]


def row_of(cell: Found | None, found: Found) -> list[str]:
    """The test metrics of a cell."""
    if cell is None:
        return [NOT_RUN, *[""] * (len(metrics_of(found)) - 1)]
    return value_texts([run["test"] for run in cell["seeds"].values()], found)


def mean_text(cell: Found, metric: str) -> str:
    """One test metric of a cell."""
    return spread([run["test"][metric] for run in cell["seeds"].values()])


def budget_text(found: Found) -> str:
    """The numbers of trials."""
    budgets = {cell["search"]["budget"] for cell in found["cells"].values() if cell["search"]}
    return " or ".join(map(str, sorted(budgets)))


def relative(entry: Found | None) -> str:
    """A difference in per cent, with its interval and p-value."""
    if entry is None:
        return ""
    low, high = (100 * entry[f"relative_{end}"] for end in ("low", "high"))
    p = p_text(entry["p_holm"] if "p_holm" in entry else entry["p"])
    return f"{100 * entry['relative']:+.2f} ({low:+.2f} to {high:+.2f}), {p}".replace("-", "−")


def p_text(value: float) -> str:
    """A p-value."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def percent(entry: Found) -> str:
    """A share."""
    sd = "" if entry["sd"] is None else f" ± {100 * entry['sd']:.1f}"
    return f"{100 * entry['mean']:.1f}{sd} %".replace("-", "−")


def interval_texts(entry: Found) -> list[str]:
    """A difference of shares in points, its interval and p-value."""
    mean = f"{100 * entry['mean']:+.2f}".replace("-", "−")
    if "low" not in entry:
        return [mean, "", ""]
    ends = f"{100 * entry['low']:+.2f} to {100 * entry['high']:+.2f}".replace("-", "−")
    return [mean, ends, p_text(entry["p"])]


def params_text(params: Found) -> str:
    """Parameters by their short names."""
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in params.items())


def area(entry: Found | None) -> str:
    """A difference of two areas, with its standard error and p-value."""
    if entry is None or entry["p"] is None:
        return ""
    p = p_text(entry["p_holm"] if "p_holm" in entry else entry["p"])
    return f"{entry['difference']:+.4f} ± {entry['error']:.4f}, {p}".replace("-", "−")
