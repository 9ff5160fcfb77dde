"""One arm of an experiment: tables, encoder, tasks and rule, trained from the run's seed."""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Balancer, Constant
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
from pyg_mtrec.nn import Adjacency, Incidence, NodeEmbedding, TaskHypergraphEncoder
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import BPR, PredictionTask, RatingRegression, Regression, Task
from pyg_mtrec.tasks._resolve import task_from_name
from pyg_mtrec.training._data import SplitData, generator
from pyg_mtrec.training._named import build, named_class
from pyg_mtrec.training._options import check_options, check_values, parse_options
from pyg_mtrec.training._pretrained import load_pretrained
from pyg_mtrec.training._stages import has_two_stages
from pyg_mtrec.training.multi_task_step import MultiTaskStep
from pyg_mtrec.training.row_adam import RowAdam
from pyg_mtrec.training.settings import Settings
from pyg_mtrec.training.trainer import Trainer
from pyg_mtrec.transforms import NormalizedAdjacency

_EVERY = 10  # a full-batch epoch may be faster than writing a checkpoint


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
        pretrains = settings.select_metric == "loss"
        self.embedding = NodeEmbedding.from_data(train, settings.dim, seed=settings.seed).to(device)
        self.loaded: dict[str, Any] = {}
        if settings.pretrained is not None:
            self.loaded = load_pretrained(settings.pretrained, self.embedding, data, settings.carry)
        self.encoder = _encoder(settings).to(device)
        others = settings.finetune_tasks if has_two_stages(settings) else []
        _check_task_options(settings, dict.fromkeys([*data.tasks, *tasks, *others]))
        self.tasks = {task: _task(task, settings, train).to(device) for task in tasks}
        self.adj_dict = self._adj_dict(train)
        draws = generator(settings, device, 3 if pretrains else 1)
        self.loader = MultiTaskLoader(
            {task: module.sampler(train, draws) for task, module in self.tasks.items()},
            batch_size=settings.pretrain_batch_size if pretrains else settings.batch_size,
            generator=draws,
        )
        self.step = MultiTaskStep(
            GradientCollector(self.embedding, self.encoder, self.tasks, at=settings.at),
            _balancer(balancer, settings, self.tasks).to(device),
            self.adj_dict,
        )

    def trainer(self, evaluator: RankingEvaluator, **kwargs: Any) -> Trainer:
        r"""Returns the trainer; ``kwargs`` are its checkpoint, history and the like."""
        return Trainer(
            self.step,
            self.loader,
            self._optimizer(),
            lambda: evaluator(self.scorer()).metrics,
            select=self.settings.select_metric,
            epochs=self.settings.epochs,
            patience=self.settings.patience,
            title=self.name,
            **kwargs,
        )

    def _optimizer(self) -> Optimizer:
        owners = [self.embedding, self.encoder, *self.tasks.values()]
        return optimizer_of(self.settings, owners, self.step)

    def pretrainer(self, **kwargs: Any) -> Trainer:
        r"""Returns the trainer of a first stage, whose own loss says when to stop."""
        rule = self.step.balancer
        return Trainer(
            self.step,
            self.loader,
            self._optimizer(),
            select="loss",
            epochs=self.settings.epochs,
            patience=self.settings.patience,
            min_delta=self.settings.pretrain_min_delta,
            loss_weights=rule.weights.tolist() if isinstance(rule, Constant) else None,
            checkpoint_every=1 if len(self.loader) > 1 else _EVERY,
            title=f"{self.name}, stage 1",
            **kwargs,
        )

    @torch.no_grad()
    def scorer(self, split: HeteroData | None = None) -> DotProductScorer:
        r"""Ranks by the current weights, with the message edges of a split (default: train)."""
        adj_dict = self.adj_dict if split is None else self._adj_dict(_moved(split, self.device))
        x_dict = self.encoder(self.embedding(), adj_dict).x_dict
        return DotProductScorer(x_dict["user"].detach(), x_dict["item"].detach())

    @torch.no_grad()
    def representations(self) -> dict[str, Tensor]:
        r"""Returns what the encoder makes of the tables, by node type."""
        self.encoder.eval()  # nothing is dropped
        return dict(self.encoder(self.embedding(), self.adj_dict).x_dict)

    def carried(self) -> dict[str, Tensor]:
        r"""Returns the rows that a next stage starts from, by node type.

        Raises:
            InputError: If the representations are not as wide as tables.
        """
        if self.settings.carry == "tables":
            return {name: weight.detach() for name, weight in self.embedding().items()}
        rows = self.representations()
        for name, x in rows.items():
            if x.size(1) != self.embedding.dim:
                raise InputError(
                    f"'carry' needs to be 'tables' after encoder {self.settings.encoder!r}, whose"
                    f" {name} representations are {x.size(1)} wide (tables: {self.embedding.dim})"
                )
        return rows

    @torch.no_grad()
    def start_from(self, rows: Mapping[str, Tensor]) -> None:
        r"""Puts the rows that another arm carried over into the tables."""
        for name, weight in self.embedding.weight_dict.items():
            weight.copy_(rows[name])

    def _adj_dict(self, data: HeteroData) -> Mapping[Any, Adjacency | Incidence]:
        if self.encoder.local:
            return {}
        if isinstance(self.encoder, TaskHypergraphEncoder):
            return self._incidences(self.encoder, data)
        authors = self.settings.protocol == "authors" and self.settings.encoder == "ngcf"
        transform = NormalizedAdjacency(normalization="authors" if authors else "sym")
        return Adjacency.dict_from(transform(data))

    def _incidences(self, encoder: TaskHypergraphEncoder, data: HeteroData) -> dict[Any, Incidence]:
        found = Incidence.dict_from(data, encoder.main)
        read = {task.view for task in self.tasks.values()}
        return {
            edge_type: incidence.to(self.device)
            for edge_type, incidence in found.items()
            if edge_type in (encoder.main, encoder.reverse)
            or encoder.fusion != "none"
            or " ".join(edge_type) in read
        }


