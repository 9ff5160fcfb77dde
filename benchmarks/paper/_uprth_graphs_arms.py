"""Arms of the UPRTH benchmark on other graphs, what each may choose from, and how it is built."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from benchmarks.paper._runs import SELECT, arm_of, search_evaluator
from pyg_mtrec.training import Settings
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import SplitData
from pyg_mtrec.training._first_stage import pretrain
from pyg_mtrec.training._plans import Plan
from pyg_mtrec.training._stages import has_two_stages
from pyg_mtrec.training.experiment import resolve_device
from pyg_mtrec.transforms import AddTaskHypergraphs

WHOLE = 10_000_000  # a batch size: every interaction is in the one step of an epoch
PENALTY = 0.03  # of every pretext task, on means over rows: what was best on Steam
HEAVIER = 4.0  # weight of an auxiliary task beside the alignment, which was the best on Steam


@dataclass(frozen=True)
class Preset:
    """How a data set is run; the same for every arm.

    Args:
        tasks: The relations as tasks beside BPR.
        pretext: The same relations as pretext tasks beside the alignment.
        dim: Width of the tables.
        epochs: Of finetuning, or of the only stage, at most.
        patience: Epochs without a gain before stopping.
        valid_users: Users in the validation sample of every epoch.
        pretrain_epochs: Steps of pretraining at most, each over all edges.
        ease_l2: Ridges of EASE.
        trials: Of every trained arm.
        lr: Learning rates of finetuning, or of the only stage.
        batch_size: Interactions per step of finetuning, or of the only stage.
        layers: Of LightGCN.
        rungs: Epoch to the share of the best trial so far below which a trial stops.
    """

    tasks: tuple[str, ...]
    pretext: tuple[str, ...]
    dim: int
    epochs: int
    patience: int
    valid_users: int
    pretrain_epochs: tuple[int, ...]
    ease_l2: tuple[float, ...]
    trials: int
    lr: tuple[float, ...]
    batch_size: int = WHOLE
    layers: int = 3
    rungs: dict[int, float] = field(default_factory=dict)


DECAYS = [1e-8, 1e-7, 1e-6]  # of a mean over all interactions, so far smaller than in small steps
PRESETS = {
    "epinions": Preset(
        ("social", "same-category"),
        ("hyperedge-trusts", "hyperedge-category"),
        dim=32,
        epochs=50,
        patience=15,
        valid_users=1000,
        pretrain_epochs=(10, 30),
        ease_l2=(100.0, 300.0),
        trials=6,
        lr=(0.1, 0.2),
        rungs={20: 0.75},
    ),
    "amazon-video-games-2014": Preset(
        ("also-bought", "also-viewed", "same-category"),
        ("hyperedge-also-bought", "hyperedge-also-viewed", "hyperedge-category"),
        dim=64,
        epochs=100,
        patience=20,
        valid_users=2000,
        pretrain_epochs=(10, 50),
        ease_l2=(30.0, 100.0, 300.0, 1000.0),
        trials=6,
        lr=(0.05, 0.1),
        rungs={30: 0.75},
    ),
    # For the smoke test: no files are needed.
    "planted": Preset(
        ("social", "also-viewed", "also-bought"),
        ("hyperedge-trusts", "hyperedge-also-viewed", "hyperedge-also-bought"),
        dim=8,
        epochs=2,
        patience=2,
        valid_users=200,
        pretrain_epochs=(1, 2),
        ease_l2=(100.0, 300.0),
        trials=2,
        lr=(0.05, 0.1),
    ),
}


@dataclass(frozen=True)
class GraphArm:
    """What is trained.

    Args:
        name: Its name here.
        joint: Whether the relations are tasks of the only stage, beside BPR.
        rule: Of pretraining, :obj:`None` for none.
        finetune: Encoder of the second stage, :obj:`None` for UPRTH's own convolution.
    """

    name: str
    joint: bool = False
    rule: str | None = None
    finetune: str | None = "lightgcn"

    def __str__(self) -> str:
        return self.name

    def space(self, dataset: str) -> dict[str, list[Any]]:
        """What validation chooses from."""
        preset = PRESETS[dataset]
        shared: dict[str, list[Any]] = {"lr": list(preset.lr), "weight_decay": DECAYS}
        if self.rule is not None:
            return {**shared, "pretrain_epochs": list(preset.pretrain_epochs)}
        # Where an auxiliary task takes its batches from is the joint training's own choice.
        return {**shared, **({"auxiliary": ["anchored", "own"]} if self.joint else {})}

    def settings(self, dataset: str, root: str | None, params: dict[str, Any]) -> Settings:
        """The settings of a run of ``pyg-mtrec train``."""
        preset = PRESETS[dataset]
        settings = Settings(
            dataset=dataset,
            root=root,
            encoder="lightgcn",
            dim=preset.dim,
            layers=preset.layers,
            tasks=["bpr", *(preset.tasks if self.joint else ())],
            balancer="sum",
            batch_size=preset.batch_size,
            epochs=preset.epochs,
            patience=preset.patience,
            valid_users=preset.valid_users,
            threads=1,
            **params,
        )
        if self.rule is None:
            return settings
        tasks = ["alignment", *preset.pretext]
        weights = ",".join(map(str, [1.0, *[HEAVIER] * len(preset.pretext)]))
        return replace(
            settings,
            encoder="uprth",
            finetune=self.finetune,
            tasks=tasks,
            task_options=[f"{task}.l2={PENALTY}" for task in tasks],
            balancer=self.rule,
            balancer_options=[f"weights={weights}"] if self.rule == "constant" else [],
        )


ARMS = {
    arm.name: arm
    for arm in (
        GraphArm("lightgcn"),
        GraphArm("joint", joint=True),
        GraphArm("uprth-sum", rule="sum"),
        GraphArm("uprth-auxiliary", rule="constant"),
        GraphArm("uprth-own", rule="sum", finetune=None),
    )
}


def with_hypergraphs(data: SplitData) -> SplitData:
    """The split with task hypergraphs of the relations that the joint training has as well.

    Bins of the items' mean ratings would be one more, so they are left out.
    """
    add = AddTaskHypergraphs(rating_bins=False)
    return replace(data, train=add(data.train), val=add(data.val), test=add(data.test))


class Build:
    """Builds the arm that is trained on validation, its tables pretrained if it has two stages.

    Pretrained tables are kept for the next trials, which may differ in the second stage only.

    Args:
        keep: How many tables.
    """

    def __init__(self, keep: int = 4) -> None:
        self.keep = keep
        self.kept: OrderedDict[str, tuple[Mapping[str, Tensor], dict[str, Any]]] = OrderedDict()

    def __call__(
        self, settings: Settings, data: SplitData, device: str
    ) -> tuple[Arm, dict[str, Any]]:
        """Returns the arm, and what its record says of pretraining."""
        if not has_two_stages(settings):
            return arm_of(settings, data, device), {}
        data = replace(data, tasks=settings.tasks)
        plan = Plan(settings.balancer, settings.tasks, settings.balancer)
        rows, said = self._first(plan, settings, data, device)
        arm = plan.last_stage(settings, data, resolve_device(device))
        arm.start_from(rows)
        start = search_evaluator(arm.settings, data)(arm.scorer()).metrics[SELECT]
        return arm, {"pretraining": {**said, "start": start}}

    def _first(
        self, plan: Plan, settings: Settings, data: SplitData, device: str
    ) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        second = {"lr": 0.0, "weight_decay": 0.0, "finetune": None}
        key = repr(replace(settings, **second))
        if key not in self.kept:
            first = plan.first_stage(settings, data, resolve_device(device))
            assert first is not None  # this run has two stages
            said = pretrain(first, settings.balancer, resume=False, progress=False)
            self.kept[key] = first.carried(), said
            while len(self.kept) > self.keep:
                self.kept.popitem(last=False)
        return self.kept[key]
