"""What the DTRN benchmark compares: logs with behaviours, heads, bottoms, and the grid."""

from dataclasses import dataclass, replace
from typing import Any

from benchmarks.paper._htlnet_cells import Cell as PlainCell
from benchmarks.paper._htlnet_cells import Params, Study
from pyg_mtrec.training import Settings

HEADS = ("shared-bottom", "mmoe", "ple")
MODES = ("sequences", "sequences-control")
SEARCH_WORLD = 1000  # of the planted ones, never tested

# Options of the bottom that an arm has, None for a head without one. All begin with gates of 1, so
# that none begins with halved inputs. "plain" reads the same sequences by the same Transformer but
# has nothing that belongs to one target: what DTRN gains over it is task-specificity alone.
ARMS: dict[str, tuple[str, ...] | None] = {
    "bare": None,
    "plain": ("tim=false", "trm=false"),
    "trm": ("tim=false", "gate=2sigmoid"),
    "tim": ("trm=false",),
    "dtrn": ("gate=2sigmoid",),
}
# Ours and theirs, of one head
PAIRS = (
    ("dtrn", "bare"),
    ("dtrn", "plain"),
    ("plain", "bare"),
    ("tim", "plain"),
    ("trm", "plain"),
)
# One grid for every head and arm: real logs are over-learned within few epochs, planted worlds are
# not learned at all by small steps.
GRID: dict[str, list[Any]] = {
    "lr": [3e-4, 1e-3, 3e-3],
    "weight_decay": [1e-5, 1e-4, 1e-3],
    "dropout": [0.0, 0.1, 0.3],
}
PLANTED_GRID: dict[str, list[Any]] = {
    "lr": [3e-3, 6e-3, 1e-2],
    "weight_decay": [1e-6, 1e-5, 1e-4],
    "dropout": [0.0, 0.1, 0.3],
}
KUAIRAND = {
    "targets": ["click", "long_view", "like"],
    "behaviours": ["clicks", "long_views", "likes", "hates"],
}


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a head and what lies below it."""

    head: str
    arm: str
    rule: str = "sum"

    def __str__(self) -> str:
        return f"{self.head}.{self.arm}"

    def settings(self, study: Study, params: Params, seed: int) -> Settings:
        """The settings of one run; ``dropout`` is that of the head and of the bottom."""
        own = {name: value for name, value in params.items() if name != "dropout"}
        dropout = params.get("dropout")
        if dropout is not None:
            own["head.dropout"] = dropout
        found = study.at(PlainCell(self.head, self.rule), own, seed)
        options = ARMS[self.arm]
        if options is None:
            return replace(found, bottom=None, bottom_options=[])
        given = [] if dropout is None else [f"dropout={dropout}"]
        options = (*options, *found.bottom_options, *given)
        return replace(found, bottom="dtrn", bottom_options=list(options))


def planted(mode: str, impressions: int, **settings: Any) -> Study:
    """Worlds with behaviours, one a seed.

    What counts there are the last five events: sequences are twice as long, and positions learned.
    """
    options = [f"targets={mode}", f"num_interactions={impressions}"]
    own = {"sequence_length": 10, "bottom_options": ["positions=learned"]}
    return Study(
        f"planted-{mode}",
        {"dataset": "planted", "dataset_options": options, **own, **settings},
        worlds=True,
        search_seed=SEARCH_WORLD,
    )


def study_of(dataset: str, root: str | None, impressions: int, **settings: Any) -> Study:
    """One log for all seeds, which are starts then: the tables on real data."""
    if dataset == "planted":
        return replace(planted(MODES[0], impressions, **settings), worlds=False, search_seed=0)
    own: dict[str, Any] = KUAIRAND if dataset == "kuairand-slice" else {}
    shared = {"dataset": dataset, "root": root, "sequence_length": 20}
    return Study(dataset, {**shared, **own, **settings})
