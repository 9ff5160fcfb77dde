"""What the scripts share: the command line, the runs in their order, and the committed file."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean

from benchmarks.paper._assemble import write_results
from benchmarks.paper._tables import Table
from benchmarks.paper.questions._report import Found, Runs, assemble
from benchmarks.paper.questions._rows import DATA, Reference, Row, Setup
from benchmarks.paper.questions._table import RESULTS
from benchmarks.paper.questions._train import Job
from pyg_mtrec._errors import InputError

Build = Callable[[Setup], list[Row]]
MakeTable = Callable[[Path], Table]
DRAWS = 10_000


def main(
    name: str,
    question: str,
    build: Build,
    *tables: MakeTable,
    argv: Sequence[str] | None = None,
    draw: Callable[[Found], bytes] | None = None,
) -> None:
    """Asks a question from the command line.

    Args:
        name: The script's name.
        question: What is asked, in a sentence.
        build: Makes the rows of a data set.
        *tables: Render the answers that lie in a folder.
        argv: The arguments (default: those of the process).
        draw: Makes an image of an answer, which is kept beside the runs.
    """
    args = _parse(name, question, argv)
    if args.smoke:
        args.dataset, args.root, args.seeds, args.sweep_seeds = "planted", None, [0], [0]
    with tempfile.TemporaryDirectory() as temporary:
        if args.smoke and args.work is None:
            args.work = Path(temporary)
        if args.smoke:
            args.results = args.work / "results"
        setup = Setup(
            args.dataset,
            args.root,
            (args.work or Path("runs/pmtrec")) / args.dataset,
            args.smoke,
            tuple(args.weight_decays),
            tuple(args.sweep_seeds or args.seeds[:1]),
            args.device,
        )
        content = answer(
            name, question, build(setup), setup, args.seeds, args.jobs, args.minutes, args.threads
        )
        path = args.results / f"question-{name}-{args.dataset}.json"
        write_results(path, content)
        if draw is not None:
            (setup.work / "questions" / name / "plot.png").write_bytes(draw(content))
        for table in tables:
            print(table(args.results).markdown())
        print(f"{path.name}: {sum(bool(row['seeds']) for row in content['rows'])} rows were run")


def answer(
    name: str,
    question: str,
    rows: list[Row],
    setup: Setup,
    seeds: Sequence[int],
    jobs: int = 1,
    minutes: float = float("inf"),
    threads: int = 1,
) -> Found:
    """Does what is missing of a question's runs and returns what there is.

    Args:
        name: The question's name.
        question: What is asked.
        rows: The rows of the table.
        setup: The data set.
        seeds: Split seeds.
        jobs: Processes.
        minutes: Nothing is begun later.
        threads: Of each process.
    """
    _check(rows)
    folder, deadline = setup.work / "questions" / name, time.time() + 60 * minutes

    def job(row: Row, seed: int, trial: bool = False) -> Job:
        return Job(row, setup, folder, seed, trial, deadline, threads)

    trials = {
        row.key: {
            decay: [job(row.at(decay), seed, trial=True) for seed in setup.sweep_seeds]
            for decay in row.weight_decays
        }
        for row in rows
        if row.weight_decays
    }
    # Seeds on the outside: what the time allows is then the same for all rows.
    _all(
        [
            job
            for place in range(len(setup.sweep_seeds))
            for found in trials.values()
            for tried in found.values()
            for job in tried[place : place + 1]
        ],
        jobs,
    )
    sweeps = {key: _sweep(found) for key, found in trials.items()}
    chosen = [_choose(row, sweeps) for row in rows]
    runs = {
        row.key: {seed: job(row, seed) for seed in seeds}
        for row in chosen
        if row.weight_decays == ()
    }
    _all([by_seed[seed] for seed in seeds for by_seed in runs.values()], jobs)
    draws = 200 if setup.smoke else DRAWS
    return assemble(question, setup.dataset, Runs(chosen, runs), sweeps, draws)


def _check(rows: Iterable[Row]) -> None:
    keys: set[Reference] = set()
    folders = set()
    for row in rows:
        if row.key in keys or row.folder in folders:
            raise InputError(f"the row {row.key} is there twice")
        keys.add(row.key)
        folders.add(row.folder)
    for row in rows:
        for label, other in row.against.items():
            if other not in keys:
                raise InputError(f"{row.key} is held against {label} {other}, which is no row")


def _sweep(found: dict[float, list[Job]]) -> list[Found]:
    """Validation over weight decay; a training that failed counts as zero."""
    sweep = []
    for decay, jobs in found.items():
        done = {job.seed: job.done() for job in jobs}
        values = {
            str(seed): run["selection"]["value"] if "selection" in run else 0.0
            for seed, run in done.items()
            if run
        }
        if len(values) == len(jobs):
            sweep.append({"weight_decay": decay, "valid": mean(values.values()), "seeds": values})
    return sweep


def _choose(row: Row, sweeps: dict[Reference, list[Found]]) -> Row:
    """The row with its best weight decay; one whose trials are not complete stays as it is."""
    sweep = sweeps.get(row.key, [])
    if not row.weight_decays or len(sweep) < len(row.weight_decays):
        return row
    best = max(sweep, key=lambda entry: entry["valid"])["weight_decay"]
    parameters = f"{row.parameters}, weight decay by a sweep"
    return replace(row.at(best), weight_decays=(), parameters=parameters)


def _all(jobs: list[Job], workers: int) -> None:
    if workers == 1:
        for job in jobs:
            _say(job())
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(job) for job in jobs]):
            _say(done.result())


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _parse(name: str, question: str, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.paper.questions.{name}", description=question
    )
    parser.add_argument("--dataset", choices=sorted(DATA), default="amazon-office")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--work", type=Path, help="searches and runs (default: runs/pmtrec)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--weight-decays",
        type=float,
        nargs="+",
        default=[],
        metavar="X",
        help="choose each row's among these, on validation (default: what the searches found)",
    )
    parser.add_argument(
        "--sweep-seeds", type=int, nargs="+", help="seeds to choose on (default: the first)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later")
    parser.add_argument("--smoke", action="store_true", help="everything once, in seconds")
    return parser.parse_args(argv)
