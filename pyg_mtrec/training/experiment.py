from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import RankingEvaluator, RankingResult
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training import _keep as keep
from pyg_mtrec.training._data import MAIN, SplitData, load_data
from pyg_mtrec.training._first_stage import describe_pretraining, pretrain
from pyg_mtrec.training._plans import plans
from pyg_mtrec.training._prediction_run import run_prediction
from pyg_mtrec.training._pretrained import pretrained_state
from pyg_mtrec.training._report import Clock, describe, describe_tables, num_labels, versions
from pyg_mtrec.training._stages import check_stages
from pyg_mtrec.training._tuned import ARM_SETTINGS, num_threads
from pyg_mtrec.training._yardsticks import yardstick
from pyg_mtrec.training.settings import Settings


def run_experiment(
    settings: Settings,
    run: RunDirectory,
    resume: bool = False,
    echo: Callable[[str], None] = print,
    progress: bool = True,
) -> dict[str, Any]:
    r"""Loads, splits, trains, evaluates and writes the run directory.

    Validation selects the epoch; the test set is read once, at the end. With the embedded
    default (``planted``), or with ``comparison="on"``, the same encoder is also trained on the
    main task alone and on the plain sum of the tasks, from the same tables, splits and seeds.

    With a hypergraph encoder, or ``finetune``, a run has two stages. What combines tasks does so in
    the first, whose own loss says when to stop; the arms beside it are the second stage from random
    tables, and from those of the plain sum.

    With a ``head``, a run predicts the targets of impressions: validation selects by a metric of
    the core target, and the arms beside it (``comparison="on"``) are a head that shares nothing but
    tables, and the same head under the plain sum.

    Args:
        settings: What to run.
        run: Where to write.
        resume: Continue a run of the same settings that was interrupted.
        echo: Takes the lines that tell what happens.
        progress: Whether to show progress bars on standard error.

    Returns:
        The content of ``results.json``.

    Raises:
        InputError: If the settings or the data are wrong; nothing half-written is left.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads(settings) or before)
    try:
        return _run(settings, run, resume, echo, progress)
    finally:
        torch.set_num_threads(before)


def _run(
    settings: Settings,
    run: RunDirectory,
    resume: bool,
    echo: Callable[[str], None],
    progress: bool,
) -> dict[str, Any]:
    check_stages(settings)
    device = resolve_device(settings.device)
    if settings.head is not None:
        return run_prediction(settings, run, resume, echo, progress, device)
    clock = Clock()
    with clock("load"):
        data = load_data(settings)
        sample = evaluator(settings, data, "val", settings.valid_users)
        test = evaluator(settings, data, "test")
        arms = plans(settings, data)
        loaded: dict[str, Any] = {}
        for plan in arms:  # whatever is wrong with a task shows before anything is written
            first = plan.first_stage(settings, data, device)
            if first is not None:
                first.carried()
            last = plan.last_stage(settings, data, device)
            loaded = (first or last).loaded
            del first, last
        hashes = keep.input_hashes(settings, data)
    keep.check_same_inputs(run, hashes, resume)
    run.prepare(asdict(settings), resume)
    if resume and (run.path / "results.json").exists():
        echo(f"'{run.path}' is complete: there is nothing to resume")
        keep.remove_checkpoints(run, (plan.name for plan in arms[:-1]))
        return run.read_results()
    for line in [*describe(settings, data, device), *describe_tables(settings, data, loaded)]:
        echo(line)
    keep.save_ids(run, data, hashes)

    table: dict[str, RankingResult] = {}
    chosen: dict[str, Any] = {}
    for name in settings.yardsticks:
        with clock(name):
            try:
                baseline, chosen[name] = yardstick(name, settings, data, sample)
                table[name] = test(baseline)
                del baseline  # the closed form of EASE may hold gigabytes
            except InputError as error:
                echo(f"{name} is left out: {error}")
    trained: dict[str, dict[str, Any]] = {}
    stages: dict[str, dict[str, Any]] = {}
    for plan in arms:
        own = plan is arms[-1]
        tables = trainer = None  # one at a time: large tables should not wait for each other
        stage = plan.first_stage(settings, data, device)
        if stage is not None:
            with clock(f"{plan.name}, first stage"):
                outputs = keep.outputs_of_first_stage(run, plan.name, own, settings.tensorboard)
                stages[plan.name] = pretrain(
                    stage, plan.balancer, resume, progress=progress, **outputs
                )
                tables = stage.carried()
                if own:
                    state = pretrained_state(stage.embedding, stage.representations(), data)
                    run.save_tensors("pretrained", state)
                    del state
                del stage
            for line in describe_pretraining(plan.name, stages[plan.name]):
                echo(line)
        arm = plan.last_stage(settings, data, device)
        if tables is not None:
            arm.start_from(tables)
            del tables
        with clock(arm.name):
            outputs = keep.outputs(run, arm.name, own, settings.tensorboard)
            trainer = arm.trainer(sample, progress=progress, **outputs)
            best = trainer.fit(resume)
        trained[arm.name] = {
            "encoder": arm.settings.encoder,
            "tasks": list(arm.tasks),
            "epoch": trainer.stopping.best_epoch,
            "epochs": trainer.epoch,
            "value": best[settings.select_metric],
            "seconds": trainer.seconds,
            "settings": {name: getattr(arm.settings, name) for name in ARM_SETTINGS},
        }
        with clock(f"{arm.name}, test"):
            scorer = arm.scorer(data.test)
            table[arm.name] = test(scorer)
    with clock("evaluate"):
        valid = evaluator(settings, data, "val")(arm.scorer())
        if data.oracle is not None:
            table["oracle"] = test(data.oracle)

    result = table[arm.name]
    on_test = data.val is data.test
    results = {
        **versions(),
        "dataset": data.provenance,
        "split": {
            **data.test.split_report,
            "strategy": data.strategy,
            "seed": settings.seed,
            "protocol": settings.protocol,
            "message_edges": settings.message_edges,
            "train": data.train[MAIN].num_edges,
            "val": num_labels(data.val),
            "test": num_labels(data.test),
        },
        "settings": asdict(settings),
        "masking": "training interactions" + ("" if on_test else " and validation interactions"),
        "metrics": dict(RankingEvaluator.definitions),
        "selection": {
            "split": "test" if on_test else f"validation, {settings.valid_users} users at most",
            "metric": settings.select_metric,
            "epoch": trained[arm.name]["epoch"],
            "value": trained[arm.name]["value"],
        },
        "device": str(device),
        "threads": torch.get_num_threads(),
        "seconds": clock.seconds,
        "valid": valid.metrics,
        "test": result.metrics,
        "buckets": result.buckets,
        "users": {
            "evaluated": result.users.numel(),
            "without_labels": result.num_users_without_labels,
        },
        **{name: table[name].metrics for name in settings.yardsticks if name in table},
        "comparison": {name: ranked.metrics for name, ranked in table.items()},
        "arms": trained,
        **({"pretraining": stages} if stages else {}),
        **({"pretrained": {"file": settings.pretrained, **loaded}} if loaded else {}),
        "yardsticks": chosen,
    }
    run.save_tensors("model", {"user_x": scorer.user_x.cpu(), "item_x": scorer.item_x.cpu()})
    run.save_tensors("test_users", {"users": result.users, "metrics": result.per_user})
    run.plot_curve()
    if arm.name in stages:
        run.plot_pretraining(stages[arm.name]["guess"], stages[arm.name]["epoch"])
    run.plot_comparison(results["comparison"], settings.select_metric)
    run.write_results(results)
    keep.remove_checkpoints(run, (plan.name for plan in arms[:-1]))
    return results


def evaluator(
    settings: Settings, data: SplitData, split: str, max_users: int | None = None
) -> RankingEvaluator:
    r"""Returns the evaluator of a split; the sample of ``max_users`` is fixed by the seed."""
    cuts = sorted({*settings.topk, int(settings.select_metric.rpartition("@")[2])})
    num_items = data.train["item"].num_nodes
    if cuts[-1] > num_items:
        raise InputError(
            f"'topk' and 'select_metric' need cut-offs of at most the {num_items} items of the"
            f" catalogue (got {cuts[-1]}): pass smaller ones with '--topk' and '--select-metric'"
        )
    return RankingEvaluator(
        getattr(data, split),
        k=cuts,
        max_users=max_users,
        seed=settings.seed,
    )


def resolve_device(name: str) -> torch.device:
    r"""Returns the device of ``auto``, ``cpu`` or ``cuda``."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("'--device cuda' found no GPU: pass '--device cpu' or 'auto'")
    return torch.device(name)
