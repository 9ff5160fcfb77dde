from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import RankingEvaluator, RankingResult
from pyg_mtrec.runs import Checkpoint, RunDirectory
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import MAIN, SplitData, load_data
from pyg_mtrec.training._report import Clock, describe, num_labels, versions
from pyg_mtrec.training._tuned import ARM_SETTINGS, num_threads, of_arm
from pyg_mtrec.training._yardsticks import yardstick
from pyg_mtrec.training.settings import Settings

Plan = tuple[str, list[str], str]  # name of an arm, its tasks, its balancer


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
    device = resolve_device(settings.device)
    clock = Clock()
    with clock("load"):
        data = load_data(settings)
        sample = evaluator(settings, data, "val", settings.valid_users)
        test = evaluator(settings, data, "test")
        plans = _plans(settings, data)
        for plan in plans:  # whatever is wrong with a task shows before anything is written
            _arm(plan, settings, data, device)
    _check_same_data(run, data, resume)
    run.prepare(asdict(settings), resume)
    if resume and (run.path / "results.json").exists():
        echo(f"'{run.path}' is complete: there is nothing to resume")
        return run.read_results()
    for line in describe(settings, data, device):
        echo(line)
    _save_ids(run, data)

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
    for plan in plans:  # one at a time: large tables should not wait for each other
        arm = _arm(plan, settings, data, device)
        own = plan is plans[-1]
        with clock(arm.name):
            trainer = arm.trainer(
                sample,
                checkpoint=run.checkpoint if own else _checkpoint(run, arm.name),
                history=run.history if own else None,
                loggers=[_tensorboard(run)] if own and settings.tensorboard else [],
                progress=progress,
            )
            best = trainer.fit(resume)
        trained[arm.name] = {
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
        "yardsticks": chosen,
    }
    run.save_tensors("model", {"user_x": scorer.user_x.cpu(), "item_x": scorer.item_x.cpu()})
    run.save_tensors("test_users", {"users": result.users, "metrics": result.per_user})
    run.plot_curve()
    run.plot_comparison(results["comparison"], settings.select_metric)
    run.write_results(results)
    for name, *_ in plans[:-1]:
        _checkpoint(run, name).path.unlink(missing_ok=True)
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


def _plans(settings: Settings, data: SplitData) -> list[Plan]:
    wanted = [(settings.balancer, data.tasks, settings.balancer)]
    default = settings.dataset == "planted" and settings.interactions is None
    if settings.comparison == "on" or (settings.comparison == "auto" and default):
        others = [("single task", data.tasks[:1], "sum"), ("sum", data.tasks, "sum")]
        wanted = [other for other in others if other[1:] != wanted[0][1:]] + wanted
    return wanted


def _arm(plan: Plan, settings: Settings, data: SplitData, device: torch.device) -> Arm:
    name, tasks, balancer = plan
    return Arm(name, of_arm(settings, name), tasks, balancer, data, device)


def _tensorboard(run: RunDirectory) -> Callable[[dict[str, float]], None]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "'--tensorboard' needs an extra: pip install 'pyg-mtrec[tensorboard]'"
        ) from error
    writer = SummaryWriter(str(run.path / "tensorboard"))

    def log(row: dict[str, float]) -> None:
        for key, value in row.items():
            writer.add_scalar(key, value, int(row["epoch"]))
        writer.flush()

    return log


def _checkpoint(run: RunDirectory, arm: str) -> Checkpoint:
    return Checkpoint(run.path / f"arm-{arm.replace(' ', '-')}.pt")


def _check_same_data(run: RunDirectory, data: SplitData, resume: bool) -> None:
    if not (resume and (run.path / "ids.pt").exists()):
        return
    before = run.load_tensors("ids")["sha256"]
    for name, found in data.provenance["sha256"].items():
        if before.get(name) != found:
            raise InputError(
                f"'{name}' is not the file that the run in '{run.path}' was started with (SHA-256"
                " differs): restore it, or start anew in another folder with '--out'"
            )


def _save_ids(run: RunDirectory, data: SplitData) -> None:
    ids = {name: data.train[name].raw_id for name in ("user", "item")}
    tables = getattr(data.train, "raw_id_tables", {})
    run.save_tensors("ids", {"raw_id": ids, "tables": tables, "sha256": data.provenance["sha256"]})

    run.save_tensors("seen", {"edge_index": data.test[MAIN].seen_edge_index})
