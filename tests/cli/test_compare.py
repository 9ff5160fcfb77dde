import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pyg_mtrec.runs import RunDirectory

Cli = Callable[..., tuple[int, str, str]]
Finished = Callable[..., RunDirectory]


def values(seed: int, size: int = 400, lift: float = 0.0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.beta(1, 4, size) + lift).float()


def numpy_interval(x: np.ndarray) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    means = x[rng.integers(0, x.size, (20_000, x.size))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def numbers(line: str) -> list[float]:
    return [float(found) for found in re.findall(r"[-+]?\d+\.\d+", line)]


def test_against_a_bootstrap_in_numpy(cli: Cli, finished: Finished) -> None:
    a, b = values(0), values(1, lift=0.03)
    c = a + 0.002 + 0.001 * values(2)  # only pairs can see so small a difference
    runs = [finished(str(i), {"recall@20": x}) for i, x in enumerate((a, b, c))]
    code, text, err = cli("compare", *(run.path for run in runs))
    assert (code, err) == (0, "")
    first, second, third = [line for line in text.splitlines() if re.search(r" [ABC]  0\.", line)]
    assert numbers(first) == pytest.approx([a.mean().item(), *numpy_interval(a.numpy())], abs=2e-3)
    for line, other in ((second, b), (third, c)):
        mean, low, high, gap, gap_low, gap_high = numbers(line)
        difference = (other - a).double().numpy()
        assert (mean, gap) == pytest.approx((other.mean().item(), difference.mean()), abs=5.1e-5)
        assert (low, high) == pytest.approx(numpy_interval(other.numpy()), abs=2e-3)
        assert (gap_low, gap_high) == pytest.approx(numpy_interval(difference), abs=2e-3)
        assert line.endswith("*") == (gap_low > 0 or gap_high < 0)
    assert third.endswith("*")
    assert max(map(len, text.splitlines()[4:])) <= 100


def test_users_are_matched_by_id(cli: Cli, finished: Finished) -> None:
    x = values(0, 50)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    ids = 3 * torch.arange(50)
    a = finished("a", {"recall@20": x}, users=ids)
    b = finished("b", {"recall@20": (x + 0.25)[order][:-5]}, users=ids[order][:-5])
    _, text, _ = cli("compare", a.path, b.path)
    (line,) = [line for line in text.splitlines() if " B  0." in line]
    assert numbers(line)[-3:] == [0.25, 0.25, 0.25]
    assert line.endswith("*")
    assert "45 users" in text


def test_a_run_does_not_differ_from_itself(cli: Cli, finished: Finished) -> None:
    run = finished("a", {"recall@20": values(0), "ndcg@20": values(1), "recall@5": values(2)})
    _, text, _ = cli("compare", run.path, run.path)
    same = [line for line in text.splitlines() if re.search(r" B  0\.", line)]
    assert len(same) == 2  # the other cut-off is left out
    assert all(numbers(line)[-3:] == [0.0, 0.0, 0.0] for line in same)
    assert not any(line.endswith("*") for line in same)
    assert cli("compare", run.path, run.path)[1] == text


def test_coverage_has_no_interval(cli: Cli, finished: Finished) -> None:
    x = values(0)
    test = {"recall@20": x.mean().item(), "coverage@20": 0.75}
    run = finished("a", {"recall@20": x}, test=test)
    _, text, _ = cli("compare", run.path, run.path)
    lines = [line.split() for line in text.splitlines()]
    assert ["Coverage@20", "A", "0.7500"] in lines
    assert ["B", "0.7500"] in lines


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"split": {"strategy": "random", "seed": 1, "train": 8, "val": 1, "test": 1}},
            "split seed is 1 in one and 0 in the other",
        ),
        (
            {"split": {"strategy": "time", "seed": 0, "train": 8, "val": 1, "test": 1}},
            "split strategy is 'time' in one and 'random' in the other",
        ),
        ({"dataset": {"name": "planted", "sha256": {"a": "2"}}}, "their dataset sha256 differs"),
        ({"dataset": {"name": "ciao", "sha256": {}}}, "dataset name is 'ciao' in one"),
        ({"masking": "training interactions"}, "masking of seen items is 'training interactions'"),
    ],
)
def test_other_data_or_split(
    refused: Any, finished: Finished, change: dict[str, Any], line: str
) -> None:
    a, b = finished("a"), finished("b", **change)
    found = refused("compare", a.path, b.path)
    assert found.startswith(f"'{b.path}' and '{a.path}' cannot be compared: ")
    assert line in found
    assert "same data and split" in found


def test_wrong_input(refused: Any, finished: Finished) -> None:
    a = finished("a")
    b = finished("b", users=torch.tensor([7, 8]))
    assert "'compare' needs 2 to 26 run directories (got 1)" in refused("compare", a.path)
    assert "does not exist" in refused("compare", a.path, a.path / "none")
    assert "no test user in common" in refused("compare", a.path, b.path)
    (b.path / "test_users.pt").unlink()
    assert "test_users.pt' is missing" in refused("compare", a.path, b.path)
    (b.path / "results.json").unlink()
    assert "has not ended" in refused("compare", a.path, b.path)
