"""PMTRec's Table 2 and Table 3 with every rule on equal terms, for one data set.

    python -m benchmarks.paper.pmtrec --dataset amazon-office --root DIR
    python -m benchmarks.paper.pmtrec --smoke

For each cell of a table: a search over one grid with one budget on the validation set of split
seed 0, then several split seeds with what was found, each of whose test sets is read once. A cell's
trials and runs are written as they end; a killed run goes on where it stopped. At the end (and with
``--stages report`` at any time) everything that is there becomes
benchmarks/results/pmtrec-DATASET.json, from which ``python -m benchmarks.render`` makes tables and
plots. What the time did not reach is marked "not run".
"""

import argparse
import itertools
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper._cells import (
    ABLATION,
    CONTROL_RULES,
    MORE_RULES,
    OWN,
    PAPER_RULES,
    PRESETS,
    ROW_RULES,
    YARDSTICKS,
    Cell,
    table_2,
    table_3,
)
from benchmarks.paper._runs import (
    arm_of,
    best_params,
    run_seed,
    run_yardstick,
    search,
    search_evaluator,
    split,
    write_json,
)

STAGES = ("yardsticks", "table2", "ablation", "table3", "sensitivity", "cost", "report")
RULES = (*PAPER_RULES, *ROW_RULES, *CONTROL_RULES, *MORE_RULES)
Job = dict[str, Any]


def main() -> None:
    """Runs the stages that were asked for."""
    args = _parse()
    if args.smoke:
        with tempfile.TemporaryDirectory() as folder:
            args.work, args.dataset, args.root = Path(folder), "planted", None
            args.rules, args.encoders = ["sum", "pmtrec", "pcgrad-row"], ["mf", "lightgcn"]
            args.table3_rules, args.seeds = ["pmtrec"], [0, 1]
            args.results = Path(folder) / "results"
            _run(args)
        return
    _run(args)


def _run(args: argparse.Namespace) -> None:
    deadline = time.time() + 60 * args.minutes
    common = {
        "dataset": args.dataset,
        "root": args.root,
        "work": args.work / args.dataset,
        "device": args.device,
        "deadline": deadline,
        "threads": args.threads,
    }
    trials = args.trials or PRESETS[args.dataset].trials
    cells = []
    if "table2" in args.stages:
        cells += table_2(tuple(args.rules))
    if "table3" in args.stages:
        cells += table_3(tuple(args.encoders), tuple(args.table3_rules))
    jobs: list[Job] = []
    if "yardsticks" in args.stages:
        jobs += [
            {**common, "kind": "yardstick", "name": name, "seeds": args.seeds}
            for name in YARDSTICKS
        ]
    jobs += [
        {**common, "kind": "cell", "cell": cell, "seeds": args.seeds, "trials": trials}
        for cell in dict.fromkeys(cells)
    ]
    _all(jobs, args.jobs)
    later: list[Job] = []
    if "ablation" in args.stages:
        later += [
            {**common, "kind": "seeds", "cell": Cell("mf", "all", rule), "seeds": args.seeds}
            for rule in ABLATION
        ]
    if "sensitivity" in args.stages:
        space = OWN["pmtrec"]
        grid = list(itertools.product(space["alpha"][::2], space["tau"]))
        if args.smoke:
            grid = grid[:2]
        later += [
            {**common, "kind": "sensitivity", "points": grid[i :: args.jobs]}
            for i in range(args.jobs)
        ]
    _all(later, args.jobs)
    if "cost" in args.stages:
        from benchmarks.paper._cost import cost

        write_json(
            common["work"] / "cost.json",
            cost(args.dataset, args.root, args.rules, args.device, 2 if args.smoke else 9),
        )
    if "report" in args.stages:
        from benchmarks.paper._assemble import assemble, write_results

        found = assemble(common["work"], args.dataset)
        path = args.results / f"pmtrec-{args.dataset}.json"
        write_results(path, found)
        print(f"{len(found['cells'])} cells in {path.name}: python -m benchmarks.render")


def _all(jobs: list[Job], workers: int) -> None:
    if workers == 1:
        for job in jobs:
            _say(_job(job))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_job, job) for job in jobs]):
            _say(done.result())


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def _job(job: Job) -> str:
    """Does one job, in a process of its own if there are several, and says what came out."""
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    dataset, root, work = job["dataset"], job["root"], job["work"]
    if job["kind"] == "yardstick":
        found = [
            run_yardstick(job["name"], dataset, root, work / job["name"], seed)
            for seed in job["seeds"]
        ]
        return _summary(job["name"], found)
    if job["kind"] == "sensitivity":
        return _sensitivity(job)
    cell, folder = job["cell"], work / str(job["cell"])
    if job["kind"] == "cell" and best_params(cell, folder) is None:
        if time.time() > job["deadline"]:
            return f"{cell}: not run, the time is over"
        if (
            search(cell, dataset, root, folder, job["trials"], job["device"], job["deadline"])
            is None
        ):
            return f"{cell}: not finished, the time is over"
    params = best_params(cell, folder)
    if params is None:
        return f"{cell}: not run, its search is not complete"
    found = []
    for seed in job["seeds"]:
        if time.time() < job["deadline"] or (folder / f"seed{seed}.json").exists():
            found.append(run_seed(cell, dataset, root, folder, params, seed, job["device"]))
    return _summary(f"{cell} {params}", found)


def _sensitivity(job: Job) -> str:
    """Validation of PMTRec over alpha and tau, all else as its search found it."""
    cell = Cell("mf", "all", "pmtrec")
    params = best_params(cell, job["work"] / str(cell))
    if params is None:
        return "sensitivity: not run, PMTRec's search is not complete"
    data = split(job["dataset"], job["root"], 0)
    for alpha, tau in job["points"]:
        path = job["work"] / "sensitivity" / f"{alpha},{tau:g}.json"
        if path.exists() or time.time() > job["deadline"]:
            continue
        settings = cell.settings(
            job["dataset"], job["root"], {**params, "alpha": alpha, "tau": tau}
        )
        trainer = arm_of(settings, data, job["device"]).trainer(
            search_evaluator(settings, data), progress=False
        )
        trainer.fit()
        write_json(
            path,
            {
                "alpha": alpha,
                "tau": tau,
                "value": trainer.stopping.best_value,
                "epoch": trainer.stopping.best_epoch,
                "params": params,
            },
        )
    return "sensitivity: done"


def _summary(name: str, found: list[dict[str, Any]]) -> str:
    if not found:
        return f"{name}: no seed run, the time is over"
    means = [sum(run["test"][m] for run in found) / len(found) for m in ("recall@20", "ndcg@20")]
    return f"{name}: {len(found)} seeds, R@20 {means[0]:.4f} N@20 {means[1]:.4f}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=sorted(PRESETS), default="amazon-office")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/pmtrec"), help="trials and runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parents[1] / "results")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES), metavar="RULE")
    parser.add_argument("--encoders", nargs="+", default=["mf", "lightgcn", "ngcf"])
    parser.add_argument("--table3-rules", nargs="+", default=["pmtrec", "sum", "rlw"])
    parser.add_argument("--trials", type=int, help="per rule (default: the data set's)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing later")
    parser.add_argument("--smoke", action="store_true", help="everything once, in a minute or so")
    return parser.parse_args()


if __name__ == "__main__":
    main()
