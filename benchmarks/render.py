"""Writes the committed results into the tables and figures of README and docs.

    python -m benchmarks.render            fills every table, draws every figure
    python -m benchmarks.render --check    changes nothing, exits 1 if one is stale

A table stands between two comments, in Markdown

    <!-- table: quality -->
    <!-- /table -->

and in reStructuredText

    .. table: quality

    .. /table

Results lie under benchmarks/results/. ``NAME.json`` or ``NAME.seedN.json`` is the results.json of
a run of ``pyg-mtrec train``; the seeds of one name are averaged. ``multi_task_step.json`` and
``full_ranking.json`` are what the scripts in benchmarks/speed/ write. ``pmtrec-DATASET.json`` is
written by benchmarks/paper/pmtrec.py and makes the tables ``pmtrec-table2-DATASET`` and so on
(benchmarks/paper/_tables.py) and the figures ``pmtrec-figures-DATASET``, images that lie under
docs/_static/pmtrec/. ``uprth-authors-steam.json`` and ``uprth-steam.json``, of
benchmarks/paper/uprth.py, make the tables ``uprth-...`` and the figure ``uprth-attention``, and
``htlnet-DATA.json``, of benchmarks/paper/htlnet.py, the tables and figures ``htlnet-...``.
``dtrn-DATA.json``, of benchmarks/paper/dtrn.py, and ``bottoms.json``, of
benchmarks/speed/bottoms.py, make those called ``dtrn-...``.
What ``python -m benchmarks.speed`` wrote makes the tables ``speed-...``.
``uprth-epinions.json`` and ``uprth-amazon-video-games-2014.json``, of
benchmarks/paper/uprth_graphs.py, make ``uprth-graphs`` and ``uprth-graphs-stages``.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.paper import (
    _dtrn_plots,
    _dtrn_study_tables,
    _dtrn_tables,
    _htlnet_plots,
    _htlnet_tables,
    _htlnet_world_tables,
    _plots,
    _tables,
    _uprth_graphs_report,
    _uprth_plots,
    _uprth_tables,
)
from benchmarks.paper._dtrn_labels import DATASETS as DTRN_DATASETS
from benchmarks.paper._htlnet_plots import Plot
from benchmarks.paper._tables import Report, Table, spread
from benchmarks.paper.questions import (
    decay,
    focusing,
    no_harm,
    reduction,
    sparsity,
    task_kinds,
)
from benchmarks.speed import _tables as _speed_tables
from pyg_mtrec._errors import InputError
from pyg_mtrec.runs._labels import arm_label, metric_label

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PUBLISHED = ROOT / "benchmarks" / "paper" / "published.json"
METRICS = ("recall@20", "ndcg@20")
MARKDOWN = re.compile(r"(<!-- table: ([\w-]+) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
RST = re.compile(r"(^\.\. table: ([\w-]+)\n)(.*?)(^\.\. /table)", re.DOTALL | re.MULTILINE)
_NO_FIGURE = "Figures: not run.\n"


@dataclass
class Figures:
    """Images of one data set with their captions."""

    dataset: str
    captions: dict[str, str]
    folder: str = "pmtrec"

    def markdown(self) -> str:
        lines = [
            f"![{self.dataset}, {name}]({self._path(name, ROOT)})\n\n{caption}\n"
            for name, caption in self.captions.items()
        ]
        return "\n".join(lines or [_NO_FIGURE])

    def rst(self) -> str:
        lines = [
            f".. figure:: /{self._path(name, ROOT / 'docs')}\n"
            f"   :alt: {self.dataset}, {name}\n\n   {caption}\n"
            for name, caption in self.captions.items()
        ]
        return "\n" + "\n".join(lines or [_NO_FIGURE]) + "\n"

    def _path(self, name: str, start: Path) -> str:
        return _image(self.dataset, name, self.folder).relative_to(start).as_posix()


def _load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _runs() -> dict[str, list[dict[str, Any]]]:
    """Experiment to the results of its seeds."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        content = _load(path)
        if "comparison" in content:
            runs.setdefault(re.sub(r"\.seed\d+$", "", path.stem), []).append(content)
    return runs


def _published(name: str, runs: list[dict[str, Any]]) -> tuple[list[str] | None, str]:
    """The paper's row for a data set, and whether ours reaches it."""
    papers = _load(PUBLISHED) if PUBLISHED.exists() else {}
    settings = runs[0]["settings"]
    if name not in papers or (settings["encoder"], settings["balancer"]) != ("mf", "pmtrec"):
        return None, ""
    row = ["", "PMTRec, as published", *(f"{papers[name][m]:.4f}" for m in METRICS), ""]
    ours = {m: statistics.mean(run["test"][m] for run in runs) for m in METRICS}
    below = [metric_label(m) for m in METRICS if ours[m] < papers[name][m]]
    verdict = f"not reached in {' and '.join(below)}" if below else "reached"
    return row, f"{name}: the published number ({papers[name]['source']}) is {verdict}."


