"""HTLNet and the other heads on discrete and continuous targets together, on equal terms.

    python -m benchmarks.paper.htlnet --dataset kuairand-slice --root DIR [--census FILE]
    python -m benchmarks.paper.htlnet --dataset planted --smoke

Stage ``kuairand`` (the table of heads and rules, on the data set that was asked for): a cell is a
head and a rule; for each a search over one grid with one budget on the validation set, then several
seeds of starts and batches with what was found, each of which reads the test set once. ``planted``:
heads in worlds whose best predictions are known, one world a seed, with and without information in
the discrete targets, settings from a world that is never tested. ``ablation``, ``maps`` and
``targets`` keep what was found for HTLNet and change one thing, its rule's two parameters (on
validation alone), or what is predicted. ``census``: a table that has nothing to do with
recommendation. Trials and runs are written as they end; a killed run goes on where it stopped.
``report`` puts what is there into benchmarks/results/htlnet-*.json, from which ``python -m
benchmarks.render`` makes tables and figures.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper import _htlnet_cells as cells
from benchmarks.paper._htlnet_cells import (
    ABLATION,
    ALONE,
    ALPHAS,
    GAMMAS,
    HEADS,
    HTLNET,
    PLANTED_ADJUSTED,
    RULES,
    SHARED,
    Cell,
    Change,
    Study,
)
from benchmarks.paper._search import best
from pyg_mtrec._errors import InputError

STAGES = ("kuairand", "planted", "ablation", "maps", "targets", "census", "report")
DATASETS = ("kuairand-slice", "planted")
TABLE_SEEDS, CENSUS_SEEDS, MAP_SEEDS = 5, 3, 2


@dataclass(frozen=True)
class Job:
    """A search, or what another one found with a change, and then some seeds.

    Args:
        study: The log.
        cell: What is trained, before the change.
        folder: Where its files lie.
        seeds: The seeds.
        trials: Trials of the search; 0 takes what was found in ``owner``.
        owner: The folder of another cell's search.
        space: The grid (default: the cell's).
        change: What is different from what was found.
        test: Whether test sets are read.
    """

    study: Study
    cell: Cell
    folder: Path
    seeds: Sequence[int]
    trials: int = 0
    owner: Path | None = None
    space: dict[str, list[Any]] | None = None
    change: Change = field(default_factory=lambda: Change(""))
    test: bool = True


def main() -> None:
    """Runs the stages that were asked for."""
    args = _parse()
    if args.smoke:
        with tempfile.TemporaryDirectory() as folder:
            args.work, args.dataset, args.root = Path(folder) / "work", "planted", None
            args.results = args.results or Path(folder) / "results"
            args.heads, args.rules = ["shared-bottom", "htlnet"], ["sum", "gradient-adjustment"]
            args.seeds, args.trials, args.epochs = [0, 1], 1, 2
            args.impressions = 1000
            _run(args)
        return
    args.results = args.results or Path(__file__).parents[1] / "results"
    _run(args)


def _run(args: argparse.Namespace) -> None:
    deadline = time.time() + 60 * args.minutes
    for wanted in (_first, _second):
        _all(wanted(args), args.jobs, deadline)
    if "report" in args.stages:
        from benchmarks.paper._htlnet_report import report

        for name in report(args):
            print(f"{name} is written: python -m benchmarks.render")


def _first(args: argparse.Namespace) -> list[Job]:
    """Everything that searches for itself."""
    main, work = study_of(args), args.work / args.dataset
    table = [Cell(head, rule) for head in args.heads for rule in args.rules]
    trials = partial(_trials, args)
    found: list[Job] = []
    if "kuairand" in args.stages:
        found += [Job(main, cell, work / str(cell), args.seeds, trials(8)) for cell in table]
    if "planted" in args.stages:
        chosen = [Cell(head, "sum") for head in args.heads]
        chosen += [cell for cell in PLANTED_ADJUSTED if cell.head in args.heads]
        for mode in cells.MODES:
            study = cells.planted(mode, args.impressions, **training(args))
            folder = args.work / "planted" / mode
            found += [
                Job(study, cell, folder / str(cell), args.seeds, trials(6)) for cell in chosen
            ]
    if "targets" in args.stages:
        alone = main.with_settings("watch_time alone", targets=["watch_time"])
        folder, wide = work / "targets" / "alone", trials(8) * cells.WIDE_TRIALS
        found.append(Job(alone, ALONE, folder, args.seeds, wide, space=cells.WIDE_GRID))
    if "census" in args.stages and args.census is not None:
        from benchmarks.paper._htlnet_census import census

        study = census(args.census, args.work / "census", **training(args))
        chosen = [*(Cell(head, "sum") for head in args.heads), HTLNET]
        found += [
            Job(
                study,
                cell,
                args.work / "census" / str(cell),
                args.seeds[:CENSUS_SEEDS],
                trials(8),
            )
            for cell in chosen
        ]
    return found


def _second(args: argparse.Namespace) -> list[Job]:
    """Everything that starts from what the table's searches found."""
    main, work = study_of(args), args.work / args.dataset
    found: list[Job] = []
    if "ablation" in args.stages:
        for name, change in ABLATION.items():
            folder = work / "ablation" / name
            owner = work / str(HTLNET)
            found.append(Job(main, HTLNET, folder, args.seeds, owner=owner, change=change))
    if "maps" in args.stages:
        alphas, gammas = (ALPHAS[::4], GAMMAS[::4]) if args.smoke else (ALPHAS, GAMMAS)
        for alpha in alphas:
            for gamma in gammas:
                change = Change("", {"rule.projection": alpha, "rule.gamma": gamma})
                folder = work / "maps" / f"{alpha:g},{gamma:g}"
                found.append(
                    Job(
                        main,
                        HTLNET,
                        folder,
                        args.seeds[:MAP_SEEDS],
                        owner=work / str(HTLNET),
                        change=change,
                        test=False,
                    )
                )
    if "targets" in args.stages:
        for name, study in cells.target_studies(main, args.dataset).items():
            if name == "3":
                continue  # the table's own
            for cell in (HTLNET, SHARED):
                folder = work / "targets" / name / str(cell)
                found.append(Job(study, cell, folder, args.seeds, owner=work / str(cell)))
    return found


def study_of(args: argparse.Namespace) -> Study:
    """The log of the table."""
    return cells.table_study(args.dataset, args.root, args.impressions, **training(args))


def training(args: argparse.Namespace) -> dict[str, Any]:
    """How long one trains."""
    return {"epochs": args.epochs, "patience": args.patience}


def _trials(args: argparse.Namespace, default: int) -> int:
    return args.trials or default


def _all(jobs: list[Job], workers: int, deadline: float) -> None:
    do: Callable[[Job], str] = partial(_job, deadline=deadline)
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            _say(do(job))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(do, job) for job in jobs]):
            _say(done.result())


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _job(job: Job, deadline: float) -> str:
    """Does one job, in a process of its own if there are several, and says what came out."""
    from benchmarks.paper._htlnet_runs import run_seed, search

    torch.set_num_threads(1)
    name = f"{job.folder.parent.name}/{job.folder.name}"
    try:
        if job.trials > 0:
            space = job.cell.space() if job.space is None else job.space
            params = search(job.study, job.cell, space, job.folder, job.trials, deadline)
        else:
            params = best((job.owner or job.folder) / "search.json")
        if params is None:
            return f"{name}: not run, its search is not complete"
        cell, params = job.change.apply(job.cell, params)
        values = []
        for seed in job.seeds:
            if time.time() < deadline or (job.folder / f"seed{seed}.json").exists():
                run = run_seed(job.study, cell, job.folder, params, seed, job.test)
                values.append(run["test" if job.test else "valid"][run["metric"]])
    except InputError as error:
        return f"{name}: {error}"
    if not values:
        return f"{name}: no seed run, the time is over"
    where = "test" if job.test else "validation"
    return f"{name} {params}: {len(values)} seeds, {where} {sum(values) / len(values):.4f}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", choices=("kuairand-slice", "planted"), default="kuairand-slice"
    )
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--census", type=Path, help="census-income table, as it is published")
    parser.add_argument("--work", type=Path, default=Path("runs/htlnet"), help="trials and runs")
    parser.add_argument("--results", type=Path, help="where the JSON files go")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS), metavar="HEAD")
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), metavar="RULE")
    parser.add_argument("--trials", type=int, help="per cell (default: 8, in planted worlds 6)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(TABLE_SEEDS)))
    parser.add_argument("--epochs", type=int, default=30, help="at most")
    parser.add_argument("--patience", type=int, default=4)
    parser.add_argument("--impressions", type=int, default=60_000, help="of a planted world")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later")
    parser.add_argument("--smoke", action="store_true", help="everything once, in half a minute")
    return parser.parse_args()


if __name__ == "__main__":
    main()
