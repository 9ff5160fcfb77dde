"""Trials and runs of one cell: each is written as soon as it is done, and never done twice."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.paper._cells import ABLATION, PRESETS, Cell
from benchmarks.paper._record import RecordingPMTRec
from benchmarks.paper._search import best, read_json, tune, write_json
from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import PMTRec
from pyg_mtrec.metrics import RankingEvaluator, RankingResult
from pyg_mtrec.training import Settings
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import SplitData, load_data
from pyg_mtrec.training._yardsticks import yardstick
from pyg_mtrec.training.experiment import evaluator, resolve_device

SELECT = "recall@20"
Change = Callable[[SplitData], SplitData]
Build = Callable[[Settings, SplitData, str], tuple[Arm, dict[str, Any]]]


class Searched(Protocol):
    """What a search needs to know of a cell."""

    def space(self, dataset: str) -> dict[str, list[Any]]: ...
    def settings(self, dataset: str, root: str | None, params: dict[str, Any]) -> Settings: ...


class Pruned(Exception):
    """A trial is far behind the best at a rung."""


@lru_cache(maxsize=6)
def split(dataset: str, root: str | None, seed: int) -> SplitData:
    """The data set, split by a seed; kept, since every rule needs the same."""
    return load_data(Settings(dataset=dataset, root=root, seed=seed))


def search_evaluator(settings: Settings, data: SplitData) -> RankingEvaluator:
    """Validation of every epoch: nothing but the selecting metric."""
    return RankingEvaluator(
        data.val,
        k=(20,),
        metrics=("recall",),
        max_users=settings.valid_users,
        seed=settings.seed,
    )


def arm_of(settings: Settings, data: SplitData, device: str) -> Arm:
    """The arm of a run; the task names of the settings, in their order."""
    data = replace(data, tasks=settings.tasks or data.tasks)
    return Arm(settings.balancer, settings, data.tasks, settings.balancer, data, _device(device))


def plain(settings: Settings, data: SplitData, device: str) -> tuple[Arm, dict[str, Any]]:
    """The arm, of which its record has no more to say."""
    return arm_of(settings, data, device), {}


def _device(name: str) -> torch.device:
    return resolve_device(name)


def search(
    cell: Searched,
    dataset: str,
    root: str | None,
    folder: Path,
    trials: int,
    device: str = "cpu",
    deadline: float = float("inf"),
    change: Change | None = None,
    build: Build = plain,
    rungs: dict[int, float] | None = None,
) -> dict[str, Any] | None:
    """Searches a cell's grid on validation of seed 0 and returns the best parameters.

    Args:
        cell: The cell.
        dataset: The data set.
        root: The folder of the data sets.
        folder: Where search.json lies or will.
        trials: The number of different trials, the same for every rule.
        device: Where to train.
        deadline: The time after which no trial is begun.
        change: Applied to the split first, for other tasks or fewer interactions.
        build: Makes what is trained, and says what its record is to say beside the rest.
        rungs: Where trials that are far behind stop (default: those of the data set's preset).

    Returns:
        The best parameters, None if the deadline came before all trials were run.
    """
    stops = PRESETS[dataset].rungs if rungs is None else rungs

    def trial(params: dict[str, Any], before: list[dict[str, Any]]) -> dict[str, Any]:
        return _trial(cell, dataset, root, params, before, stops, device, change, build)

    space = cell.space(dataset)
    return tune(folder / "search.json", str(cell), space, trials, trial, deadline)


def _trial(
    cell: Searched,
    dataset: str,
    root: str | None,
    params: dict[str, Any],
    before: list[dict[str, Any]],
    rungs: dict[int, float],
    device: str,
    change: Change | None,
    build: Build = plain,
) -> dict[str, Any]:
    settings = cell.settings(dataset, root, params)
    data = split(dataset, root, 0)
    if change is not None:
        data = change(data)
    began = time.perf_counter()
    seen: dict[str, float] = {}
    top = {"value": 0.0, "epoch": 0}

    def watch(row: dict[str, float]) -> None:
        value, epoch = row[f"valid/{SELECT}"], int(row["epoch"])
        if value > top["value"]:
            top.update(value=value, epoch=epoch)
        if epoch in rungs:
            seen[str(epoch)] = top["value"]
            others = [t["rungs"][str(epoch)] for t in before if str(epoch) in t["rungs"]]
            if others and top["value"] < rungs[epoch] * max(others):
                raise Pruned

    arm, said = build(settings, data, device)
    trainer = arm.trainer(search_evaluator(settings, data), loggers=[watch], progress=False)
    pruned = False
    try:
        trainer.fit()
    except Pruned:
        pruned = True
    except InputError as error:
        if "became" not in str(error):  # a loss that is no number is a bad trial, not a bad input
            raise
    return {
        "params": params,
        "value": top["value"],
        "epoch": top["epoch"],
        "epochs": trainer.epoch,
        "rungs": seen,
        "pruned": pruned,
        "seconds": round(time.perf_counter() - began, 1),
        **said,
    }


def run_seed(
    cell: Searched,
    dataset: str,
    root: str | None,
    folder: Path,
    params: dict[str, Any],
    seed: int,
    device: str = "cpu",
    change: Change | None = None,
    settings: Settings | None = None,
    build: Build = plain,
) -> dict[str, Any]:
    """Trains on one split seed with what the search found, and reads its test set, once."""
    path = folder / f"seed{seed}.json"
    if path.exists():
        return dict(read_json(path))
    settings = settings or cell.settings(dataset, root, params)
    settings = replace(settings, seed=seed)
    data = split(dataset, root, seed)
    if change is not None:
        data = change(data)
    began = time.perf_counter()
    arm, said = build(settings, data, device)
    curve: list[float] = []
    loggers: list[Callable[[dict[str, float]], None]] = [
        lambda row: curve.append(round(row[f"valid/{SELECT}"], 6))
    ]
    record = None
    if type(arm.step.balancer) is PMTRec:
        sizes = {name: table.size(0) for name, table in arm.embedding.weight_dict.items()}
        record = RecordingPMTRec(arm.step.balancer, sizes, len(settings.tasks))
        arm.step.balancer = record
        loggers.append(record.end_epoch)
    trainer = arm.trainer(search_evaluator(settings, data), loggers=loggers, progress=False)
    trainer.fit()
    scorer = arm.scorer(data.test)
    valid = evaluator(settings, data, "val")(scorer)
    test = evaluator(settings, data, "test")(scorer)
    found = {
        "cell": str(cell),
        "seed": seed,
        "params": params,
        "settings": _settings(settings),
        "selection": {"epoch": trainer.stopping.best_epoch, "value": trainer.stopping.best_value},
        "epochs": trainer.epoch,
        "seconds": round(time.perf_counter() - began, 1),
        "valid": valid.metrics,
        "test": test.metrics,
        "buckets": test.buckets,
        "curve": curve,
        "weights": None if record is None else {"tasks": settings.tasks, "epochs": record.epochs},
        **said,
    }
    weights = None if record is None else record.mean("user")[:, test.users]
    _save(path, found, test, data, weights)
    return found


def run_yardstick(
    name: str,
    dataset: str,
    root: str | None,
    folder: Path,
    seed: int,
    ease_l2: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Fits a baseline on one split seed, tuned on its validation, and reads its test set, once."""
    path = folder / f"seed{seed}.json"
    if path.exists():
        return dict(read_json(path))
    preset = PRESETS[dataset]
    settings = Settings(
        dataset=dataset,
        root=root,
        seed=seed,
        valid_users=preset.valid_users,
        ease_l2=list(ease_l2 or preset.ease_l2),
    )
    data = split(dataset, root, seed)
    began = time.perf_counter()
    scorer, chosen = yardstick(name, settings, data, search_evaluator(settings, data))
    test = evaluator(settings, data, "test")(scorer)
    found = {
        "cell": name,
        "seed": seed,
        "params": {key: value for key, value in chosen.items() if key == "l2"},
        "seconds": round(time.perf_counter() - began, 1),
        "test": test.metrics,
        "buckets": test.buckets,
    }
    _save(path, found, test, data, None)
    return found


def best_params(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """What a cell's finished search found; an ablation takes PMTRec's and changes one thing."""
    owner = folder
    if cell.rule in ABLATION:
        owner = folder.parent / str(replace(cell, rule="pmtrec"))
    params = best(owner / "search.json")
    return None if params is None else {**params, **ABLATION.get(cell.rule, {})}


def _save(
    path: Path,
    found: dict[str, Any],
    test: RankingResult,
    data: SplitData,
    weights: torch.Tensor | None,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    users = {
        # Raw ids are the same under every split seed, which permutes the graph's own.
        "users": data.train["user"].raw_id[test.users],
        "history": test.history,
        "metrics": test.per_user,
        **({} if weights is None else {"weights": weights}),
    }
    temporary = path.with_suffix(".users.tmp")
    torch.save(users, temporary)
    os.replace(temporary, path.with_suffix(".users.pt"))
    write_json(path, found)


def _settings(settings: Settings) -> dict[str, Any]:
    hidden = ("root", "out", "threads", "device")
    return {name: value for name, value in asdict(settings).items() if name not in hidden}