def quality() -> Table:
    """Every experiment: its baselines, its arms and what the paper says."""
    rows, notes = [], []
    for runs in _runs().values():
        settings, name = runs[0]["settings"], runs[0]["dataset"]["name"]
        title = f"{name}, {settings['encoder']}, d = {settings['dim']}"
        for arm in runs[0]["comparison"]:
            found = [run["comparison"][arm] for run in runs if arm in run["comparison"]]
            values = [spread([metrics[m] for metrics in found]) for m in METRICS]
            rows.append([title, arm_label(arm), *values, str(len(found))])
            title = ""
        published, verdict = _published(name, runs)
        if published:
            rows.append(published)
            notes.append(verdict)
    header = ["data, encoder", "ranked by", *map(metric_label, METRICS), "seeds"]
    return Table(header, rows, notes)


def step() -> Table:
    """One training step of every arm."""
    path = RESULTS / "multi_task_step.json"
    if not path.exists():
        return Table([], [])
    found = _load(path)
    rows = [
        [arm, f"{found['ms_per_step'][arm]:.1f}", f"{found['s_per_epoch'][arm]:.1f}"]
        for arm in found["ms_per_step"]
    ]
    ratios = "; ".join(f"{name} {value:.2f}" for name, value in found["ratio"].items())
    machine = found["machine"]
    notes = [
        f"Data: {found['data']}. Ratios, medians over interleaved rounds: {ratios}.",
        f"{machine['processor']}, {machine['threads']} thread(s), torch {machine['torch']}.",
    ]
    return Table(["step", "ms per step", "s per epoch"], rows, notes)


def ranking() -> Table:
    """The full ranking of a large catalogue."""
    path = RESULTS / "full_ranking.json"
    if not path.exists():
        return Table([], [])
    found = _load(path)
    names = {
        "users": "users",
        "items": "items",
        "seconds": "seconds",
        "bound_seconds": "seconds to form every score once",
        "peak_mb_above_model": "peak MB above the model",
    }
    rows = [[title, f"{found[key]:,}"] for key, title in names.items()]
    note = f"Data: {found['data']}, d = {found['dim']}, {found['threads']} threads, "
    return Table(["full ranking", ""], rows, [f"{note}torch {found['torch']}."])


def uprth_epoch() -> Table:
    """Seconds and memory of UPRTH's pretraining."""
    rows, notes = [], []
    for path in sorted(RESULTS.glob("uprth_epoch*.json")):
        found = _load(path)
        targets = found["targets"]
        rows.append(
            [
                found["data"],
                f"{found['users']:,}",
                f"{found['items']:,}",
                f"{found['pretrain_epoch_seconds']:.2f}",
                f"{targets['seconds']}" if "seconds" in targets else "",
                f"{found['peak_gb']:.2f}",
                f"{targets['gb']}",
            ]
        )
        machine = found["machine"]
        quiet = "quiet" if found["quiet"] else "not quiet"
        notes.append(
            f"{found['data']}: d = {found['dim']}, {len(found['tasks'])} tasks, median of"
            f" {len(found['epochs_seconds'])} epochs, {machine['threads']} thread, torch"
            f" {machine['torch']}, the machine was {quiet}."
        )
    header = ["data", "users", "items", "s an epoch", "target", "peak GB in all", "target"]
    return Table(header, rows, notes)


def uprth_growth() -> Table:
    """What a pretraining epoch costs on worlds of several sizes."""
    path = RESULTS / "uprth_growth.json"
    if not path.exists():
        return Table([], [])
    found = _load(path)
    rows = [
        [
            f"{int(size):,}",
            f"{entry['users']:,}",
            f"{entry['items']:,}",
            f"{entry['incidences']:,}",
            f"{entry['epoch_seconds']:.3f}",
            f"{entry['peak_gb']:.2f}",
            f"{entry['peak_above_imports_gb']:.2f}",
        ]
        for size, entry in found["sizes"].items()
    ]
    machine, entry = found["machine"], next(iter(found["sizes"].values()))
    quiet = "quiet" if found["quiet"] else "not quiet"
    notes = [
        f"Data: {found['data']}, d = {found['dim']}, {len(entry['tasks'])} tasks, median of"
        f" {len(entry['epochs_seconds'])} epochs, {machine['threads']} thread, torch"
        f" {machine['torch']}, the machine was {quiet}. 60 % of the interactions are trained on."
    ]
    if "exponents" in found:
        whole, last = found["exponents"], found["exponents_of_largest"]
        notes.append(
            f"Seconds grow with exponent {whole['epoch_seconds']:.2f} of the interactions, between"
            f" the two largest sizes {last['epoch_seconds']:.2f}; memory above the imports with"
            f" {whole['peak_above_imports_gb']:.2f} and {last['peak_above_imports_gb']:.2f}."
        )
    header = ["interactions", "users", "items", "incidences", "s an epoch", "peak GB"]
    return Table([*header, "above imports"], rows, notes)


