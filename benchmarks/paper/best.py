"""Searches the whole library for the best ranking of a data set, and holds it against EASE.

    python -m benchmarks.paper.best --dataset amazon-office --root DIR

Encoder, width, tasks with their arguments and weights, rule, learning rate and weight decay are
searched together (optuna's TPE) on validation of split seed 0: the mean of Recall@20 and NDCG@20,
each divided by that of EASE with its best ridge. The one configuration that wins is then trained on
every split seed, and each test set is read once. Trials and runs are written as they end; a killed
search goes on where it stopped. The result is benchmarks/results/NAME-best.json.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper._assemble import compare
from benchmarks.paper._cells import PRESETS, Cell
from benchmarks.paper._runs import (
    Pruned,
    arm_of,
    read_json,
    run_seed,
    run_yardstick,
    split,
    write_json,
)
from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import RankingEvaluator
from pyg_mtrec.training import Settings
from pyg_mtrec.training._yardsticks import yardstick

METRICS = ("recall@20", "ndcg@20")
NAMES = {"amazon-office": "office", "epinions": "epinions"}
# Tasks that are searched together, the main one first.
MIXTURES = {
    "amazon-office": [
        "bpr",
        "bpr+alignment-uniformity",
        "sampled-softmax",
        "sampled-softmax+alignment-uniformity",
    ],
    "epinions": [
        "bpr+alignment-uniformity",
        "alignment-uniformity",
        "alignment-uniformity+social",
        "sampled-softmax",
        "sampled-softmax+social",
        "sampled-softmax+social+same-category",
    ],
}
RUNGS = {10: 0.6, 30: 0.85}
RATES = {
    "amazon-office": [0.001, 0.002, 0.005, 0.01],
    "epinions": [0.005, 0.01, 0.02, 0.05, 0.1],
}
# A propagation through a large graph costs as much as many thousand pairs, so a step takes many.
BATCHES = {"epinions": [8192, 32768, 131072]}


def settings_of(dataset: str, root: str | None, params: dict[str, Any], epochs: int) -> Settings:
    """The run of a trial's parameters."""
    tasks = params["tasks"].split("+")
    options = []
    if "alignment-uniformity" in tasks:
        options.append(f"alignment-uniformity.gamma={params['gamma']}")
    if "sampled-softmax" in tasks:
        options += [
            f"sampled-softmax.temperature={params['temperature']}",
            f"sampled-softmax.num_negatives={params['num_negatives']}",
        ]
    balancer, rule = params.get("balancer", "sum"), []
    if balancer == "constant":
        others = [params["auxiliary_weight"]] * (len(tasks) - 1)
        rule = ["weights=" + ",".join(str(weight) for weight in [1.0, *others]) + ","]
    return Settings(
        dataset=dataset,
        root=root,
        encoder=params["encoder"],
        layers=params.get("layers", 3),
        dim=params["dim"],
        tasks=tasks,
        task_options=options,
        balancer=balancer,
        balancer_options=rule,
        alpha=params.get("alpha", 1.0),
        tau=params.get("tau", 1e-3),
        lr=params["lr"],
        weight_decay=params["weight_decay"],
        batch_size=params.get("batch_size", 2048),
        epochs=epochs,
        patience=PRESETS[dataset].patience,
        valid_users=PRESETS[dataset].valid_users,
        threads=1,
    )


def suggest(trial: Any, dataset: str, encoders: list[str], dims: list[int]) -> dict[str, Any]:
    """Draws one configuration."""
    params: dict[str, Any] = {
        "encoder": trial.suggest_categorical("encoder", encoders),
        "dim": trial.suggest_categorical("dim", dims),
        "tasks": trial.suggest_categorical("tasks", MIXTURES[dataset]),
        "lr": trial.suggest_categorical("lr", RATES[dataset]),
        "weight_decay": trial.suggest_float("weight_decay", 1e-7, 3e-4, log=True),
    }
    if dataset in BATCHES:
        params["batch_size"] = trial.suggest_categorical("batch_size", BATCHES[dataset])
    if params["encoder"] != "mf":
        params["layers"] = trial.suggest_int("layers", 1, 3)
    tasks = params["tasks"].split("+")
    if "alignment-uniformity" in tasks:
        params["gamma"] = trial.suggest_float("gamma", 0.1, 3.0, log=True)
    if "sampled-softmax" in tasks:
        params["temperature"] = trial.suggest_float("temperature", 0.1, 0.8, log=True)
        params["num_negatives"] = trial.suggest_categorical("num_negatives", [256, 1024])
    if len(tasks) > 1:
        params["balancer"] = trial.suggest_categorical("balancer", ["constant", "pmtrec"])
        if params["balancer"] == "constant":
            params["auxiliary_weight"] = trial.suggest_float("auxiliary_weight", 0.03, 3, log=True)
        else:
            params["alpha"] = trial.suggest_categorical("alpha", [1.0, 1.02, 1.06, 1.1])
            params["tau"] = trial.suggest_float("tau", 1e-5, 1.0, log=True)
    return params


