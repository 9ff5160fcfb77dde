"""What the PMTRec benchmark compares: data sets, encoders, task sets, rules and their grids."""

from dataclasses import dataclass, field, replace
from typing import Any

from pyg_mtrec.training import Settings

# One grid for every rule: the paper's values and some between, since weight decay decides much.
GRID: dict[str, list[Any]] = {
    "lr": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1],
    "weight_decay": [1e-8, 1e-6, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 1e-2, 3e-2, 1e-1],
}
# Decay that does not pass through the normalisation of Adam acts at another scale.
DECOUPLED = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0, 30.0]
# For few trials on a large data set: where the single task, the sum and PMTRec were good before.
SMALL_GRID: dict[str, list[Any]] = {
    "lr": [0.001, 0.002, 0.005, 0.01, 0.02, 0.05],
    "weight_decay": [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3],
}
# What a rule has beside these, searched within the same number of trials.
OWN: dict[str, dict[str, list[Any]]] = {
    "pmtrec": {
        "alpha": [round(1 + 0.02 * step, 2) for step in range(11)],
        "tau": [10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6],
    },
    "cagrad": {"c": [0.1, 0.2, 0.4, 0.5, 0.8]},
    "gradvac": {"beta": [0.01, 0.1, 0.5]},
    "graddrop": {"leak": [0.0, 0.2, 0.5]},
    "dwa": {"temperature": [1.0, 2.0, 5.0]},
    "metabalance": {"relax": [0.3, 0.5, 0.7, 0.9], "beta": [0.5, 0.9, 0.99]},
    "aligned-mtl": {"scale_mode": ["min", "median", "rmse"]},
}
PAPER_RULES = (
    "pmtrec",
    "sum",
    "rlw",
    "nash-mtl",
    "pcgrad",
    "graddrop",
    "gradvac",
    "cagrad",
    "aligned-mtl",
)
ROW_RULES = ("pcgrad-row", "nash-mtl-row", "mgda-row", "aligned-mtl-row")
MORE_RULES = ("mgda", "imtlg", "upgrad", "metabalance", "uncertainty-weighting", "dwa")
# Is the lead more than relative weight decay? The sum at the scale of a mean, and both rules with
# decay that does not pass through the gradient.
CONTROL_RULES = ("mean", "sum-adamw", "pmtrec-adamw")
# The paper's ablation keeps what was found for PMTRec and changes one thing.
ABLATION = {"pmtrec-nofocus": {"alpha": 1.0}, "pmtrec-nobalance": {"tau": 1.0}}
YARDSTICKS = ("popularity", "item-knn", "ease")
TASK_SETS = {"bpr": (0,), "t1": (0, 1), "t2": (0, 2), "all": (0, 1, 2)}


@dataclass(frozen=True)
class Preset:
    """How a data set is run; the same for every rule."""

    tasks: tuple[str, str, str]
    trials: int
    epochs: int
    patience: int
    # Epoch and share: a trial stops there if it is below this share of the best that a trial of the
    # same rule had by then. Rules that start slowly, and small learning rates, need a late rung.
    rungs: dict[int, float]
    valid_users: int
    ease_l2: tuple[float, ...]
    grid: dict[str, list[Any]] = field(default_factory=lambda: GRID)
    settings: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "amazon-office": Preset(
        ("bpr", "alignment-uniformity", "rating-regression"),
        trials=40,
        epochs=120,
        patience=15,
        rungs={25: 0.75},
        valid_users=5000,
        ease_l2=(100.0, 200.0, 300.0, 500.0, 1000.0, 2000.0, 3000.0),
    ),
    "epinions": Preset(
        ("bpr", "social", "same-category"),
        trials=12,
        epochs=60,
        patience=10,
        rungs={3: 0.5, 9: 0.75},
        valid_users=2000,
        ease_l2=(100.0,),
        grid=SMALL_GRID,
        # Half the time of the paper's 2048 and the same validation curve (single task, 12 epochs).
        settings={"batch_size": 8192},
    ),
    "amazon-video-games-2014": Preset(
        ("bpr", "also-viewed", "also-bought"),
        trials=12,
        epochs=80,
        patience=10,
        rungs={12: 0.75},
        valid_users=3000,
        ease_l2=(100.0, 300.0, 1000.0),
    ),
    # For the smoke test: no files are needed.
    "planted": Preset(
        ("bpr", "trusts", "also-viewed"),
        trials=2,
        epochs=2,
        patience=2,
        rungs={1: 0.5},
        valid_users=200,
        ease_l2=(300.0,),
    ),
}


@dataclass(frozen=True)
class Cell:
    """One entry of a table: an encoder, a set of tasks and a rule."""

    encoder: str
    tasks: str
    rule: str

    def __str__(self) -> str:
        return f"{self.encoder}.{self.tasks}.{self.rule}"

    @property
    def balancer(self) -> str:
        """The rule's name on the command line."""
        for suffix in ("-row", "-adamw", "-nofocus", "-nobalance"):
            if self.rule.endswith(suffix):
                return self.rule.removesuffix(suffix)
        return self.rule

    def space(self, dataset: str) -> dict[str, list[Any]]:
        """What is searched on a data set."""
        own = {} if self.tasks == "bpr" else OWN.get(self.balancer, {})
        decay = {"weight_decay": DECOUPLED} if self.rule.endswith("-adamw") else {}
        return {**PRESETS[dataset].grid, **decay, **own}

    def settings(self, dataset: str, root: str | None, params: dict[str, Any]) -> Settings:
        """The run's settings with searched parameters filled in; those unknown are options."""
        preset = PRESETS[dataset]
        known = {name: value for name, value in params.items() if name in _FIELDS}
        options = [f"{name}={value}" for name, value in params.items() if name not in _FIELDS]
        return replace(
            Settings(dataset=dataset, root=root, **preset.settings),
            encoder=self.encoder,
            tasks=[preset.tasks[index] for index in TASK_SETS[self.tasks]],
            balancer=self.balancer,
            scope="row" if self.rule.endswith("-row") else "table",
            optimizer="adamw" if self.rule.endswith("-adamw") else "adam",
            balancer_options=options,
            epochs=preset.epochs,
            patience=preset.patience,
            valid_users=preset.valid_users,
            threads=1,
            **known,
        )


_FIELDS = ("lr", "weight_decay", "alpha", "tau")


def table_2(rules: tuple[str, ...]) -> list[Cell]:
    """Every rule with MF and all tasks, and the main task alone."""
    return [Cell("mf", "bpr", "sum"), *(Cell("mf", "all", rule) for rule in rules)]


def table_3(encoders: tuple[str, ...], rules: tuple[str, ...]) -> list[Cell]:
    """Every encoder and task set; rules side by side, so that tasks and rule can be told apart."""
    cells = []
    for encoder in encoders:
        cells.append(Cell(encoder, "bpr", "sum"))
        for tasks in ("all", "t1", "t2"):
            cells += [Cell(encoder, tasks, rule) for rule in rules]
    return cells