def best() -> Table:
    """The library's best configuration of a data set beside EASE."""
    rows, notes = [], []
    for path in sorted(RESULTS.glob("*-best.json")):
        found = _load(path)
        title, seeds = found["dataset"], list(found["seeds"])
        for name, runs in (("EASE", found["ease"]), ("best configuration", found["seeds"])):
            values = [spread([runs[seed]["test"][metric] for seed in seeds]) for metric in METRICS]
            rows.append([title, name, *values])
            title = ""
        gains = []
        for metric in METRICS:
            table = found["table"][metric]
            paired = table["paired"]
            interval = f"{paired['low']:+.4f} to {paired['high']:+.4f}"
            gains.append(
                f"{metric_label(metric)} {table['gain']:+.2%} (difference"
                f" {paired['difference']:+.4f}, 95 % interval {interval}, p = {paired['p']:.2g})"
            )
        search = found["search"]
        params = ", ".join(
            f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in search["params"].items()
        )
        notes.append(
            f"{found['dataset']}: {'; '.join(gains)}. Chosen on validation of seed 0 out of"
            f" {search['trials']} trials: {params}. Then {len(seeds)} split seeds, each of whose"
            " test sets was read once; EASE with the ridge that is best on each seed's validation."
        )
    return Table(["data", "ranked by", *map(metric_label, METRICS)], rows, notes)


def _make_on(make: Callable[..., Table], *dataset: str) -> Table:
    """A table, perhaps of one data set, of the results that there are when it is asked for."""
    return make(RESULTS, *dataset)


# Figures of benchmarks that name theirs by themselves: prefix to plots and what makes an image.
PLOTS: dict[str, tuple[dict[str, Plot], Callable[[str, Any], bytes]]] = {
    "htlnet": (_htlnet_plots.PLOTS, _htlnet_plots.png),
    "dtrn": (_dtrn_plots.PLOTS, _dtrn_plots.png),
}
TABLES: dict[str, Callable[[], Table]] = {
    "best": best,
    "quality": quality,
    "step": step,
    "ranking": ranking,
    "question-focusing": focusing.table,
    "question-no-harm": no_harm.table,
    "question-task-kinds": task_kinds.table,
    "question-sparsity": sparsity.table,
    "question-sparsity-history": sparsity.history_table,
    "question-reduction": reduction.table,
    "question-decay": decay.table,
    "uprth-authors": lambda: _uprth_tables.authors(RESULTS),
    "uprth-ours": lambda: _uprth_tables.ours(RESULTS),
    "uprth-ablation": lambda: _uprth_tables.ablation(RESULTS),
    "uprth-shares": lambda: _uprth_tables.shares(RESULTS),
    "uprth-epoch": uprth_epoch,
    "uprth-growth": uprth_growth,
    "uprth-graphs": lambda: _uprth_graphs_report.table(RESULTS),
    "uprth-graphs-stages": lambda: _uprth_graphs_report.stages(RESULTS),
    "uprth-cold": lambda: _uprth_tables.cold(RESULTS),
    "htlnet-heads": lambda: _htlnet_tables.heads(RESULTS),
    "htlnet-auc": lambda: _htlnet_tables.auc(RESULTS),
    "htlnet-rank": lambda: _htlnet_tables.rank(RESULTS),
    "htlnet-ablation": lambda: _htlnet_tables.ablation(RESULTS),
    "htlnet-targets": lambda: _htlnet_tables.targets(RESULTS),
    "htlnet-planted": lambda: _htlnet_world_tables.planted(RESULTS),
    "htlnet-planted-difference": lambda: _htlnet_world_tables.planted_difference(RESULTS),
    "htlnet-census": lambda: _htlnet_world_tables.census(RESULTS),
    "heads": lambda: _htlnet_world_tables.speed(RESULTS),
    "dtrn-planted": lambda: _dtrn_tables.planted(RESULTS),
    "dtrn-planted-difference": lambda: _dtrn_tables.planted_difference(RESULTS),
    "dtrn-relevance-found": lambda: _dtrn_tables.relevance(RESULTS),
    "dtrn-cost": lambda: _dtrn_study_tables.cost(RESULTS),
}
TABLES |= {name: partial(_make_on, make) for name, make in _speed_tables.TABLES.items()}
_OF_DTRN = {
    "real": _dtrn_tables.real,
    "auc": _dtrn_tables.auc,
    "conflicts": _dtrn_study_tables.conflict,
    "similarity": _dtrn_study_tables.similarity,
    "behaviours": _dtrn_study_tables.behaviours,
    "unseen": _dtrn_study_tables.unseen,
}
for _data in DTRN_DATASETS:
    for _kind, _make in _OF_DTRN.items():
        TABLES[f"dtrn-{_kind}-{_data}"] = partial(_make_on, _make, _data)