def search(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Goes on with the search; trials of several processes meet in one journal file."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    )
    study = optuna.create_study(
        study_name=args.dataset,
        storage=storage,
        load_if_exists=True,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(
            seed=args.worker, n_startup_trials=20, multivariate=True, group=True, constant_liar=True
        ),
    )
    data = split(args.dataset, args.root, 0)
    preset = PRESETS[args.dataset]
    evaluate = RankingEvaluator(
        data.val, k=(20,), metrics=("recall", "ndcg"), max_users=preset.valid_users
    )
    bar = _bar(args, folder, data, evaluate)
    ended = time.time() + 60 * args.minutes

    def objective(trial: Any) -> float:
        params = suggest(trial, args.dataset, args.encoders, args.dims)
        settings = settings_of(args.dataset, args.root, params, args.epochs)
        trial.set_user_attr("params", params)
        found = {"value": 0.0, "epoch": 0}

        def watch(row: dict[str, float]) -> None:
            value = row["valid/score"]
            if value > found["value"]:
                found.update(value=value, epoch=int(row["epoch"]))
            epoch = int(row["epoch"])
            if epoch in RUNGS:
                trial.set_user_attr(f"rung{epoch}", found["value"])
                best = [t.user_attrs.get(f"rung{epoch}", 0.0) for t in study.trials]
                if found["value"] < RUNGS[epoch] * max(best):
                    raise Pruned

        arm = arm_of(settings, data, args.device)
        trainer = arm.trainer(evaluate, loggers=[watch], progress=False)
        trainer.select = "score"

        def score() -> dict[str, float]:
            metrics = evaluate(arm.scorer()).metrics
            return {**metrics, "score": sum(metrics[m] / bar[m] for m in METRICS) / len(METRICS)}

        trainer.evaluate = score
        began = time.perf_counter()
        try:
            trainer.fit()
        except Pruned:
            pass
        except InputError as error:
            if "became" not in str(error):
                raise
        trial.set_user_attr("epoch", found["epoch"])
        trial.set_user_attr("seconds", round(time.perf_counter() - began, 1))
        return found["value"]

    while time.time() < ended and len(study.get_trials(deepcopy=False)) < args.trials:
        study.optimize(objective, n_trials=1)
        best = study.best_trial
        print(
            f"{time.strftime('%H:%M:%S')} {len(study.trials)} trials, best {best.value:.4f}"
            f" {best.user_attrs['params']} epoch {best.user_attrs['epoch']}",
            flush=True,
        )
    best = study.best_trial
    return {
        "params": best.user_attrs["params"],
        "value": best.value,
        "epoch": best.user_attrs["epoch"],
        "trials": len(study.trials),
        "seconds": sum(t.user_attrs.get("seconds", 0.0) for t in study.trials),
        "ease_valid": bar,
    }


def _bar(
    args: argparse.Namespace, folder: Path, data: Any, evaluate: RankingEvaluator
) -> dict[str, float]:
    """EASE on the same validation users, with its best ridge."""
    path = folder / "ease-valid.json"
    if not path.exists():
        settings = Settings(
            dataset=args.dataset, root=args.root, ease_l2=list(PRESETS[args.dataset].ease_l2)
        )
        scorer, chosen = yardstick("ease", settings, data, evaluate)
        write_json(path, {**evaluate(scorer).metrics, **chosen})
    found = read_json(path)
    return {metric: found[metric] for metric in METRICS}


def report(args: argparse.Namespace, folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Trains the winner on every split seed and compares it with EASE, user by user."""
    params = found["params"]
    settings = settings_of(args.dataset, args.root, params, args.epochs)
    cell = Cell(params["encoder"], "best", settings.balancer)
    ours = [
        run_seed(
            cell,
            args.dataset,
            args.root,
            folder / "best",
            params,
            seed,
            args.device,
            settings=settings,
        )
        for seed in args.seeds
    ]
    ease = [
        run_yardstick("ease", args.dataset, args.root, folder / "ease", seed) for seed in args.seeds
    ]
    table: dict[str, Any] = {}
    for metric in METRICS:
        means = [sum(run["test"][metric] for run in runs) / len(runs) for runs in (ours, ease)]
        table[metric] = {
            "best": means[0],
            "ease": means[1],
            "gain": means[0] / means[1] - 1,
            "gain_per_seed": [
                a["test"][metric] / b["test"][metric] - 1 for a, b in zip(ours, ease, strict=True)
            ],
            "paired": compare(folder, "best", "ease", args.seeds, metric),
        }
    return {
        "dataset": args.dataset,
        "search": found,
        "settings": ours[0]["settings"],
        "seeds": {
            str(run["seed"]): {"test": run["test"], "epoch": run["selection"]["epoch"]}
            for run in ours
        },
        "ease": {str(run["seed"]): {"test": run["test"], "params": run["params"]} for run in ease},
        "table": table,
    }


def main() -> None:
    """Searches, then reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", choices=sorted(MIXTURES), default="amazon-office")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--work", type=Path, default=Path("runs/best"), help="trials and runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parents[1] / "results")
    parser.add_argument("--encoders", nargs="+", default=["mf", "lightgcn"])
    parser.add_argument("--dims", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--worker", type=int, default=0, help="seed of this process's draws")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial later")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = args.work / args.dataset
    found = search(args, folder)
    if args.seeds:
        path = args.results / f"{NAMES[args.dataset]}-best.json"
        write_json(path, report(args, folder, found))
        print(f"{path.name} is written")


if __name__ == "__main__":
    main()
