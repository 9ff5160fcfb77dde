import json

import pytest
import torch

from benchmarks.paper import _runs
from benchmarks.paper._cells import ABLATION, GRID, PRESETS, Cell, table_2, table_3
from benchmarks.paper._record import RecordingPMTRec
from pyg_mtrec.balancing import PMTRec
from pyg_mtrec.gradients import RowGradients, TaskGradients

pytest.importorskip("optuna", reason="the search needs optuna: pip install 'pyg-mtrec[search]'")
SUM = Cell("mf", "all", "sum")


@pytest.fixture
def trials(monkeypatch):
    """Trials that cost nothing: the value is the learning rate less the decay."""
    run = []

    def trial(cell, dataset, root, params, before, rungs, device, change, build):
        run.append(params)
        value = params["lr"] - params["weight_decay"]
        return {"params": params, "value": value, "rungs": {}, "seconds": 0.0, "pruned": False}

    monkeypatch.setattr(_runs, "_trial", trial)
    return run


def test_a_budget_of_the_whole_grid_tries_each_point_once(trials, tmp_path):
    best = _runs.search(SUM, "planted", None, tmp_path, 10**6)
    assert best == {"lr": max(GRID["lr"]), "weight_decay": min(GRID["weight_decay"])}
    points = {tuple(sorted(params.items())) for params in trials}
    assert len(trials) == len(points) == len(GRID["lr"]) * len(GRID["weight_decay"])
    assert _runs.best_params(SUM, tmp_path) == best


def test_a_search_goes_on_where_it_stopped(trials, tmp_path):
    assert _runs.search(SUM, "planted", None, tmp_path, 9, deadline=0.0) is None
    assert not trials and _runs.best_params(SUM, tmp_path) is None
    _runs.search(SUM, "planted", None, tmp_path, 5)
    assert len(trials) == 5
    content = json.loads((tmp_path / "search.json").read_text())
    assert [done["params"] for done in content["trials"]] == trials
    content["budget"] = 9
    (tmp_path / "search.json").write_text(json.dumps(content))
    assert _runs.best_params(SUM, tmp_path) is None  # four trials are missing
    _runs.search(SUM, "planted", None, tmp_path, 9)
    assert len(trials) == 9 == len({tuple(params.items()) for params in trials})


def test_an_ablation_takes_what_was_found_and_changes_one_thing(trials, tmp_path):
    cell = Cell("mf", "all", "pmtrec")
    best = _runs.search(cell, "planted", None, tmp_path / str(cell), 4)
    for rule, changed in ABLATION.items():
        other = Cell("mf", "all", rule)
        assert _runs.best_params(other, tmp_path / str(other)) == {**best, **changed}


def test_cells_become_settings():
    cell = Cell("lightgcn", "t2", "pcgrad-row")
    settings = cell.settings("planted", None, {"lr": 0.1, "weight_decay": 0.0})
    assert (settings.balancer, settings.scope, settings.encoder) == ("pcgrad", "row", "lightgcn")
    assert settings.tasks == ["bpr", PRESETS["planted"].tasks[2]]
    settings = Cell("mf", "all", "cagrad").settings("planted", None, {"lr": 0.1, "c": 0.4})
    assert settings.balancer_options == ["c=0.4"]
    decoupled = Cell("mf", "all", "sum-adamw")
    assert decoupled.settings("planted", None, {}).optimizer == "adamw"
    assert len(decoupled.space("planted")["weight_decay"]) == len(GRID["weight_decay"])
    assert Cell("mf", "bpr", "pmtrec").space("amazon-office") == GRID  # nothing to balance


def test_tables_hold_the_single_task_and_every_rule():
    assert [str(cell) for cell in table_2(("sum", "rlw"))] == [
        "mf.bpr.sum",
        "mf.all.sum",
        "mf.all.rlw",
    ]
    assert len(table_3(("mf", "ngcf", "lightgcn"), ("pmtrec", "sum"))) == 3 * (1 + 3 * 2)


def test_a_hopeless_trial_stops_at_a_rung(tmp_path):
    cell, params = Cell("mf", "bpr", "sum"), {"lr": 0.01, "weight_decay": 1e-4}
    whole = _runs._trial(cell, "planted", None, params, [], {1: 0.5}, "cpu", None)
    assert not whole["pruned"] and whole["epochs"] == PRESETS["planted"].epochs
    ahead = [{"params": {}, "value": 1.0, "rungs": {"1": 1.0}}]
    found = _runs._trial(cell, "planted", None, params, ahead, {1: 0.5}, "cpu", None)
    assert found["pruned"] and found["epochs"] == 1
    assert found["rungs"] == whole["rungs"]


def test_a_test_set_is_read_once(tmp_path, monkeypatch):
    cell, params = Cell("mf", "all", "pmtrec"), {"lr": 0.01, "weight_decay": 1e-4, "tau": 1e-3}
    found = _runs.run_seed(cell, "planted", None, tmp_path, params, 1)
    users = torch.load(tmp_path / "seed1.users.pt", weights_only=True)
    mean = float(users["metrics"]["recall@20"].double().mean())
    assert found["test"]["recall@20"] == pytest.approx(mean, abs=1e-7)
    assert users["weights"].shape == (3, users["users"].numel())
    assert len(found["curve"]) == len(found["weights"]["epochs"]) == found["epochs"]
    monkeypatch.setattr(_runs, "arm_of", None)  # nothing is trained again
    assert _runs.run_seed(cell, "planted", None, tmp_path, params, 1) == found


def test_the_recorder_is_pmtrec_and_keeps_its_weights():
    generator = torch.Generator().manual_seed(0)
    rule = PMTRec(alpha=1.1, tau=0.5)
    record = RecordingPMTRec(rule, {"user": 6}, 2)
    totals, counts = torch.zeros(2, 6), torch.zeros(6)
    for epoch in (1, 2):
        for ids in (torch.tensor([0, 3, 5]), torch.tensor([3, 1, 2])):
            grads = torch.randn(2, 3, 4, generator=generator)
            grads[:, 2] = 0.0  # a row that no task touches counts for nothing
            gradients = TaskGradients(torch.zeros(2), {"user": RowGradients(ids, grads)})
            update = record.update(gradients, epoch=epoch)
            expected = rule.update(gradients, epoch=epoch)
            assert torch.equal(update.rows["user"], expected.rows["user"])
            weights = rule.weights(grads.norm(dim=-1), epoch=epoch)
            for place, row in enumerate(ids.tolist()[:2]):
                totals[:, row] += weights[:, place]
                counts[row] += 1
        record.end_epoch({})
    assert torch.allclose(record.mean("user"), totals / counts.clamp(min=1))
    assert len(record.epochs) == 2 and sum(record.epochs[0]["user"]) == pytest.approx(1.0)
