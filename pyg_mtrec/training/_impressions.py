"""From settings to a split log of impressions with its targets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch_geometric.data import HeteroData

from pyg_mtrec import datasets
from pyg_mtrec._errors import InputError
from pyg_mtrec.tasks.prediction_task import Kind
from pyg_mtrec.training._data import MAIN, _sha256, dataset_options, open_dataset
from pyg_mtrec.training._named import named_class
from pyg_mtrec.training.settings import Settings
from pyg_mtrec.transforms import AddBehaviours, DrawImpressions, SplitImpressions
from pyg_mtrec.transforms._split_options import Behaviours
from pyg_mtrec.transforms.split_impressions import Strategy


@dataclass
class ImpressionData:
    r"""A log of impressions, split, and what a result has to say of it."""

    train: HeteroData
    val: HeteroData
    test: HeteroData
    targets: dict[str, str]
    core: str
    strategy: str
    provenance: dict[str, Any] = field(default_factory=dict)
    oracle: Any = None
    behaviours: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        r"""The targets whose labels the log holds, in the order of their columns."""
        return list(self.train[MAIN].edge_label_names)

    @property
    def in_order(self) -> list[str]:
        r"""The targets that are learned, the core target first: rules look there for it."""
        return [self.core, *(name for name in self.targets if name != self.core)]

    def label(self, split: str, target: str) -> torch.Tensor:
        r"""Returns a target's labels :math:`[n]` in a split."""
        store = getattr(self, split)[MAIN]
        label: torch.Tensor = store.edge_label[:, self.columns.index(target)]
        return label

    def labels(self, split: str) -> torch.Tensor:
        r"""Returns the labels :math:`[n, T]` of all targets that are learned, in a split."""
        return torch.stack([self.label(split, target) for target in self.targets], dim=1)


def load_impressions(settings: Settings) -> ImpressionData:
    r"""Loads and splits the log that the settings name, and checks its targets."""
    dataset: Any = None
    default: list[str] | None = None
    if settings.interactions is not None:
        data, provenance = _from_tables(settings)
        strategy = "time" if "time" in data[MAIN] else "random"
    else:
        module = settings.dataset.replace("-", "_")
        options: dict[str, Any] = {"targets": "hybrid"} if module == "planted" else {}
        options |= dataset_options(settings, module)
        cls = named_class("datasets", module)
        if hasattr(cls, "target_choices") and "targets" not in options:
            wanted = [*(settings.targets or cls.default_targets), *_singular(settings, cls)]
            options["targets"] = tuple(dict.fromkeys(wanted))
            default = None if settings.targets else list(cls.default_targets)
        dataset = open_dataset(module, settings.root, **options)
        data, strategy = dataset[0], "time"
        if hasattr(cls, "behaviour_targets") and "target" not in data[MAIN]:
            data, strategy = (
                DrawImpressions(cls.behaviour_targets, seed=settings.seed)(data),
                "given",
            )
        provenance = {
            "name": settings.dataset,
            "sha256": dataset.raw_sha256,
            "known": dataset.known,
            "report": dataset.report,
        }
    if "target" not in data[MAIN]:
        raise InputError(
            f"'{provenance['name']}' has no targets that a head could predict: take a data set of"
            " impressions such as 'kuairand-slice', or name columns with '--targets'"
        )
    kinds = dict(zip(data[MAIN].target_names, data[MAIN].target_kinds, strict=True))
    chosen = settings.targets or default or kinds
    targets = {name: kinds[_known(name, kinds, "targets")] for name in chosen}
    core = settings.core_target or list(targets)[-1]
    _known(core, targets, "core_target")
    behaviours: list[str] = []
    if settings.bottom is not None:
        data, behaviours = with_behaviours(settings, data)
    strategy = settings.split or strategy
    if strategy not in ("time", "random", "given"):
        raise InputError(
            f"'split' of a run with a head needs to be 'time' or 'random' (got '{strategy}')"
        )
    # A bottom shows an event only to impressions that come later, whichever part it lies in.
    shown = behaviours or strategy == "given" or getattr(dataset, "relevance", None)
    keep: Behaviours = "keep" if shown else "drop"
    split = SplitImpressions(cast(Strategy, strategy), seed=settings.seed, behaviours=keep)
    train, val, test = split(data)
    oracle = getattr(dataset, "target_oracle", None)
    out = ImpressionData(train, val, test, targets, core, strategy, provenance, oracle, behaviours)
    for name in targets:
        _check_labels(out, name)
    return out


