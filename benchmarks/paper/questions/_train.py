"""Trains a row: trials on validation for its weight decay, then a run per seed."""

import time
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper._runs import SELECT, read_json, search_evaluator, split, write_json
from benchmarks.paper.questions._rows import Row, Setup
from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.metrics import RankingEvaluator, RankingResult
from pyg_mtrec.runs._atomic import write_atomic
from pyg_mtrec.training import Settings, Trainer
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import SplitData, generator
from pyg_mtrec.training.experiment import evaluator, resolve_device
from pyg_mtrec.training.multi_task_step import MultiTaskStep

_CHANGES = 9  # the stream of a seed's generators that changes of the split draw from


class QuestionArm(Arm):
    """An arm with tasks and rules that settings have no name for."""

    def __init__(self, row: Row, settings: Settings, data: SplitData, device: torch.device) -> None:
        data = replace(data, tasks=settings.tasks)
        super().__init__(row.arm, settings, settings.tasks, settings.balancer, data, device)
        self.eps_factor = row.eps_factor
        if row.extra_tasks:
            self._add({name: make().to(device) for name, make in row.extra_tasks}, data)
        if row.wrap is not None:
            self.step.balancer = row.wrap(self.step.balancer).to(device)

    def trainer(self, evaluator: RankingEvaluator, **kwargs: Any) -> Trainer:
        trainer = super().trainer(evaluator, **kwargs)
        for group in trainer.optimizer.param_groups:
            group["eps"] *= self.eps_factor
        return trainer

    def _add(self, tasks: dict[str, Any], data: SplitData) -> None:
        train, draws = copy(data.train).to(str(self.device)), self.loader.generator
        self.tasks |= tasks
        samplers = {name: task.sampler(train, draws) for name, task in tasks.items()}
        self.loader = MultiTaskLoader(
            {**self.loader.samplers, **samplers}, self.settings.batch_size, draws
        )
        collector = GradientCollector(self.embedding, self.encoder, self.tasks, at=self.settings.at)
        self.step = MultiTaskStep(collector, self.step.balancer, self.adj_dict)


@dataclass(frozen=True)
class Job:
    """One training, for a pool of processes."""

    row: Row
    setup: Setup
    folder: Path
    seed: int
    trial: bool
    deadline: float
    threads: int

    @property
    def path(self) -> Path:
        """Where the result lies or will."""
        if self.trial:
            decay = f"{self.row.settings.weight_decay:g}"
            return self.folder / self.row.folder / "trials" / f"{decay}.seed{self.seed}.json"
        return self.folder / self.row.folder / f"seed{self.seed}.json"

    def done(self) -> dict[str, Any] | None:
        """The result, None if there is none or it is of other settings."""
        found = read_json(self.path)
        return found if found and found["identity"] == self.row.identity() else None

    def __call__(self) -> str:
        """Trains if that was not done, and says what came out."""
        name = f"{self.row.folder} seed {self.seed}"
        if self.trial:
            name += f", weight decay {self.row.settings.weight_decay:g}"
        found = self.done()
        if found is None:
            if time.time() > self.deadline:
                return f"{name}: not run, the time is over"
            torch.set_num_threads(self.threads)
            found = _train(self)
        if "failed" in found:
            return f"{name}: {found['failed']}"
        if self.trial:
            return f"{name}: validation {found['selection']['value']:.4f}"
        return f"{name}: R@20 {found['test']['recall@20']:.4f} N@20 {found['test']['ndcg@20']:.4f}"


def users_path(path: Path) -> Path:
    """Where the test users' own values lie."""
    return path.with_suffix(".users.pt")


def _train(job: Job) -> dict[str, Any]:
    settings = replace(job.row.settings, seed=job.seed)
    data = split(job.setup.dataset, job.setup.root, job.seed)
    if job.row.change is not None:
        data = job.row.change(data, generator(settings, torch.device("cpu"), _CHANGES))
    began = time.perf_counter()
    arm = QuestionArm(job.row, settings, data, resolve_device(job.setup.device))
    curve: list[float] = []
    trainer = arm.trainer(
        search_evaluator(settings, data),
        loggers=[lambda row: curve.append(row[f"valid/{SELECT}"])],
        progress=False,
    )
    found: dict[str, Any] = {
        "condition": job.row.condition,
        "arm": job.row.arm,
        "seed": job.seed,
        "tasks": job.row.tasks,
        "identity": job.row.identity(),
    }
    test = None
    try:
        trainer.fit()
    except InputError as error:
        if "became" not in str(error):  # a loss that is no number is an answer, not a bad input
            raise
        found["failed"] = str(error)
    else:
        stopping = trainer.stopping
        found["selection"] = {"epoch": stopping.best_epoch, "value": stopping.best_value}
        if not job.trial:
            test = evaluator(settings, data, "test")(arm.scorer(data.test))
            found |= {"test": test.metrics, "split": data.test.split_report, "data": _origin(data)}
    found |= {
        "epochs": trainer.epoch,
        "curve": curve,
        "seconds": round(time.perf_counter() - began, 1),
    }
    job.path.parent.mkdir(parents=True, exist_ok=True)
    if test is not None:
        _save_users(job.path, test, data)
    write_json(job.path, found)
    return found


def _origin(data: SplitData) -> dict[str, Any]:
    return {name: data.provenance.get(name) for name in ("name", "known", "sha256")}


def _save_users(path: Path, test: RankingResult, data: SplitData) -> None:
    users = {
        # Raw ids are the same under every split seed, which permutes the graph's own.
        "users": data.test["user"].raw_id[test.users],
        "history": test.history,
        "metrics": test.per_user,
    }
    write_atomic(users_path(path), lambda file: torch.save(users, file))