def optimizer_of(settings: Settings, owners: Iterable[nn.Module], step: MultiTaskStep) -> Optimizer:
    r"""Returns Adam over what modules and a rule learn, with the settings' decay.

    Args:
        settings: The run's settings.
        owners: The modules.
        step: The step, whose rule may learn too.
    """
    decay = 0.0 if settings.protocol == "authors" else settings.weight_decay
    groups: list[dict[str, Any]] = [
        {"params": [p for owner in owners for p in owner.parameters()], "weight_decay": decay},
        # What a rule learns is no representation: decay would pull it to its start.
        {"params": list(step.balancer.parameters()), "weight_decay": 0.0},
    ]
    if settings.optimizer == "row-adam":
        tables = step.collector.tables
        owned = {id(table) for table in tables.values()}
        groups[0]["params"] = [p for p in groups[0]["params"] if id(p) not in owned]
        optimizer = RowAdam(tables, groups, lr=settings.lr, weight_decay=decay)
        optimizer.watch(step.collector)
        return optimizer
    decoupled = settings.optimizer == "adamw"
    return (torch.optim.AdamW if decoupled else torch.optim.Adam)(
        [group for group in groups if group["params"]], lr=settings.lr, fused=True
    )


def _moved(data: HeteroData, device: torch.device) -> HeteroData:
    # `to` works in place, and the split also serves baselines, which stay on the CPU.
    moved: HeteroData = copy(data).to(str(device))
    return moved


def _encoder(settings: Settings) -> Encoder:
    cls = named_class("nn.encoders", settings.encoder)
    options = parse_options(settings.encoder_options, "encoder_options")
    check_options(options, cls, cls.__name__)
    for name, flag in (("dim", "--dim"), ("num_layers", "--layers")):
        if name in options:
            raise InputError(f"'{name}' of '{cls.__name__}' is set by '{flag}': pass that instead")
    check_values(options, cls, cls.__name__)
    offered = {
        "dim": settings.dim,
        "num_layers": settings.layers,
        "laplacian": "authors" if settings.protocol == "authors" else "paper",
        "generator": generator(settings, torch.device("cpu"), 2),
    }
    encoder: Encoder = build(cls, **{**offered, **options})
    return encoder


def _task(name: str, settings: Settings, data: HeteroData) -> Task:
    options = {
        option.removeprefix(f"{name}.")
        for option in settings.task_options
        if option.startswith(f"{name}.")
    }
    given = parse_options(sorted(options), "task_options")
    try:
        task = task_from_name(name, data, **given)
    except TypeError as error:  # a word stands where a number should
        raise InputError(
            f"task '{name}' cannot be made of --task-options {' '.join(sorted(options))}: {error}"
        ) from error
    check_values(given, type(task), name)  # a word may also pass for true
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


def _balancer(
    name: str, settings: Settings, tasks: Mapping[str, Task] | Mapping[str, PredictionTask]
) -> Balancer:
    rule = named_class("balancing", name)
    options = {}
    if name == settings.balancer:  # what a run compares with has no options
        options = parse_options(settings.balancer_options, "balancer_options")
        if settings.scope != "table":
            options.setdefault("scope", settings.scope)
    check_options(options, rule, rule.__name__)
    check_values(options, rule, rule.__name__)
    offered = {
        "alpha": settings.alpha,
        "tau": settings.tau,
        "mask_inactive": settings.mask_inactive,
        "scale": settings.scale,
        "seed": settings.seed,
        "num_tasks": len(tasks),
        "regression": [isinstance(task, (RatingRegression, Regression)) for task in tasks.values()],
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