def _benchmark(name: str) -> Table | Figures:
    """A table, or all figures, of the PMTRec benchmark on a data set, run or not."""
    if name == "uprth-attention":
        shown = {"attention": _uprth_plots.CAPTION} if _uprth_plots.pick(RESULTS) else {}
        return Figures("steam", shown, "uprth")
    prefix, _, plot = name.partition("-")
    if prefix in PLOTS and plot in PLOTS[prefix][0]:
        made = PLOTS[prefix][0][plot]
        shown = {plot: made.caption} if made.pick(RESULTS) else {}
        return Figures(made.data, shown, prefix)
    kinds = sorted([*_tables.TABLES, "figures"], key=len, reverse=True)
    kind = next((kind for kind in kinds if name.startswith(f"pmtrec-{kind}-")), None)
    if kind is None:
        own = [f"{prefix}-{plot}" for prefix, (plots, _) in PLOTS.items() for plot in plots]
        figures = ["uprth-attention", *own]
        known = ", ".join([*TABLES, *figures, *(f"pmtrec-{kind}-DATASET" for kind in kinds)])
        raise InputError(f"no table is called '{name}': the tables are {known}")
    report = Report.load(name.removeprefix(f"pmtrec-{kind}-"), RESULTS)
    if kind != "figures":
        if not report.cells:  # a page of "not run" says no more than one line
            return Table([], [])
        return _tables.TABLES[kind](report)
    plots = [plot for plot, made in _plots.PLOTS.items() if made.pick(report)]
    return Figures(report.dataset, {plot: _plots.PLOTS[plot].caption for plot in plots})


def _image(dataset: str, name: str, folder: str = "pmtrec") -> Path:
    return ROOT / "docs" / "_static" / folder / f"{dataset}-{name}.png"


def _stale_images() -> Iterator[tuple[Path, str, Any]]:
    """Every image that is missing or shows other numbers: its path, kind and what to draw."""
    for path in sorted(RESULTS.glob("pmtrec-*.json")):
        report = Report.load(path.stem.removeprefix("pmtrec-"), RESULTS)
        for name, plot in _plots.PLOTS.items():
            picked, image = plot.pick(report), _image(report.dataset, name)
            if picked and _plots.is_stale(image, name, picked):
                yield image, name, picked
    picked, image = _uprth_plots.pick(RESULTS), _image("steam", "attention", "uprth")
    if picked and _plots.is_stale(image, "attention", picked):
        yield image, "attention", picked
    for prefix, (plots, _) in PLOTS.items():
        for name, made in plots.items():
            picked, image = made.pick(RESULTS), _image(made.data, name, prefix)
            if picked and _plots.is_stale(image, f"{prefix}-{name}", picked):
                yield image, f"{prefix}-{name}", picked


def _draw(name: str, picked: Any) -> bytes:
    if name == "attention":
        return _uprth_plots.png(picked)
    prefix, _, plot = name.partition("-")
    if prefix in PLOTS:
        return PLOTS[prefix][1](plot, picked)
    return _plots.png(name, picked)


def fill(text: str, pattern: re.Pattern[str]) -> str:
    """Returns the text with all of its tables filled."""

    def replace(match: re.Match[str]) -> str:
        opening, name, _, closing = match.groups()
        markdown = pattern is MARKDOWN
        table = TABLES[name]() if name in TABLES else _benchmark(name)
        if isinstance(table, Table) and not table.rows:
            code = "`" if markdown else "``"
            where = f"{code}{RESULTS.relative_to(ROOT)}/{code}"
            return f"{opening}\nNot measured yet: no results under {where}.\n\n{closing}"
        content = f"\n{table.markdown()}\n" if markdown else table.rst()
        return opening + content + closing

    return pattern.sub(replace, text)


def main() -> None:
    """Fills the tables and draws the figures, or checks them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if a table or figure is stale")
    check = parser.parse_args().check
    stale = []
    for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.rst"))]:
        text = path.read_text()
        filled = fill(text, MARKDOWN if path.suffix == ".md" else RST)
        if filled != text:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(filled)
    for path, name, picked in _stale_images():
        stale.append(str(path.relative_to(ROOT)))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_draw(name, picked))
    if check and stale:
        sys.exit(f"stale tables in {', '.join(stale)}: run python -m benchmarks.render")
    print(f"{'filled' if stale else 'up to date'}: {', '.join(stale) or 'all tables'}")


if __name__ == "__main__":
    main()
