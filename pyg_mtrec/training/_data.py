"""From settings to a split graph with its provenance."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch_geometric.data import HeteroData

from pyg_mtrec import datasets
from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import Scorer
from pyg_mtrec.tasks._resolve import task_names
from pyg_mtrec.training._named import named_class
from pyg_mtrec.training._options import check_options, check_values, parse_options
from pyg_mtrec.training._stages import HYPERGRAPH_ENCODER, needs_hypergraphs
from pyg_mtrec.training.settings import Settings
from pyg_mtrec.transforms import AddTaskHypergraphs, PermuteIds, SplitInteractions
from pyg_mtrec.transforms._split_options import ValFrom
from pyg_mtrec.transforms.split_interactions import MessageEdges, Strategy

MAIN = ("user", "interacts", "item")


@dataclass
class SplitData:
    r"""A data set, split, and what a result has to say of it."""

    train: HeteroData
    val: HeteroData
    test: HeteroData
    tasks: list[str]
    strategy: str
    provenance: dict[str, Any] = field(default_factory=dict)
    oracle: Scorer | None = None


def load_data(settings: Settings) -> SplitData:
    r"""Loads, permutes and splits the data set that the settings name."""
    dataset: Any = None
    if settings.interactions is not None:
        data, tasks, strategy, provenance = _from_tables(settings)
    else:
        module = settings.dataset.replace("-", "_")
        dataset = open_dataset(module, settings.root, **dataset_options(settings, module))
        data, tasks = dataset[0], list(dataset.default_tasks)
        strategy = dataset.default_split
        provenance = {
            "name": module.replace("_", "-"),
            "sha256": dataset.raw_sha256,
            "known": dataset.known,
            "report": dataset.report,
        }
    if settings.split == "time" and getattr(dataset, "time_is_position", False):
        raise InputError(
            f"'time' of '{settings.dataset}' is a position in each user's own history, which no"
            " common moment can split: take '--split leave-last-out' or 'random'"
        )
    data = PermuteIds(seed=settings.seed)(data)
    oracle = dataset.oracle(data) if hasattr(dataset, "oracle") else None
    strategy = settings.split or strategy
    on_test = strategy == "given" and settings.protocol != "split"
    val_from = getattr(dataset, "default_val_from", "train")
    split = SplitInteractions(
        strategy=cast(Strategy, strategy),
        seed=settings.seed,
        message_edges=cast(MessageEdges, settings.message_edges),
        val_fraction=0.0 if on_test else None,
        val_from=cast(ValFrom, val_from if strategy == "given" and not on_test else "train"),
    )
    train, val, test = split(data)
    if needs_hypergraphs(settings):
        # Each of its own message edges; these are the same in all three unless the settings differ.
        train, val, test = (AddTaskHypergraphs()(graph) for graph in (train, val, test))
        if settings.encoder == HYPERGRAPH_ENCODER:
            tasks = _pretext_tasks(settings, train)
    if on_test:
        val = test  # as these papers did; the result says so
    return SplitData(train, val, test, settings.tasks or tasks, strategy, provenance, oracle)


def _pretext_tasks(settings: Settings, train: HeteroData) -> list[str]:
    tasks = [name for name in task_names(train) if name.startswith("hyperedge-")]
    if not (tasks or settings.tasks) and settings.pretrain_epochs > 0:
        raise InputError(
            f"encoder '{HYPERGRAPH_ENCODER}' pretrains on task hypergraphs, and this data has"
            " nothing but interactions to make them of: name other tasks, as '--tasks"
            " alignment-uniformity', or pass '--pretrain-epochs 0'"
        )
    return ["alignment", *tasks]


def open_dataset(module: str, root: str | None, **kwargs: Any) -> Any:
    r"""Opens the data set of a module name under ``root/module``."""
    cls = named_class("datasets", module)
    if root is not None and not Path(root).is_dir():
        raise InputError(f"'--root' needs to be a folder (found none at '{root}')")
    if root is None and module != "planted":
        raise InputError(
            f"data set '{module.replace('_', '-')}' needs a folder: pass '--root DIR' with raw"
            f" files in DIR/{module}/raw, or an empty one to download them into"
        )
    return cls(None if root is None else str(Path(root) / module), **kwargs)


def dataset_options(settings: Settings, module: str) -> dict[str, Any]:
    r"""Returns the further arguments of the data set, checked."""
    cls = named_class("datasets", module)
    options = parse_options(settings.dataset_options, "dataset_options")
    check_options(options, cls, cls.__name__)
    for name in ("root", "transform", "pre_transform", "force_reload"):
        if name in options:
            raise InputError(f"'{name}' is none of '--dataset-options': leave it out")
    check_values(options, cls, cls.__name__)
    return options


def _from_tables(settings: Settings) -> tuple[HeteroData, list[str], str, dict[str, Any]]:
    data = datasets.from_tables(
        settings.interactions, social=settings.social, item_groups=settings.item_groups
    )
    tasks = ["bpr"]
    if settings.social is not None:
        tasks.append("social")
    if settings.item_groups is not None:
        tasks.append("same-category")
    paths = [settings.interactions, settings.social, settings.item_groups]
    hashes = {Path(p).name: _sha256(Path(p)) for p in paths if p is not None}
    provenance = {
        "name": Path(str(settings.interactions)).stem,
        "sha256": hashes,
        "known": False,
        "report": getattr(data, "report", {}),
    }
    return data, tasks, "random", provenance


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def generator(settings: Settings, device: torch.device, stream: int) -> torch.Generator:
    r"""Returns the generator of one purpose: streams of a seed do not meet."""
    return torch.Generator(device=device).manual_seed(settings.seed * 1000 + stream)
