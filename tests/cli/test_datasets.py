from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from pyg_mtrec import datasets
from pyg_mtrec.cli._choices import names
from pyg_mtrec.cli._datasets import describe

Cli = Callable[..., tuple[int, str, str]]


def test_the_list_has_every_data_set(cli: Cli) -> None:
    code, text, err = cli("datasets")
    assert (code, err) == (0, "")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    for name, class_name in names("datasets").items():
        assert name in lines
        cls = getattr(datasets, class_name)
        targets = getattr(cls, "default_targets", ())
        wanted = f"tasks: {', '.join(cls.default_tasks)}"
        if targets:
            wanted = f"targets of a head: {', '.join(targets)}"
        assert f"    {wanted}; split: {cls.default_split}" in lines


def test_planted(cli: Cli) -> None:
    code, text, err = cli("datasets", "Planted")
    assert (code, err) == (0, "")
    data = datasets.Planted()[0]
    lines = [line.split() for line in text.splitlines()]
    for node_type in data.node_types:
        assert [node_type, f"{data[node_type].num_nodes:,}"] in lines
    for edge_type in data.edge_types:
        count = f"{data[edge_type].edge_index.size(1):,}"
        assert any(line[:4] == [*edge_type, count] for line in lines)


class Tiny:
    """Three ratings.

    More of it.
    """

    default_tasks = ("bpr",)
    default_split = "random"
    known = False

    def __init__(self) -> None:
        self.report = {"rows_read": 12345, "duplicates_dropped": 2, "note": "ok"}
        self.raw_sha256 = {"a.csv": "ab" * 32}
        self.data = HeteroData()
        self.data["user"].num_nodes, self.data["item"].num_nodes = 1500, 2
        store = self.data["user", "interacts", "item"]
        store.edge_index = torch.tensor([[0, 1, 2], [0, 1, 1]])
        store.rating = torch.ones(3)

    def __getitem__(self, index: int) -> HeteroData:
        return self.data


def test_everything_that_is_known_of_a_data_set() -> None:
    text = describe("tiny", Tiny())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    for line in (
        "tiny: Three ratings.",
        "user 1,500",
        "user interacts item 3 rating",
        "rows read 12,345",
        "duplicates dropped 2",
        "note ok",
        f"a.csv {'ab' * 32}",
    ):
        assert line in lines
    assert "not the published files" in text


def test_wrong_input(refused: Any, tmp_path: Path) -> None:
    assert refused("datasets", "epinoins").startswith("unknown data set 'epinoins': did you mean")
    assert refused("datasets", "epinions").startswith("data set 'epinions' needs '--root DIR'")
    assert refused("datasets", "epinions", "--root", tmp_path / "none").startswith("root '")
