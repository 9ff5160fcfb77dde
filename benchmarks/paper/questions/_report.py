"""From the runs of a question to what is committed of them."""

import statistics
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.paper._assemble import as_entry
from benchmarks.paper._tables import METRICS
from benchmarks.paper.questions._rows import Reference, Row
from benchmarks.paper.questions._train import Job, users_path
from pyg_mtrec.metrics import PairedComparison, holm
from pyg_mtrec.training._report import versions

RESAMPLES = 1000
# Those of the evaluator
BUCKETS = {
    "0": (0, 0),
    "1-5": (1, 5),
    "6-10": (6, 10),
    "11-20": (11, 20),
    "21-50": (21, 50),
    "51+": (51, 2**62),
}
Users = tuple[Tensor, Tensor, Mapping[str, Tensor]]  # raw ids, histories, metric to values
Found = dict[str, Any]


class Runs:
    """The finished runs of a question's rows.

    Args:
        rows: The rows, with the weight decay that was chosen for each.
        jobs: The runs of each row by seed.
    """

    def __init__(self, rows: Iterable[Row], jobs: Mapping[Reference, Mapping[int, Job]]) -> None:
        self.rows = {row.key: row for row in rows}
        self.found: dict[Reference, dict[int, Found]] = {}
        self.users: dict[Reference, dict[int, Users]] = {}
        for key in self.rows:
            done = {seed: job.done() for seed, job in jobs.get(key, {}).items()}
            self.found[key] = {
                seed: run for seed, run in done.items() if run and "failed" not in run
            }
            self.users[key] = {seed: _users(jobs[key][seed].path) for seed in self.found[key]}

    def compare(self, ours: Reference, theirs: Reference, draws: int) -> Found | None:
        """Ours less theirs, under the seeds that both were run with."""
        seeds = [seed for seed in self.found[ours] if seed in self.found.get(theirs, {})]
        if not seeds:
            return None
        pairs = [(self.users[ours][seed], self.users[theirs][seed]) for seed in seeds]
        curves = [
            abs(a - b)
            for seed in seeds
            for a, b in zip(
                self.found[ours][seed]["curve"], self.found[theirs][seed]["curve"], strict=False
            )
        ]
        metrics = {metric: _paired(pairs, metric, draws) for metric in METRICS}
        return {**metrics, "largest_difference_of_curves": max(curves)}

    def by_history(self, row: Row, draws: int) -> Found:
        """The same for users of similar histories."""
        found = {}
        for name, (low, high) in BUCKETS.items():
            mine = {seed: _between(users, low, high) for seed, users in self.users[row.key].items()}
            mine = {seed: users for seed, users in mine.items() if users[0].numel()}
            if not mine:
                continue
            against = {}
            for label, theirs in row.against.items():
                others = self.users.get(theirs, {})
                pairs = [
                    (mine[seed], _between(others[seed], low, high))
                    for seed in mine
                    if seed in others
                ]
                if pairs:
                    against[label] = {metric: _paired(pairs, metric, draws) for metric in METRICS}
            found[name] = {
                "users": statistics.mean(users[0].numel() for users in mine.values()),
                **{
                    metric: statistics.mean(
                        float(users[2][metric].mean()) for users in mine.values()
                    )
                    for metric in METRICS
                },
                "against": against,
            }
        return found


