"""One arm of an experiment: tables, encoder, tasks and rule, trained from the run's seed."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

import torch
from torch import nn
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Balancer
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
from pyg_mtrec.nn import Adjacency, NodeEmbedding
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import BPR, RatingRegression, Task
from pyg_mtrec.tasks._resolve import task_from_name
from pyg_mtrec.training._data import SplitData, generator
from pyg_mtrec.training._named import build, named_class
from pyg_mtrec.training._options import check_options, parse_options
from pyg_mtrec.training.multi_task_step import MultiTaskStep
from pyg_mtrec.training.settings import Settings
from pyg_mtrec.training.trainer import Trainer
from pyg_mtrec.transforms import NormalizedAdjacency


class Arm:
    r"""What is trained: built from settings, so that arms differ in tasks and rule only."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        tasks: list[str],
        balancer: str,
        data: SplitData,
        device: torch.device,
    ) -> None:
        self.name, self.settings, self.device = name, settings, device
        train = _moved(data.train, device)
        self.embedding = NodeEmbedding.from_data(train, settings.dim, seed=settings.seed).to(device)
        self.encoder = _encoder(settings).to(device)
        _check_task_options(settings, data.tasks)
        self.tasks = {task: _task(task, settings, train).to(device) for task in tasks}
        self.adj_dict = self._adj_dict(train)
        draws = generator(settings, device, 1)
        self.loader = MultiTaskLoader(
            {task: module.sampler(train, draws) for task, module in self.tasks.items()},
            batch_size=settings.batch_size,
            generator=draws,
        )
        self.step = MultiTaskStep(
            GradientCollector(self.embedding, self.encoder, self.tasks, at=settings.at),
            _balancer(balancer, settings, self.tasks).to(device),
            self.adj_dict,
        )

    def trainer(self, evaluator: RankingEvaluator, **kwargs: Any) -> Trainer:
        r"""Returns the trainer; ``kwargs`` are its checkpoint, history and the like."""
        owners: list[nn.Module] = [self.embedding, self.encoder, *self.tasks.values()]
        authors = self.settings.protocol == "authors"
        decay = 0.0 if authors else self.settings.weight_decay
        groups = [
            {"params": [p for owner in owners for p in owner.parameters()], "weight_decay": decay},
            # What a rule learns is no representation: decay would pull it to its start.
            {"params": list(self.step.balancer.parameters()), "weight_decay": 0.0},
        ]
        decoupled = self.settings.optimizer == "adamw"
        optimizer = (torch.optim.AdamW if decoupled else torch.optim.Adam)(
            [group for group in groups if group["params"]], lr=self.settings.lr, fused=True
        )
        return Trainer(
            self.step,
            self.loader,
            optimizer,
            lambda: evaluator(self.scorer()).metrics,
            select=self.settings.select_metric,
            epochs=self.settings.epochs,
            patience=self.settings.patience,
            title=self.name,
            **kwargs,
        )

    @torch.no_grad()
    def scorer(self, split: HeteroData | None = None) -> DotProductScorer:
        r"""Ranks by the current weights, with the message edges of a split (default: train)."""
        adj_dict = self.adj_dict if split is None else self._adj_dict(_moved(split, self.device))
        x_dict = self.encoder(self.embedding(), adj_dict).x_dict
        return DotProductScorer(x_dict["user"].detach(), x_dict["item"].detach())

    def _adj_dict(self, data: HeteroData) -> dict[Any, Adjacency]:
        if self.encoder.local:
            return {}
        authors = self.settings.protocol == "authors" and self.settings.encoder == "ngcf"
        transform = NormalizedAdjacency(normalization="authors" if authors else "sym")
        return Adjacency.dict_from(transform(data))


def _moved(data: HeteroData, device: torch.device) -> HeteroData:
    # `to` works in place, and the split also serves baselines, which stay on the CPU.
    moved: HeteroData = copy(data).to(str(device))
    return moved


def _encoder(settings: Settings) -> Encoder:
    encoder: Encoder = build(
        named_class("nn.encoders", settings.encoder),
        dim=settings.dim,
        num_layers=settings.layers,
        laplacian="authors" if settings.protocol == "authors" else "paper",
        generator=generator(settings, torch.device("cpu"), 2),
    )
    return encoder


def _task(name: str, settings: Settings, data: HeteroData) -> Task:
    options = {
        option.removeprefix(f"{name}.")
        for option in settings.task_options
        if option.startswith(f"{name}.")
    }
    task = task_from_name(name, data, **parse_options(sorted(options), "task_options"))
    if isinstance(task, BPR) and settings.protocol == "authors":
        task.l2 = settings.weight_decay  # the released codes penalise the batch's rows instead
    if settings.auxiliary == "own" and hasattr(task, "anchored"):
        setattr(task, "anchored", False)  # noqa: B010 (a module's attributes are typed as modules)
    return task


def _check_task_options(settings: Settings, tasks: Iterable[str]) -> None:
    for option in settings.task_options:
        owner, dot, _ = option.partition("=")[0].partition(".")
        if not dot or owner not in tasks:
            raise InputError(
                f"'task_options' needs TASK.NAME=VALUE with one of the tasks {', '.join(tasks)}"
                f" (got '{option}')"
            )


def _balancer(name: str, settings: Settings, tasks: Mapping[str, Task]) -> Balancer:
    rule = named_class("balancing", name)
    options = {}
    if name == settings.balancer:  # what a run compares with has no options
        options = parse_options(settings.balancer_options, "balancer_options")
        if settings.scope != "table":
            options.setdefault("scope", settings.scope)
    check_options(options, rule, rule.__name__)
    offered = {
        "alpha": settings.alpha,
        "tau": settings.tau,
        "mask_inactive": settings.mask_inactive,
        "scale": settings.scale,
        "seed": settings.seed,
        "num_tasks": len(tasks),
        "regression": [isinstance(task, RatingRegression) for task in tasks.values()],
        "lower_bounds": [task.lower_bound for task in tasks.values()],
    }
    try:
        balancer: Balancer = build(rule, **{**offered, **options})
    except TypeError as error:  # an argument is missing, or a word stands where a number should
        raise InputError(
            f"'{rule.__name__}' cannot be made of --balancer-options"
            f" {' '.join(settings.balancer_options) or '(none)'}: {error}"
        ) from error
    return balancer
