"""One arm of a run with a head: tables, encoder, head and rule, trained from the run's seed."""

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.gradients import PredictionCollector
from pyg_mtrec.loader import BehaviourSequences, ImpressionLoader
from pyg_mtrec.nn import Adjacency, FieldEmbedding, NodeEmbedding, Predictor
from pyg_mtrec.nn.bottoms import Bottom
from pyg_mtrec.nn.heads import Head
from pyg_mtrec.tasks import Classification, PredictionTask, Regression
from pyg_mtrec.training._arm import _balancer, _encoder, _moved, optimizer_of
from pyg_mtrec.training._data import generator
from pyg_mtrec.training._impressions import ImpressionData
from pyg_mtrec.training._named import build, named_class
from pyg_mtrec.training._options import check_options, check_values, parse_options
from pyg_mtrec.training.multi_task_step import MultiTaskStep
from pyg_mtrec.training.settings import Settings
from pyg_mtrec.training.trainer import Trainer
from pyg_mtrec.transforms import NormalizedAdjacency

METRICS = {
    "binary": ("auc", "log_loss", "calibration_error"),
    "continuous": (
        "rmse",
        "mae",
        "nrmse_std",
        "nmae_mean",
        "spearman",
        "gini",
        "r2",
        "calibration_error",
    ),
}
_ROWS = 8192  # of an evaluation at once


