import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyg_mtrec.training import Settings


def write(path: Path, header: list[str], rows: list[list[str]]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Settings]:
    """`tiny(...)`: settings over a small world of users, friends, items and categories.

    `names` says how raw ids are written; the pairs themselves depend on `draw` alone, which also
    leaves out the first nodes.
    """

    def make(names: str = "{}", draw: int = 0, auxiliary: bool = True, **changes: Any) -> Settings:
        draws = np.random.default_rng(draw)
        drawn = draws.integers(5 * draw, (40, 30), (400, 2)).tolist()
        pairs = sorted({(a, b) for a, b in drawn})
        folder = tmp_path / f"tables-{draw}-{names.strip('{}:03d')}"
        folder.mkdir(exist_ok=True)

        def rows(pairs: Any, first: str, second: str) -> list[list[str]]:
            return [[first + names.format(a), second + names.format(b)] for a, b in pairs]

        u, i, c = ("u", "i", "c") if names != "{}" else ("", "", "")
        settings: dict[str, Any] = {
            "interactions": write(folder / "mine.csv", ["user", "item"], rows(pairs, u, i)),
            "dim": 4,
            "batch_size": 64,
            "topk": [5],
            "select_metric": "recall@5",
            "yardsticks": [],
            "threads": 1,
            "encoder": "uprth",
            "balancer": "sum",
            "epochs": 2,
            "pretrain_epochs": 4,
        }
        if auxiliary:
            users, items = sorted({a for a, _ in pairs}), sorted({b for _, b in pairs})
            friends = [(a, users[(7 * a + 3) % len(users)]) for a in users[::2]]
            groups = [(b, b % 4) for b in items]
            settings["social"] = write(folder / "s.csv", ["user", "friend"], rows(friends, u, u))
            settings["item_groups"] = write(
                folder / "g.csv", ["item", "category"], rows(groups, i, c)
            )
        return Settings(**{**settings, **changes})

    return make
