"""What the HTLNet benchmark compares: logs of impressions, heads, rules, grids, and changes."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from pyg_mtrec._errors import InputError
from pyg_mtrec.training import Settings
from pyg_mtrec.training._named import named_class
from pyg_mtrec.training._options import check_options

HEADS = ("single-task", "shared-bottom", "mmoe", "ple", "esmm", "aitm", "htlnet")
RULES = ("sum", "gradient-adjustment", "pmtrec", "pcgrad")
MODES = ("hybrid", "hybrid-control")
SEARCH_WORLD = 1000  # of the planted ones, never tested

# One grid for every head and rule. A name with "head." or "rule." is an argument of that.
GRID: dict[str, list[Any]] = {
    "lr": [3e-4, 1e-3, 3e-3, 1e-2],
    "weight_decay": [1e-6, 1e-5, 1e-4, 1e-3],
    "head.dropout": [0.0, 0.1, 0.3],
}
# What a rule has beside these, searched within the same number of trials.
OWN: dict[str, dict[str, list[Any]]] = {
    "gradient-adjustment": {"rule.gamma": [0.1, 0.3, 0.5, 1.0]},
    "pmtrec": {"alpha": [1.0, 1.02, 1.06], "tau": [1e-1, 1e-2, 1e-3, 1e-4]},
}
# What a head has beside these. Sources name a temperature of 10 that falls over tens of thousands
# of steps; a log of this size does not have so many.
OF_HEADS: dict[str, dict[str, list[Any]]] = {"htlnet": {"head.temperature": [10.0, 1.0]}}
# The core target alone, with more to choose from and more trials.
WIDE_GRID: dict[str, list[Any]] = {
    **GRID,
    "dim": [16, 32, 64],
    "head.hidden": ["64,", "128,64", "256,128", "512,256"],
}
WIDE_TRIALS = 3  # times those of a cell

Params = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a head and a rule."""

    head: str
    rule: str

    def __str__(self) -> str:
        return f"{self.head}.{self.rule}"

    def space(self) -> dict[str, list[Any]]:
        """What is searched."""
        return {**self._taken(GRID), **OF_HEADS.get(self.head, {}), **OWN.get(self.rule, {})}

    def _taken(self, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The grid without arguments that the head has not."""
        cls = named_class("nn.heads", self.head)
        found = {}
        for name, values in grid.items():
            owner, _, option = name.rpartition(".")
            try:
                check_options([option] if owner == "head" else [], cls, self.head)
            except InputError:
                continue
            found[name] = values
        return found


SHARED, HTLNET = Cell("shared-bottom", "sum"), Cell("htlnet", "gradient-adjustment")
PLAIN = Cell("htlnet", "sum")
SHARED_ADJUSTED = Cell("shared-bottom", "gradient-adjustment")
ALONE = Cell("single-task", "sum")
PLANTED_ADJUSTED = (HTLNET, SHARED_ADJUSTED)
# Ours and theirs in the planted worlds
PAIRS = ((PLAIN, SHARED), (HTLNET, SHARED), (HTLNET, SHARED_ADJUSTED))


@dataclass(frozen=True)
class Study:
    """A log of impressions, what is predicted of them, and how long one trains.

    Args:
        name: What it is called.
        settings: The settings that all of its runs have.
        worlds: Whether a seed is a world of its own, and not only another start.
        random: Whether a seed splits anew.
        search_seed: The seed that settings are searched on.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    worlds: bool = False
    random: bool = False
    search_seed: int = 0

    def at(self, cell: Cell, params: Params, seed: int) -> Settings:
        """The settings of one run."""
        options: dict[str, list[str]] = {"head": [], "rule": []}
        plain = {}
        for name, value in params.items():
            owner, _, option = name.rpartition(".")
            if owner:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                options[owner].append(f"{option}={text}")
            else:
                plain[name] = value
        base = Settings(dim=16, batch_size=1024, comparison="off", device="cpu", threads=1)
        found = replace(base, **{**self.settings, **plain})
        world = [f"seed={seed}"] if self.worlds else []
        return replace(
            found,
            dataset_options=[*found.dataset_options, *world],
            head=cell.head,
            balancer=cell.rule,
            head_options=options["head"],
            balancer_options=options["rule"],
            seed=seed,
        )

    def with_settings(self, name: str, **changed: Any) -> "Study":
        """The same log with something else to predict."""
        return replace(self, name=name, settings={**self.settings, **changed})


def planted(mode: str, impressions: int, **settings: Any) -> Study:
    """Planted worlds with targets, one a seed, as dense as they can be.

    With the default twenty impressions a user, next to nothing can be learned about anybody.
    """
    side = math.isqrt(4 * impressions)
    while side * (side // 4) < impressions:  # a quarter of the items a user at most
        side += 1
    sizes = [f"num_users={side}", f"num_items={side}"]
    options = [f"targets={mode}", f"num_interactions={impressions}", *sizes]
    return Study(
        f"planted-{mode}",
        {"dataset": "planted", "dataset_options": options, **settings},
        worlds=True,
        search_seed=SEARCH_WORLD,
    )


def table_study(dataset: str, root: str | None, impressions: int, **settings: Any) -> Study:
    """What the table of heads and rules is about: one log, split by time, for all seeds."""
    if dataset == "planted":
        return replace(planted("hybrid", impressions, **settings), worlds=False, search_seed=0)
    return Study(dataset, {"dataset": dataset, "root": root, **settings})


@dataclass(frozen=True)
class Change:
    """A variant of a cell whose settings were found: one thing is different.

    Args:
        label: What it is called.
        params: Parameters that take the place of those found, or join them.
        rule: The rule that takes the place of the cell's.
    """

    label: str
    params: Params = field(default_factory=dict)
    rule: str | None = None

    def apply(self, cell: Cell, params: Params) -> tuple[Cell, Params]:
        """The cell and the parameters of the variant."""
        changed = {**params, **self.params}
        if self.rule is None:
            return cell, changed
        own = [name for name in changed if name.startswith("rule.")]
        return Cell(cell.head, self.rule), {n: v for n, v in changed.items() if n not in own}


ABLATION = {
    "no-label-embedding": Change("without label embeddings", {"head.label_embedding": False}),
    "concat": Change("concatenation instead of attention", {"head.fusion": "concat"}),
    "mean": Change("mean instead of attention", {"head.fusion": "mean"}),
    "no-stop": Change("no gradient stopped", {"head.stop_gradient": "none"}),
    "leu-output": Change("stopped behind the label table", {"head.stop_gradient": "leu_output"}),
    "no-gumbel": Change("without Gumbel noise", {"head.gumbel": False}),
    "sum": Change("plain sum", rule="sum"),
    "no-projection": Change("without projection (α = 0)", {"rule.projection": 0.0}),
    "no-magnitude": Change("without magnitudes (γ = 0)", {"rule.gamma": 0.0}),
}
ALPHAS, GAMMAS = (0.0, 0.25, 0.5, 0.75, 1.0), (0.0, 0.1, 0.3, 0.5, 1.0)


def target_studies(study: Study, dataset: str) -> dict[str, Study]:
    """Other sets of targets on the same log, by name.

    Likes are left out: what is in the slice was selected by them, so they are no step of the chain.
    """
    click, long_view, core = "click", "long_view", "watch_time"
    found = {
        "2": study.with_settings("2 targets", targets=[click, core]),
        "3": study,
    }
    if dataset != "planted":
        for name, more in (("4", ["profile_enter"]), ("5", ["profile_enter", "comment"])):
            columns = [click, long_view, *more, core]
            found[name] = study.with_settings(
                f"{name} targets", dataset_options=[f"targets={','.join(columns)}"]
            )
    found["long_view"] = study.with_settings("core long_view", core_target=long_view)
    found["discrete"] = study.with_settings(
        "discrete targets alone", targets=[click, long_view], core_target=long_view
    )
    return found