def assemble(
    question: str, dataset: str, runs: Runs, sweeps: Mapping[Reference, list[Found]], draws: int
) -> Found:
    """Returns what a question's tables and plots need, without any value of a single user."""
    rows = []
    for key, row in runs.rows.items():
        found = runs.found[key]
        entry: Found = {
            "condition": row.condition,
            "arm": row.arm,
            "tasks": row.tasks,
            "parameters": row.parameters,
            **{name: getattr(row.settings, name) for name in ("lr", "weight_decay")},
            "seeds": {str(seed): _seed(run) for seed, run in sorted(found.items())},
            "mean": {m: _over_seeds(found, m, statistics.mean) for m in METRICS},
            "sd": {m: _over_seeds(found, m, statistics.stdev) for m in METRICS},
        }
        if row.settings.balancer == "pmtrec":
            entry |= {name: getattr(row.settings, name) for name in ("alpha", "tau", "scale")}
        compared = {label: runs.compare(key, other, draws) for label, other in row.against.items()}
        entry["against"] = {
            label: {**dict(zip(("condition", "arm"), row.against[label], strict=True)), **result}
            for label, result in compared.items()
            if result
        }
        if key in sweeps:
            entry["sweep"] = sweeps[key]
        if row.by_history and found:
            entry["by_history"] = runs.by_history(row, draws)
        rows.append(entry)
    _adjust([entry["against"] for entry in rows])
    histories = [entry["by_history"] for entry in rows if "by_history" in entry]
    _adjust([bucket["against"] for history in histories for bucket in history.values()])
    content = {
        "question": question,
        "dataset": dataset,
        "protocol": _protocol(runs, draws),
        "rows": rows,
    }
    return dict(_rounded(content))


def _users(path: Path) -> Users:
    found = torch.load(users_path(path), weights_only=True)
    return found["users"], found["history"], found["metrics"]


def _between(users: Users, low: int, high: int) -> Users:
    inside = (users[1] >= low) & (users[1] <= high)
    values = {metric: users[2][metric][inside] for metric in METRICS}
    return users[0][inside], users[1][inside], values


def _paired(pairs: list[tuple[Users, Users]], metric: str, draws: int) -> Found:
    # A generator of its own: a comparison does not depend on what else was run.
    result = PairedComparison.from_seeds(
        [(mine[0], mine[2][metric]) for mine, _ in pairs],
        [(other[0], other[2][metric]) for _, other in pairs],
        torch.Generator().manual_seed(0),
        num_draws=draws,
        num_resamples=min(draws, RESAMPLES),
    )
    return as_entry(result)


def _adjust(families: list[Found]) -> None:
    """Holm's correction over the rows of a table, one family a reference and metric."""
    for name in dict.fromkeys(name for against in families for name in against):
        for metric in METRICS:
            entries = [against[name][metric] for against in families if name in against]
            for entry, p in zip(entries, holm([entry["p"] for entry in entries]), strict=True):
                entry["p_holm"] = p


def _seed(run: Found) -> Found:
    return {
        **{metric: run["test"][metric] for metric in METRICS},
        "valid": run["selection"]["value"],
        "epoch": run["selection"]["epoch"],
    }


def _over_seeds(
    found: Mapping[int, Found], metric: str, summary: Callable[[list[float]], float]
) -> float | None:
    values = [run["test"][metric] for run in found.values()]
    return summary(values) if len(values) > (summary is statistics.stdev) else None


def _protocol(runs: Runs, draws: int) -> Found:
    done = [run for seeds in runs.found.values() for run in seeds.values()]
    settings = next(iter(runs.rows.values())).settings
    shared = ("encoder", "dim", "batch_size", "epochs", "patience", "select_metric", "valid_users")
    split = done[0]["split"] if done else {}
    share = "val_fraction" if split.get("strategy") == "given" else "fractions"
    return {
        **{name: getattr(settings, name) for name in shared},
        "selection": "the epoch of the best validation; the test set is read once",
        "masking": "training and validation interactions",
        "split": {name: split.get(name) for name in ("strategy", share)},
        "data": done[0]["data"] if done else None,
        "test": "two-sided sign-flip test over users, each the mean over seeds; Holm over the rows",
        "draws": draws,
        "resamples": min(draws, RESAMPLES),
        "seeds": sorted({run["seed"] for run in done}),
        "versions": versions(),
    }


def _rounded(content: Any) -> Any:
    """Six significant digits."""
    if isinstance(content, float):
        return float(f"{content:.6g}")
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    return [_rounded(value) for value in content] if isinstance(content, list) else content