class PredictorArm:
    r"""What is trained: built from settings, so that arms differ in head and rule only."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        head: str,
        balancer: str,
        data: ImpressionData,
        device: torch.device,
    ) -> None:
        self.name, self.settings, self.data, self.device = name, settings, data, device
        train = _moved(data.train, device)
        draws = generator(settings, device, 1)
        self.sequences = None
        if data.behaviours:
            self.sequences = BehaviourSequences(train, data.behaviours, settings.sequence_length)
        self.loader = ImpressionLoader(train, settings.batch_size, draws, sequences=self.sequences)
        self.model = self._model(train, head).to(device)
        self.tasks = {target: _task(target, settings, data).to(device) for target in data.in_order}
        self.adj_dict = self._adj_dict(train)
        self.step = MultiTaskStep(
            PredictionCollector(self.model, self.tasks, data.columns, at=settings.at),
            _balancer(balancer, settings, self.tasks).to(device),
            self.adj_dict,
        )

    def trainer(self, evaluate: Callable[[], Mapping[str, float]], **kwargs: Any) -> Trainer:
        r"""Returns the trainer; ``kwargs`` are its checkpoint, history and the like."""
        return Trainer(
            self.step,
            self.loader,
            optimizer_of(self.settings, [self.model], self.step),
            evaluate,
            select=select_metric(self.settings, self.data),
            epochs=self.settings.epochs,
            patience=self.settings.patience,
            title=self.name,
            **kwargs,
        )

    @torch.no_grad()
    def predict(self, split: HeteroData) -> dict[str, Tensor]:
        r"""Predicts a split's impressions: probabilities, and values in the targets' own units."""
        self.model.eval()
        moved = _moved(split, self.device)
        loader = ImpressionLoader(moved, _ROWS, shuffle=False, sequences=self.sequences)
        rows = self.model.represent(self.adj_dict)
        found: dict[str, list[Tensor]] = {name: [] for name in self.data.targets}
        for start in range(0, loader.num_impressions, _ROWS):
            predictions = self.model.predict_from(rows, loader.whole(start, start + _ROWS))
            for name, parts in found.items():
                parts.append(self.tasks[name].predict(predictions[name]).cpu())
        return {name: torch.cat(parts) for name, parts in found.items()}

    def state(self) -> dict[str, Any]:
        r"""Returns what :meth:`load` needs to predict as this arm does now."""
        return {
            "model": self.model.state_dict(),
            "tasks": {name: task.state_dict() for name, task in self.tasks.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        r"""Takes the weights of a saved arm."""
        self.model.load_state_dict(state["model"])
        for name, task in self.tasks.items():
            task.load_state_dict(state["tasks"][name])

    def num_parameters(self) -> dict[str, int]:
        r"""Returns how many numbers are learned, in tables and outside of them."""
        tables = sum(table.numel() for table in self.model.tables.values())
        return {
            "tables": tables,
            "other": sum(p.numel() for p in self.model.parameters()) - tables,
        }

    def _model(self, train: HeteroData, head: str) -> Predictor:
        settings = self.settings
        embedding = NodeEmbedding.from_data(train, settings.dim, seed=settings.seed)
        encoder = None if settings.encoder == "mf" else _encoder(settings)
        fields, dim = None, settings.dim
        if settings.bottom is not None and encoder is not None:
            dim = encoder.out_dim(dim)  # a bottom reads rows of one width
        if self.loader.categorical_names or self.loader.numeric_names:
            rows = self.loader.whole()
            draws = generator(settings, torch.device("cpu"), 4)
            fields = FieldEmbedding.from_columns(rows.categorical, rows.numeric, dim, draws)
        width, bottom = Predictor.width(embedding, fields, encoder), None
        if settings.bottom is not None:
            bottom = _bottom(settings, self.data, *Predictor.shape(embedding, fields, encoder))
            width = bottom.out_dim
        made = _head(head, width, settings, self.data)
        return Predictor(made, embedding, fields, encoder, bottom)

    def _adj_dict(self, data: HeteroData) -> Mapping[Any, Adjacency]:
        if self.model.encoder is None:
            return {}
        return Adjacency.dict_from(NormalizedAdjacency()(copy(data)))


def select_metric(settings: Settings, data: ImpressionData) -> str:
    r"""Returns the validation metric that selects the epoch.

    Raises:
        InputError: If it is none of a target's metrics.
    """
    if "/" in settings.select_metric:
        target, _, name = settings.select_metric.rpartition("/")
        kind = data.targets.get(target)
        if kind is None or name not in METRICS[kind]:
            names = ", ".join(METRICS.get(kind or "", ()))
            found = f"a metric of '{target}', {names}" if kind else ", ".join(data.targets)
            raise InputError(
                f"'select_metric' needs TARGET/METRIC with {found} (got '{settings.select_metric}')"
            )
        return settings.select_metric
    kind = data.targets[data.core]
    return f"{data.core}/{'log_loss' if kind == 'binary' else 'rmse'}"


def _head(name: str, width: int, settings: Settings, data: ImpressionData) -> Head:
    cls = named_class("nn.heads", name)
    options = {}
    if name == settings.head:  # what a run compares with has no options
        options = parse_options(settings.head_options, "head_options")
    check_options(options, cls, cls.__name__)
    for taken in ("in_dim", "targets", "generator"):
        if taken in options:
            raise InputError(f"'{taken}' of '{cls.__name__}' follows from the run: leave it out")
    check_values(options, cls, cls.__name__)
    draws = generator(settings, torch.device("cpu"), 5)
    offered = {"in_dim": width, "targets": data.targets, "generator": draws}
    head: Head = build(cls, **{**offered, **options})
    return head


def _bottom(settings: Settings, data: ImpressionData, num_fields: int, dim: int) -> Bottom:
    cls = named_class("nn.bottoms", str(settings.bottom))
    options = parse_options(settings.bottom_options, "bottom_options")
    check_options(options, cls, cls.__name__)
    offered = {
        "dim": dim,
        "num_fields": num_fields,
        "targets": data.targets,
        "behaviours": data.behaviours,
        "generator": generator(settings, torch.device("cpu"), 6),
    }
    for taken in offered:
        if taken in options:
            raise InputError(f"'{taken}' of '{cls.__name__}' follows from the run: leave it out")
    check_values(options, cls, cls.__name__)
    bottom: Bottom = build(cls, max_len=settings.sequence_length, **{**offered, **options})
    return bottom


def _task(target: str, settings: Settings, data: ImpressionData) -> PredictionTask:
    given = [
        option.removeprefix(f"{target}.")
        for option in settings.target_options
        if option.startswith(f"{target}.")
    ]
    for option in settings.target_options:
        owner, dot, _ = option.partition("=")[0].partition(".")
        if not dot or owner not in data.targets:
            raise InputError(
                "'target_options' needs TARGET.NAME=VALUE with one of the targets"
                f" {', '.join(data.targets)} (got '{option}')"
            )
    options = parse_options(given, "target_options")
    label = data.label("train", target)
    if data.targets[target] == "binary":
        check_options(options, Classification, "Classification")
        return Classification(target)
    check_options(options, Regression.from_labels, "Regression")
    return Regression.from_labels(target, label, **options)
