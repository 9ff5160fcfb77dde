"""DTRN below other heads: what task-specific bottoms gain, on equal terms.

    python -m benchmarks.paper.dtrn --dataset kuairand-slice --root DIR
    python -m benchmarks.paper.dtrn --dataset retailrocket --root DIR
    python -m benchmarks.paper.dtrn --smoke

Every head stands bare (it sees no behaviour), on one plain Transformer that gives all targets the
same interests (it sees them, but nothing is task-specific), and on DTRN, whole and without TIM or
TRM: what DTRN gains over the plain Transformer is not what it gains by seeing behaviours. Stage
``planted``: worlds whose best predictions are known, one a seed, in which targets want different
behaviours, and a control in which they want the same; settings come from a world that is never
tested. ``relevance``: what every target loses there without a behaviour. ``real``: the tables on a
data set; every cell has one grid and one budget on validation of one seed, then several seeds, each
of which reads the test set once. ``conflict``, ``representations``, ``behaviours`` and ``unseen``
keep what ``real`` found. Trials and runs are written as they end; a killed run goes on where it
stopped. ``report`` puts what is there into benchmarks/results/dtrn-*.json, from which ``python -m
benchmarks.render`` makes tables and figures.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper import _dtrn_cells as cells
from benchmarks.paper._dtrn_cells import ARMS, GRID, HEADS, MODES, PLANTED_GRID, Cell
from benchmarks.paper._htlnet_cells import Params, Study
from benchmarks.paper._search import best
from pyg_mtrec._errors import InputError

STAGES = (
    "planted",
    "relevance",
    "real",
    "conflict",
    "representations",
    "behaviours",
    "unseen",
    "report",
)
DATASETS = ("kuairand-slice", "retailrocket", "planted")
PLANTED_HEADS = ("shared-bottom", "mmoe")
TRIALS = 6
PATIENCE = {"planted": 6, "real": 3}  # planted worlds are learned after some epochs of nothing
CONFLICT_SEEDS, UNSEEN_SEEDS = 3, 3


def main() -> None:
    """Runs the stages that were asked for."""
    args = _parse()
    torch.set_num_threads(1)
    if not args.smoke:
        args.results = args.results or Path(__file__).parents[1] / "results"
        _run(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        args.work, args.dataset, args.root = Path(folder) / "work", "planted", None
        args.results = args.results or Path(folder) / "results"
        args.heads, args.seeds, args.trials = ["shared-bottom", "ple"], [0, 1], 1
        args.epochs, args.impressions = 1, 1000
        _run(args)


def _run(args: argparse.Namespace) -> None:
    deadline = time.time() + 60 * args.minutes
    for stage in STAGES[:-1]:
        if stage in args.stages:
            for name, work in _WORK[stage](args, deadline):
                if time.time() > deadline:
                    _say(f"{stage} {name}: not run, the time is over")
                    continue
                began = time.time()
                try:
                    said = work()
                except InputError as error:
                    said = str(error)
                _say(f"{stage} {name}: {said} ({time.time() - began:.0f} s)")
    if "report" in args.stages:
        from benchmarks.paper._dtrn_report import report

        for name in report(args):
            _say(f"{name} is written: python -m benchmarks.render")


Work = Iterator[tuple[str, Callable[[], str]]]


def _planted(args: argparse.Namespace, deadline: float) -> Work:
    """Searches in the set; the control takes the same settings, which no arm was favoured by."""
    chosen = _planted_cells(args)
    for cell in chosen:
        folder, study = args.work / "planted" / MODES[0] / str(cell), _world(args, MODES[0])
        trials = args.trials or TRIALS
        yield (
            f"search {cell}",
            partial(_search, study, cell, folder, PLANTED_GRID, trials, deadline),
        )
    for seed in args.seeds:
        for mode in MODES:
            for cell in chosen:
                folder = args.work / "planted" / mode / str(cell)
                owner = args.work / "planted" / MODES[0] / str(cell)
                study = _world(args, mode)
                yield f"{mode} {cell} {seed}", partial(_seed, study, cell, folder, owner, seed)


def _relevance(args: argparse.Namespace, deadline: float) -> Work:
    from benchmarks.paper._dtrn_relevance import inspect

    for seed in args.seeds:
        for mode in MODES:
            for cell in _planted_cells(args):
                if cell.arm != "bare":
                    folder = args.work / "planted" / mode / str(cell)
                    owner = args.work / "planted" / MODES[0] / str(cell)
                    run = partial(inspect, _world(args, mode), cell, folder, seed=seed)
                    yield f"{mode} {cell} {seed}", partial(_with_best, owner, run)


def _real(args: argparse.Namespace, deadline: float) -> Work:
    from benchmarks.paper._dtrn_baselines import item_rate

    study, work = real_study(args), args.work / args.dataset
    yield "item rate", partial(item_rate, study, work / "item-rate.json")
    chosen = [Cell(head, arm) for head in args.heads for arm in args.arms]
    trials = args.trials or TRIALS
    for cell in chosen:
        folder = work / str(cell)
        yield f"search {cell}", partial(_search, study, cell, folder, GRID, trials, deadline)
    for seed in args.seeds:  # on the outside: what the time allows is the same for all cells
        for cell in chosen:
            folder = work / str(cell)
            yield f"{cell} {seed}", partial(_seed, study, cell, folder, folder, seed)


def _conflict(args: argparse.Namespace, deadline: float) -> Work:
    from benchmarks.paper._dtrn_conflict import ARMS_MEASURED, measure

    study, work = real_study(args), args.work / args.dataset
    for seed in args.seeds[:CONFLICT_SEEDS]:
        for head in args.heads:
            for arm in ARMS_MEASURED:
                cell = Cell(head, arm)
                path = work / "conflict" / str(cell) / f"seed{seed}.json"
                run = partial(measure, study, cell, path, seed=seed)
                yield f"{cell} {seed}", partial(_with_best, work / str(cell), run)


def _representations(args: argparse.Namespace, deadline: float) -> Work:
    from benchmarks.paper._dtrn_similarity import CELLS, similarity

    study, work = real_study(args), args.work / args.dataset
    for seed in args.seeds:
        params = {cell: best(work / str(cell) / "search.json") for cell in CELLS}
        path = work / "representations" / f"seed{seed}.json"
        draw = seed == args.seeds[0]
        yield f"seed {seed}", partial(similarity, study, work, path, params, seed, draw)


def _behaviours(args: argparse.Namespace, deadline: float) -> Work:
    study, work = real_study(args), args.work / args.dataset
    for seed in args.seeds:
        for arm in ("plain", "dtrn"):
            cell = Cell(args.heads[0], arm)
            for name, chosen in subsets(study).items():
                folder = work / "behaviours" / name / str(cell)
                run = partial(_seed, study, cell, folder, work / str(cell), seed, chosen)
                yield f"{name} {cell} {seed}", run


def _unseen(args: argparse.Namespace, deadline: float) -> Work:
    from benchmarks.paper._dtrn_unseen import VARIANTS, learn

    study, work = real_study(args), args.work / args.dataset
    for seed in args.seeds[:UNSEEN_SEEDS]:
        for held in targets_of(study):
            for variant in VARIANTS:
                cell = Cell("shared-bottom", variant.partition("-")[0])
                path = work / "unseen" / held / variant / f"seed{seed}.json"
                run = partial(learn, study, cell, path, seed=seed, held=held, variant=variant)
                yield f"{held} {variant} {seed}", partial(_with_best, work / str(cell), run)


_WORK: dict[str, Callable[[argparse.Namespace, float], Work]] = {
    "planted": _planted,
    "relevance": _relevance,
    "real": _real,
    "conflict": _conflict,
    "representations": _representations,
    "behaviours": _behaviours,
    "unseen": _unseen,
}


def real_study(args: argparse.Namespace) -> Study:
    """The log of the tables."""
    return cells.study_of(args.dataset, args.root, args.impressions, **_training(args, "real"))


def targets_of(study: Study) -> list[str]:
    """The targets of a log."""
    return study.settings.get("targets") or ["cart", "buy"]


def subsets(study: Study) -> dict[str, list[str]]:
    """Behaviours by themselves, and all but one."""
    names = study.settings.get("behaviours") or ["views", "carts", "buys"]
    found = {f"only-{name}": [name] for name in names}
    return found | {f"no-{name}": [other for other in names if other != name] for name in names}


def _world(args: argparse.Namespace, mode: str) -> Study:
    return cells.planted(mode, args.impressions, **_training(args, "planted"))


def _training(args: argparse.Namespace, stage: str) -> dict[str, Any]:
    return {"epochs": args.epochs, "patience": args.patience or PATIENCE[stage]}


def _planted_cells(args: argparse.Namespace) -> list[Cell]:
    heads = [head for head in args.heads if head in PLANTED_HEADS]
    return [Cell(head, arm) for head in heads for arm in args.arms]


def _search(
    study: Study,
    cell: Cell,
    folder: Path,
    space: dict[str, list[Any]],
    trials: int,
    deadline: float,
) -> str:
    from benchmarks.paper._dtrn_runs import search

    found = search(study, cell, space, folder, trials, deadline)
    return "not complete, the time is over" if found is None else str(found)


def _seed(
    study: Study,
    cell: Cell,
    folder: Path,
    owner: Path,
    seed: int,
    behaviours: list[str] | None = None,
) -> str:
    from benchmarks.paper._dtrn_runs import METRIC, run_seed

    params = best(owner / "search.json")
    if params is None:
        return "not run, its search is not complete"
    run = run_seed(study, cell, folder, params, seed, behaviours)
    return f"{METRIC} {run['test'][METRIC]:.4f} after {run['epochs']} epochs"


def _with_best(owner: Path, run: Callable[..., str]) -> str:
    """Runs what needs the parameters of a search, and as a rule its finished seed."""
    params: Params | None = best(owner / "search.json")
    return "not run, its search is not complete" if params is None else run(params=params)


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/dtrn"), help="trials and runs")
    parser.add_argument("--results", type=Path, help="where the JSON files go")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS), metavar="HEAD")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM")
    parser.add_argument("--trials", type=int, help="of every cell (default: 6)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--epochs", type=int, default=25, help="at most")
    parser.add_argument("--patience", type=int, help="default: 3, in planted worlds 6")
    parser.add_argument("--impressions", type=int, default=60_000, help="of a planted world")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later")
    parser.add_argument("--smoke", action="store_true", help="everything once, in half a minute")
    return parser.parse_args()


if __name__ == "__main__":
    main()
