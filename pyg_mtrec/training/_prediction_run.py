"""A run with a head: load, split, train, evaluate, and write the run directory."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pyg_mtrec.baselines import Constant
from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.metrics import PredictionEvaluator, PredictionResult, reliability_curve
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training import _keep as keep
from pyg_mtrec.training._data import MAIN
from pyg_mtrec.training._impressions import ImpressionData, load_impressions
from pyg_mtrec.training._predictor_arm import PredictorArm, select_metric
from pyg_mtrec.training._report import Clock, versions
from pyg_mtrec.training._tuned import ARM_SETTINGS
from pyg_mtrec.training.settings import Settings


@dataclass(frozen=True)
class PredictionPlan:
    r"""An arm before it is built."""

    name: str
    head: str
    balancer: str

    def build(self, settings: Settings, data: ImpressionData, device: torch.device) -> PredictorArm:
        r"""Builds the arm."""
        return PredictorArm(self.name, settings, self.head, self.balancer, data, device)


def prediction_plans(settings: Settings) -> list[PredictionPlan]:
    r"""Returns all arms, the run's own last."""
    below = "" if settings.bottom is None else f"{settings.bottom} "
    plans = [
        PredictionPlan(f"{below}{head} {rule}", head, rule)
        for head, rule in (
            ("single-task", "sum"),
            (str(settings.head), "sum"),
            (str(settings.head), settings.balancer),
        )
    ]
    *others, own = plans
    if settings.comparison != "on":
        return [own]
    return [other for other in others if other.name != own.name] + [own]


def run_prediction(
    settings: Settings,
    run: RunDirectory,
    resume: bool,
    echo: Callable[[str], None],
    progress: bool,
    device: torch.device,
) -> dict[str, Any]:
    r"""Does what ``run_experiment`` promises, for settings with a head."""
    clock = Clock()
    with clock("load"):
        data = load_impressions(settings)
        arms = prediction_plans(settings)
        metric = select_metric(settings, data)
        for plan in arms:  # whatever is wrong shows before anything is written
            plan.build(settings, data, device)
        hashes = keep.input_hashes(settings, data)
    keep.check_same_inputs(run, hashes, resume)
    run.prepare(asdict(settings), resume)
    if resume and (run.path / "results.json").exists():
        echo(f"'{run.path}' is complete: there is nothing to resume")
        keep.remove_checkpoints(run, (plan.name for plan in arms[:-1]))
        return run.read_results()
    keep.save_ids(run, data, hashes)
    valid, test = evaluator(data, "val"), evaluator(data, "test")
    table = {"constant": test(Constant(data.labels("train"), data.targets).predict(test.num_rows))}
    if data.oracle is not None:
        table["oracle"] = test(data.oracle(data.test))
    trained: dict[str, dict[str, Any]] = {}
    for plan in arms:
        own = plan is arms[-1]
        arm = plan.build(settings, data, device)
        if own:
            for line in describe(settings, arm):
                echo(line)
        with clock(plan.name):
            outputs = keep.outputs(run, plan.name, own, settings.tensorboard)
            trainer = arm.trainer(
                lambda arm=arm: valid(arm.predict(data.val)).metrics,  # type: ignore[misc]
                progress=progress,
                **outputs,
            )
            best = trainer.fit(resume)
        trained[plan.name] = {
            "encoder": settings.encoder,
            "head": plan.head,
            "balancer": plan.balancer,
            "tasks": list(arm.tasks),
            "epoch": trainer.stopping.best_epoch,
            "epochs": trainer.epoch,
            "value": best[metric],
            "seconds": trainer.seconds,
            "parameters": arm.num_parameters(),
            "settings": {name: getattr(settings, name) for name in ARM_SETTINGS},
        }
        predictions = arm.predict(data.test)
        table[plan.name] = test(predictions)
    result = table[plan.name]
    results = {
        **versions(),
        "dataset": data.provenance,
        "split": {**data.test.split_report, "seed": settings.seed},
        "settings": asdict(settings),
        "targets": data.targets,
        "core_target": data.core,
        "metrics": dict(PredictionEvaluator.definitions),
        "selection": {
            "split": "validation",
            "metric": metric,
            "epoch": trained[plan.name]["epoch"],
            "value": trained[plan.name]["value"],
        },
        "device": str(device),
        "threads": torch.get_num_threads(),
        "seconds": clock.seconds,
        "valid": valid(arm.predict(data.val)).metrics,
        "test": result.metrics,
        "num_labelled": result.num_labelled,
        "constant": table["constant"].metrics,
        "comparison": {name: found.metrics for name, found in table.items()},
        "arms": trained,
    }
    _save(run, data, arm, predictions, result)
    run.plot_curve(metric)
    run.plot_comparison(results["comparison"], metric)
    run.write_results(results)
    keep.remove_checkpoints(run, (plan.name for plan in arms[:-1]))
    return results


def evaluator(data: ImpressionData, split: str) -> PredictionEvaluator:
    r"""Returns the evaluator of a split."""
    return PredictionEvaluator(data.labels(split), data.targets)


def describe(settings: Settings, arm: PredictorArm) -> list[str]:
    r"""Returns the lines that open a run."""
    data, loader = arm.data, arm.loader
    users, items = data.train["user"].num_nodes, data.train["item"].num_nodes
    sizes = {name: getattr(data, name)[MAIN].edge_label.size(0) for name in ("val", "test")}
    rule = settings.balancer
    if rule == "pmtrec":
        rule = f"pmtrec (alpha {settings.alpha:g}, tau {settings.tau:g})"
    columns = [*loader.categorical_names, *loader.numeric_names]
    targets = ", ".join(
        f"{name} ({kind}{', core' if name == data.core else ''})"
        for name, kind in data.targets.items()
    )
    below = f"bottom {settings.bottom}, " if settings.bottom else ""
    sides = ["mf"] if arm.model.encoder is None else [settings.encoder]
    return [
        f"{data.provenance['name']}: {users:,} users, {items:,} items,"
        f" {loader.num_impressions:,} training impressions",
        f"split: {data.strategy}, seed {settings.seed};"
        f" {sizes['val']:,} to validate on, {sizes['test']:,} to test on",
        f"targets: {targets}",
        f"features: user, item{''.join(f', {name}' for name in columns)}",
        *([f"behaviours: {', '.join(data.behaviours)}"] if data.behaviours else []),
        f"{sides[0]}, d = {settings.dim}, {below}head {settings.head}; {rule}; on {arm.device}",
    ]


def _save(
    run: RunDirectory,
    data: ImpressionData,
    arm: PredictorArm,
    predictions: dict[str, Tensor],
    result: PredictionResult,
) -> None:
    rows = ImpressionLoader(data.test, shuffle=False).whole()
    labels = {target: data.label("test", target) for target in data.targets}
    run.save_tensors("model", arm.state())
    run.save_tensors(
        "test_rows",
        {
            "user": data.test["user"].raw_id[rows.user],
            "item": data.test["item"].raw_id[rows.item],
            "predictions": predictions,
            "labels": labels,
            "losses": result.per_row,
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the evaluator has said it
        binary = {
            name: reliability_curve(predictions[name], labels[name])
            for name, kind in data.targets.items()
            if kind == "binary"
        }
    continuous = {
        name: (predictions[name], labels[name])
        for name, kind in data.targets.items()
        if kind == "continuous"
    }
    if binary:
        run.plot_reliability(binary)
    if continuous:
        run.plot_predicted(continuous)
