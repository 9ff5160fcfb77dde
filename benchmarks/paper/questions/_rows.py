"""What a question compares: data sets, the parameters of an arm, and one row of its table."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.paper._cells import PRESETS, Cell
from benchmarks.paper._runs import best_params
from pyg_mtrec.balancing import Balancer
from pyg_mtrec.tasks import Task
from pyg_mtrec.training import Settings
from pyg_mtrec.training._data import SplitData

SINGLE = "single task"
Change = Callable[[SplitData, torch.Generator], SplitData]
TaskMaker = Callable[[], Task]
Wrap = Callable[[Any], Balancer]
Reference = tuple[str, str]  # condition and arm of another row
_HIDDEN = ("root", "out", "threads", "device")  # where it ran is nobody's business


@dataclass(frozen=True)
class Data:
    """How a data set is run, and what it offers beside the interactions.

    Args:
        tasks: All tasks, the main one first.
        kinds: Kind of auxiliary task to the task of that kind.
        lr: Learning rate where no search found one.
        weight_decay: Weight decay where no search found one.
        epochs: The largest number of epochs.
        patience: Epochs without a gain before stopping.
        valid_users: Users in the validation sample of every epoch.
    """

    tasks: tuple[str, ...]
    kinds: dict[str, str]
    lr: float
    weight_decay: float
    epochs: int
    patience: int
    valid_users: int


def _of_preset(name: str, kinds: dict[str, str], lr: float, weight_decay: float) -> Data:
    preset = PRESETS[name]
    return Data(
        preset.tasks, kinds, lr, weight_decay, preset.epochs, preset.patience, preset.valid_users
    )


_REGULARISER = {"regulariser": "alignment-uniformity"}
_RATING = {"rating": "rating-regression"}
_SOCIAL = {"social links": "social"}
_GROUP = {"group": "same-category"}
_VIDEO_GAMES = next(name for name in PRESETS if name.startswith("amazon-video-games"))
DATA = {
    "amazon-office": _of_preset("amazon-office", {**_RATING, **_REGULARISER}, 0.005, 1e-4),
    _VIDEO_GAMES: _of_preset(
        _VIDEO_GAMES,
        {
            "also-viewed links": "also-viewed",
            "also-bought links": "also-bought",
            **_GROUP,
            **_REGULARISER,
        },
        0.005,
        1e-5,
    ),
    "epinions": _of_preset(
        "epinions", {**_SOCIAL, **_GROUP, **_RATING, **_REGULARISER}, 0.005, 1e-6
    ),
    # Its rating is a play count of up to 324,660, which no dot product of 32 columns regresses on.
    "lastfm": Data(
        ("bpr", "social", "alignment-uniformity"),
        {**_SOCIAL, **_REGULARISER},
        0.005,
        1e-5,
        epochs=100,
        patience=10,
        valid_users=2000,
    ),
    "planted": Data(
        ("bpr", "social", "also-viewed", "also-bought"),
        {
            "informative links": "social",
            "weak links": "also-viewed",
            "misleading links": "also-bought",
            **_REGULARISER,
        },
        0.01,
        1e-4,
        epochs=100,
        patience=10,
        valid_users=2000,
    ),
}
# PMTRec's where no search found them, and the decay that does not pass through the gradient.
DEFAULTS = {"alpha": 1.06, "tau": 1e-3}
DECOUPLED_DECAY = 0.1


@dataclass(frozen=True)
class Row:
    """One row of a table: what is trained, on what, and what it is held against.

    Args:
        condition: What the question varies.
        arm: The rule, or the single task.
        settings: The run's settings, but for the seed.
        parameters: Where learning rate, weight decay and the rule's own parameters come from.
        against: Label to the row that this one is held against.
        change: Of the split, drawn anew under every seed.
        extra_tasks: Name to what makes a task that has no name of its own.
        wrap: Puts another rule in the place of the settings' rule.
        eps_factor: Of Adam's epsilon.
        weight_decays: Of which the best on validation is taken (none: the settings' own).
        by_history: Whether users are also compared by the length of their history.
    """

    condition: str
    arm: str
    settings: Settings
    parameters: str
    against: dict[str, Reference] = field(default_factory=dict)
    change: Change | None = None
    extra_tasks: tuple[tuple[str, TaskMaker], ...] = ()
    wrap: Wrap | None = None
    eps_factor: float = 1.0
    weight_decays: tuple[float, ...] = ()
    by_history: bool = False

    @property
    def key(self) -> Reference:
        """How other rows refer to this one."""
        return self.condition, self.arm

    @property
    def folder(self) -> str:
        """The name of its folder."""
        parts = [
            re.sub(r"[^\w.=+-]+", "-", part, flags=re.ASCII).strip("-")
            for part in (self.condition, self.arm)
        ]
        return ".".join(parts)

    @property
    def tasks(self) -> list[str]:
        """The names of all its tasks."""
        return [*self.settings.tasks, *(name for name, _ in self.extra_tasks)]

    def identity(self) -> dict[str, Any]:
        """Everything that decides a run but for the seed: a run of another identity is stale."""
        settings = {k: v for k, v in asdict(self.settings).items() if k not in (*_HIDDEN, "seed")}
        content = {
            "settings": settings,
            "change": _said(self.change),
            "extra_tasks": [name for name, _ in self.extra_tasks],
            "rule": _said(self.wrap),
            "eps_factor": self.eps_factor,
        }
        return dict(json.loads(json.dumps(content)))

    def at(self, weight_decay: float) -> "Row":
        """The row with another weight decay."""
        return replace(self, settings=replace(self.settings, weight_decay=weight_decay))


@dataclass(frozen=True)
class Setup:
    """A data set and where its runs and searches lie.

    Args:
        dataset: The data set.
        root: The folder of the data sets.
        work: The data set's work folder: searches lie in it, a question's runs under
            ``questions/NAME``.
        smoke: One epoch of everything.
        weight_decays: Tried for every row on validation (none: what the searches found).
        sweep_seeds: The seeds under which they are tried.
        device: Where to train.
    """

    dataset: str
    root: str | None
    work: Path
    smoke: bool = False
    weight_decays: tuple[float, ...] = ()
    sweep_seeds: tuple[int, ...] = (0,)
    device: str = "cpu"

    @property
    def data(self) -> Data:
        """How the data set is run."""
        data = DATA[self.dataset]
        return replace(data, epochs=1, valid_users=200) if self.smoke else data

    def params(self, rule: str, single: bool = False) -> tuple[dict[str, Any], str]:
        """Learning rate and the like of a rule, and where they come from."""
        cell = Cell("mf", "bpr" if single else "all", rule)
        found = best_params(cell, self.work / str(cell))
        if found is not None:
            return found, f"search of {cell}"
        params: dict[str, Any] = {"lr": self.data.lr, "weight_decay": self.data.weight_decay}
        if rule.endswith("-adamw"):
            params["weight_decay"] = DECOUPLED_DECAY
        if cell.balancer == "pmtrec":
            params |= DEFAULTS
        return params, "defaults"

    def row(
        self,
        condition: str,
        arm: str,
        rule: str,
        tasks: Sequence[str] | None = None,
        changes: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Row:
        """Makes a row.

        Args:
            condition: What the question varies.
            arm: What stands for the rule.
            rule: The rule of the cell whose search is taken, such as ``"pmtrec"`` or
                ``"sum-adamw"``.
            tasks: The tasks (default: all of the data set).
            changes: Settings that differ from what the search found.
            **kwargs: Further fields of the row.
        """
        tasks = self.data.tasks if tasks is None else tasks
        single = len(tasks) + len(kwargs.get("extra_tasks", ())) == 1
        params, parameters = self.params(rule, single)
        settings = Settings(
            dataset=self.dataset,
            root=self.root,
            encoder="mf",
            tasks=list(tasks),
            balancer=Cell("mf", "all", rule).balancer,
            optimizer="adamw" if rule.endswith("-adamw") else "adam",
            epochs=self.data.epochs,
            patience=self.data.patience,
            valid_users=self.data.valid_users,
            threads=1,
            **params,
        )
        kwargs.setdefault("weight_decays", self.weight_decays)
        settings = replace(settings, **(changes or {}))
        return Row(condition, arm, settings, parameters, **kwargs)

    def single(self, condition: str, **kwargs: Any) -> Row:
        """The main task alone."""
        return self.row(condition, SINGLE, "sum", self.data.tasks[:1], **kwargs)


def _said(what: Any) -> str | None:
    """A function and its arguments, which unlike its ``repr`` hold no address."""
    if isinstance(what, partial):
        return f"{what.func.__name__}({', '.join(f'{k}={v}' for k, v in what.keywords.items())})"
    return None if what is None else str(what.__name__)
