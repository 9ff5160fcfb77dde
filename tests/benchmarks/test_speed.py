import importlib.util
import json
import math
import subprocess
import sys

import pytest
import torch

from benchmarks.speed import growth
from benchmarks.speed._interleave import interleave, ratio
from benchmarks.speed._problem import Problem
from benchmarks.speed.arms import lightgcn, ranking, rules, sampling

USERS, ITEMS, BATCH = 12, 17, 16


def small(**sizes):
    """A graph on which every user and item has an edge."""
    generator = torch.Generator().manual_seed(0)
    keys = torch.randperm(USERS * ITEMS, generator=generator)[:70]
    edges = torch.stack([keys // ITEMS, keys % ITEMS])
    every = torch.stack([torch.arange(ITEMS) % USERS, torch.arange(ITEMS)])
    edges = torch.cat([edges, every], dim=1).unique(dim=1)
    picked = torch.randint(edges.size(1), (4, BATCH), generator=generator)
    negative = torch.randint(ITEMS, picked.shape, generator=generator)
    tensors = {
        "edge_index": edges,
        "user": edges[0][picked],
        "item": edges[1][picked],
        "negative": negative,
        "user_x": torch.randn(USERS, 8, generator=generator),
        "item_x": torch.randn(ITEMS, 8, generator=generator),
    }
    other = torch.randint(USERS, (2, 4, BATCH), generator=generator)
    alike = torch.randint(ITEMS, (3, 4, BATCH), generator=generator)
    triplets = [
        torch.stack([tensors["user"], tensors["item"], negative]),
        torch.stack([tensors["user"], *other]),
        alike,
    ]
    tensors["triplets"] = torch.stack(triplets).permute(2, 0, 1, 3).contiguous()
    number = {"num_users": USERS, "num_items": ITEMS, "dim": 8, "layers": 2, "lr": 0.05}
    return Problem(tensors, {**number, "batch_size": BATCH, "l2": 0.0, **sizes})


@pytest.mark.parametrize("peer", ["PyG", "PyG, normalised CSR"])
def test_lightgcn_does_the_same_work_in_every_library(peer):
    ours, theirs = (lightgcn.ARMS[name](small()) for name in ("pyg_mtrec", peer))
    assert [ours() for _ in range(6)] == pytest.approx([theirs() for _ in range(6)], rel=1e-5)


@pytest.mark.skipif(not importlib.util.find_spec("torchjd"), reason="needs torchjd")
@pytest.mark.parametrize("encoder", ["mf", "lightgcn"])
@pytest.mark.parametrize("rule", ["sum", "mgda", "imtlg"])
def test_rules_do_the_same_work_in_every_library(encoder, rule):
    ours, theirs = (
        rules.ARMS[f"{name} {encoder} {rule}"](small()) for name in ("pyg_mtrec", "TorchJD")
    )
    # MGDA is solved by iterations there and exactly here.
    tolerance = 1e-2 if rule == "mgda" else 1e-4
    assert [ours() for _ in range(6)] == pytest.approx([theirs() for _ in range(6)], rel=tolerance)


def test_rankings_agree():
    edges = small().tensors["edge_index"]
    order = torch.randperm(edges.size(1), generator=torch.Generator().manual_seed(1))
    seen, held_out = edges[:, order].tensor_split([50], dim=1)
    generator = torch.Generator().manual_seed(2)
    x = [torch.randn(number, 8, generator=generator) for number in (USERS, ITEMS + 20)]
    tensors = {"seen": seen, "held_out": held_out, "user_x": x[0], "item_x": x[1]}
    problem = Problem(tensors, {"batch": 5})
    assert ranking.ARMS["pyg_mtrec"](problem)() == pytest.approx(ranking.ARMS["PyG"](problem)())


def test_negatives_that_are_known_are_counted():
    problem = small()
    known = sampling._keys(problem)
    user, item = problem.tensors["edge_index"]
    assert sampling._known(user, item, known, problem) == user.numel()
    pairs = set(zip(user.tolist(), item.tolist(), strict=True))
    every = torch.cartesian_prod(torch.arange(USERS), torch.arange(ITEMS)).t()
    by_hand = sum((int(u), int(i)) in pairs for u, i in every.t())
    assert sampling._known(*every, known, problem) == by_hand
    assert sampling.ARMS["pyg_mtrec"](problem)() == 0.0


def test_arms_take_turns_in_processes_of_their_own():
    steps = {"PyG's example": 2, "RecBole": 1}
    found = interleave("benchmarks.speed.arms.sampling", steps, small(), rounds=2)
    ran = found["PyG's example"]
    assert len(ran["rounds_ms"]) == 2 and len(ran["values"]) == 3 and ran["mb"] >= 0
    assert ratio(ran, ran) == 1.0
    if not importlib.util.find_spec("recbole"):
        assert "recbole" in found["RecBole"]["missing"]


def test_a_world_is_measured(tmp_path):
    growth.prepare(2000, tmp_path / "graph.pt")
    found = growth.measure(tmp_path / "graph.pt", dim=4)
    assert found["training_interactions"] == 1200
    assert all(math.isfinite(found[name]) and found[name] >= 0 for name in growth.NAMES)


def test_an_unknown_case_is_refused():
    command = [sys.executable, "-m", "benchmarks.speed", "lightgcn", "growth"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no case is called lightgcn:" in done.stderr


def test_tables_say_what_was_measured(tmp_path):
    from benchmarks.speed import _tables

    assert all(not make(tmp_path).rows for make in _tables.TABLES.values())
    machine = {"processor": "x", "threads": 1, "torch": "2", "gpu": None, "device": "cpu"}
    arm = {"ms": 12.34, "times_ours": 2.0, "mb": 7.6, "epoch_seconds": 4.2, "values": [0.001]}
    missing = {"missing": "no such module"}
    arms = {"pyg_mtrec": arm, "RecBole": missing}
    sizes = {"edges": 10, "dim": 2, "layers": 1, "batch_size": 4, "test_users": 3, "num_items": 9}
    common = {"machine": machine, "rounds": 5, "data": "gowalla", "sizes": sizes, "arms": arms}
    lightgcn = {"batch_size": 4, "steps_per_epoch": 3, "bound_ms": 9.0, "copy_gb_per_s": 5.0}
    case = {
        "encoder": "mf",
        "rule": "sum",
        "at": "embedding",
        "arms": {
            "pyg_mtrec mf sum embedding": {**arm, "times_sum": 1.0},
            "TorchJD mf sum": arm,
        },
    }
    grown = {name: 0.5 for name in growth.NAMES}
    files = {
        "lightgcn_epoch": {**common, **lightgcn},
        "rules": {**common, "cases": [case], "tables_mb": 1.0},
        "ranking_epinions": common,
        "sampling": common,
        "start": {**common, "seconds": {"python": 0.1}, "added": {"and all": -0.004}},
        "growth": {**common, "dim": 2, "sizes": {"1000": grown}, "exponents": grown},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    found = {name: make(tmp_path).rows for name, make in _tables.TABLES.items()}
    assert found["speed-lightgcn"][0] == ["pyg_mtrec", "12.3", "4.2", "2.00", "8"]
    assert found["speed-lightgcn"][1][1] == "not measured"
    assert found["speed-rules"] == [
        ["MF", "sum", "12.3", "1.00", "8", "", "", "", "12.3", "2.00", "8"]
    ]
    assert found["speed-ranking"][0] == ["gowalla", "pyg_mtrec", "0.01", "2.00"]
    assert found["speed-sampling"][0] == ["pyg_mtrec", "12.3", "2.00", "0.10 %"]
    assert found["speed-start"][1] == ["added: and all", "-0.00"]
    assert found["speed-growth"][-1] == ["exponent", "0.50", "0.50", "0.50", "0.50"]