def with_behaviours(settings: Settings, data: HeteroData) -> tuple[HeteroData, list[str]]:
    r"""Returns the graph with the behaviours that a bottom reads, and their names."""
    timed = [
        name
        for src, name, dst in data.edge_types
        if (src, dst) == ("user", "item") and name != MAIN[1] and "time" in data[src, name, dst]
    ]
    columns = zip(data[MAIN].target_names, data[MAIN].target_kinds, strict=True)
    made = {f"{name}s": name for name, kind in columns if kind == "binary"}
    names = settings.behaviours or timed or list(made)
    unknown = [name for name in names if name not in timed and name not in made]
    if unknown or not names:
        known = ", ".join(dict.fromkeys([*timed, *made])) or "none"
        raise InputError(
            f"'behaviours' needs names of timed behaviours of the data, {known}"
            f" (got {repr(unknown[0]) if unknown else 'none'})"
        )
    missing = {made[name]: name for name in names if name not in timed}
    return (AddBehaviours(missing)(data) if missing else data), names


def _singular(settings: Settings, cls: Any) -> list[str]:
    r"""Returns the targets that behaviours are made of, beside those that are learned."""
    choices = cls.target_choices()
    return [name[:-1] for name in settings.behaviours if name[:-1] in choices]


def _known(name: str, known: dict[str, str], setting: str) -> str:
    if name not in known:
        raise InputError(
            f"'{setting}' needs to name targets of the data, {', '.join(known)} (got '{name}')"
        )
    return name


def _check_labels(data: ImpressionData, target: str) -> None:
    for split in ("train", "val", "test"):
        label = data.label(split, target)
        known = label[~label.isnan()]
        if known.numel() == 0:
            raise InputError(
                f"target '{target}' has no label in the {split} split: leave it out of '--targets'"
            )


def _from_tables(settings: Settings) -> tuple[HeteroData, dict[str, Any]]:
    path = str(settings.interactions)
    if not settings.targets:
        raise InputError("a head on '--interactions' needs '--targets' with names of its columns")
    data = datasets.from_tables(
        path,
        social=settings.social,
        item_groups=settings.item_groups,
        targets=_kinds(path, settings.targets),
        categorical=settings.categorical,
        numeric=settings.numeric,
        user_features=settings.user_features,
        item_features=settings.item_features,
    )
    files = [path, settings.social, settings.item_groups]
    files += [settings.user_features, settings.item_features]
    return data, {
        "name": Path(path).stem,
        "sha256": {Path(p).name: _sha256(Path(p)) for p in files if p is not None},
        "known": False,
        "report": getattr(data, "report", {}),
    }


def _kinds(path: str, columns: list[str]) -> dict[str, Kind]:
    r"""Returns ``"binary"`` for columns of zeros and ones, ``"continuous"`` for others."""
    import pandas as pd

    sep = "\t" if path.endswith(".tsv") else ","
    there = pd.read_csv(path, sep=sep, nrows=0).columns
    for name in columns:
        if name not in there:
            raise InputError(f"'{path}' has no column '{name}', which '--targets' names")
    table = pd.read_csv(path, sep=sep, usecols=columns)
    return {
        name: "binary" if table[name].dropna().isin([0, 1]).all() else "continuous"
        for name in columns
    }
