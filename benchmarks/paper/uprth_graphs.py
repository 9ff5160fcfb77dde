"""Does pretraining on task hypergraphs help on graphs with co-occurrence: Epinions, Video Games?

    python -m benchmarks.paper.uprth_graphs --dataset epinions --root DIR
    python -m benchmarks.paper.uprth_graphs --dataset amazon-video-games-2014 --root DIR
    python -m benchmarks.paper.uprth_graphs --smoke

Beside popularity and EASE stand LightGCN, LightGCN trained on BPR and on the same relations as
tasks by their sum, and LightGCN that goes on from tables which UPRTH has pretrained on the task
hypergraphs of these relations, under two rules; also UPRTH finetuned by its own convolution. Stage
``search`` gives every trained arm as many trials on the validation part of split seed 0, ``runs``
trains it on every split seed, whose validation selects the epoch and whose test part is read once.
Each trial and run is written as it ends, and the same command goes on where a killed one stopped.
Stage ``report`` puts what is there into benchmarks/results/uprth-DATASET.json.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper._assemble import write_results
from benchmarks.paper._runs import (
    SELECT,
    run_seed,
    run_yardstick,
    search,
    search_evaluator,
    split,
)
from benchmarks.paper._search import best, tune
from benchmarks.paper._uprth_graphs_arms import ARMS, PRESETS, Build, GraphArm, with_hypergraphs
from benchmarks.paper._uprth_graphs_report import report
from benchmarks.paper._uprth_trials import say
from pyg_mtrec.baselines import EASE
from pyg_mtrec.training import Settings

STAGES = ("yardsticks", "search", "runs", "report")
DATASETS = [name for name in PRESETS if name != "planted"]


def main() -> None:
    """Runs the stages that were asked for."""
    args = _parse()
    torch.set_num_threads(args.threads)
    if args.smoke:
        args.dataset, args.root, args.seeds = "planted", None, [0, 1]
    with tempfile.TemporaryDirectory() as temporary:
        if args.smoke:
            args.work = args.work or Path(temporary)
            args.results = args.work / "results"
        args.work = args.work or Path("runs/uprth-graphs")
        _run(args)


def _run(args: argparse.Namespace) -> None:
    work, deadline = args.work / args.dataset, time.time() + 60 * args.minutes
    build = Build()
    if "yardsticks" in args.stages:
        _yardsticks(args, work, deadline)
    if "search" in args.stages:
        for name in args.arms:
            _say_best(name, _search(args, work, ARMS[name], build, deadline))
    if "runs" in args.stages:
        # Seeds on the outside: what the time allows is then the same for all arms.
        for seed in args.seeds:
            for name in args.arms:
                _seed(args, work, ARMS[name], build, seed, deadline)
    if "report" in args.stages:
        provenance = split(args.dataset, args.root, args.seeds[0]).provenance
        path = args.results / f"uprth-{args.dataset}.json"
        write_results(path, report(work, args.dataset, provenance))
        say(f"{path.name} is written: python -m benchmarks.render")


def _yardsticks(args: argparse.Namespace, work: Path, deadline: float) -> None:
    """Popularity and EASE, whose ridge is chosen where everything else is."""
    dataset, root = args.dataset, args.root
    for seed in args.seeds:
        _say_run(run_yardstick("popularity", dataset, root, work / "popularity", seed))
    ridge = _ridge(args, work / "ease", deadline)
    for seed in args.seeds:
        if ridge is None or _late(work / "ease", seed, deadline):
            say(f"ease seed {seed}: not run, the time is over")
        else:
            _say_run(run_yardstick("ease", dataset, root, work / "ease", seed, [ridge]))


def _ridge(args: argparse.Namespace, folder: Path, deadline: float) -> float | None:
    """The ridge that ranks best on validation of seed 0, None if the time is over before that."""
    preset = PRESETS[args.dataset]
    settings = Settings(dataset=args.dataset, valid_users=preset.valid_users)

    def trial(params: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
        data, began = split(args.dataset, args.root, 0), time.perf_counter()
        value = search_evaluator(settings, data)(EASE(data.train, **params)).metrics[SELECT]
        say(f"ease, ridge {params['l2']:g}: {SELECT} {value:.4f} on validation")
        seconds = round(time.perf_counter() - began, 1)
        return {"params": params, "value": value, "pruned": False, "seconds": seconds}

    space = {"l2": list(preset.ease_l2)}
    found = tune(folder / "search.json", "ease", space, len(preset.ease_l2), trial, deadline)
    return None if found is None else float(found["l2"])


def _search(
    args: argparse.Namespace, work: Path, arm: GraphArm, build: Build, deadline: float
) -> dict[str, Any] | None:
    preset = PRESETS[args.dataset]
    return search(
        arm,
        args.dataset,
        args.root,
        work / arm.name,
        args.trials or preset.trials,
        deadline=deadline,
        change=with_hypergraphs if arm.rule is not None else None,
        build=build,
        rungs=preset.rungs,
    )


def _seed(
    args: argparse.Namespace, work: Path, arm: GraphArm, build: Build, seed: int, deadline: float
) -> None:
    folder = work / arm.name
    if _late(folder, seed, deadline):
        say(f"{arm} seed {seed}: not run, the time is over")
        return
    params = best(folder / "search.json")
    if params is None:
        say(f"{arm}: not run, its search is not complete")
        return
    change = with_hypergraphs if arm.rule is not None else None
    run = run_seed(arm, args.dataset, args.root, folder, params, seed, change=change, build=build)
    _say_run(run)


def _late(folder: Path, seed: int, deadline: float) -> bool:
    return time.time() > deadline and not (folder / f"seed{seed}.json").exists()


def _say_run(run: dict[str, Any]) -> None:
    values = " ".join(f"{name} {run['test'][name]:.4f}" for name in ("recall@20", "ndcg@20"))
    say(f"{run['cell']} seed {run['seed']}: {values} ({run['seconds']:.0f} s)")


def _say_best(name: str, params: dict[str, Any] | None) -> None:
    say(f"{name}: {'not finished, the time is over' if params is None else params}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--work", type=Path, help="trials and runs (default: runs/uprth-graphs)")
    parser.add_argument("--results", type=Path, default=Path(__file__).parents[1] / "results")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--trials", type=int, help="of every trained arm (default: the data set's)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later")
    parser.add_argument("--smoke", action="store_true", help="all of it on 'planted', in seconds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
