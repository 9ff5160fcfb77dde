import json
import math
import pickle
import sys

import pytest
import torch
from scipy import stats

from benchmarks import render
from benchmarks.paper import (
    _htlnet_cells,
    _htlnet_paired,
    _htlnet_plots,
    _htlnet_runs,
    _htlnet_tables,
    _htlnet_world_tables,
    htlnet,
)
from benchmarks.paper._htlnet_cells import ABLATION, GRID, HTLNET, SHARED, Cell, Change, planted
from benchmarks.paper._htlnet_census import COLUMNS, census, describe
from benchmarks.paper._htlnet_worlds import shares
from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Planted
from pyg_mtrec.metrics import sign_flip_test
from pyg_mtrec.training._named import named_class
from pyg_mtrec.training._options import check_values, parse_options

pytest.importorskip("optuna", reason="the search needs optuna: pip install 'pyg-mtrec[search]'")
PARAMS = {"lr": 0.003, "weight_decay": 1e-5, "head.dropout": 0.1}


def rows(seed, user, shift=0.0):
    """Test rows of a made-up model."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(2, user.shape, generator=generator).float()
    score = torch.rand(user.shape, generator=generator)
    return {
        "user": user,
        "labels": {"click": label},
        "predictions": {"click": score},
        "losses": {"watch/squared_error": score.double() + shift},
    }


def test_cells_become_settings():
    study = planted("hybrid", 1000, epochs=2)
    settings = study.at(HTLNET, {**PARAMS, "rule.gamma": 0.3, "head.gumbel": False}, seed=7)
    assert (settings.head, settings.balancer, settings.lr) == (*str(HTLNET).split("."), 0.003)
    assert settings.head_options == ["dropout=0.1", "gumbel=false"]
    assert settings.balancer_options == ["gamma=0.3"]
    assert settings.dataset_options[-1] == "seed=7" and settings.seed == 7
    one_log = _htlnet_cells.table_study("planted", None, 1000)
    assert one_log.at(SHARED, PARAMS, 7).dataset_options == study.settings["dataset_options"]


@pytest.mark.parametrize("impressions", [50, 60_000])
def test_planted_worlds_are_as_dense_as_they_can_be(impressions):
    options = parse_options(planted("hybrid", impressions).settings["dataset_options"], "options")
    assert Planted(**options)[0]["user", "interacts", "item"].edge_index.size(1) == impressions
    fewer = {name: options[name] - 1 for name in ("num_users", "num_items")}
    with pytest.raises(InputError, match="num_interactions"):
        Planted(**{**options, **fewer})


def test_all_cells_have_one_grid_beside_what_is_the_rule_s():
    spaces = {rule: Cell("shared-bottom", rule).space() for rule in _htlnet_cells.RULES}
    assert spaces["sum"] == spaces["pcgrad"] == GRID
    assert set(spaces["gradient-adjustment"]) - set(GRID) == {"rule.gamma"}
    assert set(spaces["pmtrec"]) - set(GRID) == {"alpha", "tau"}
    for head in _htlnet_cells.HEADS:
        own = {"head.temperature"} if head == "htlnet" else set()
        assert set(Cell(head, "sum").space()) == {*GRID, *own}


def test_a_change_changes_one_thing_and_drops_what_the_rule_lacks():
    params = {**PARAMS, "rule.gamma": 0.3}
    assert ABLATION["sum"].apply(HTLNET, params) == (Cell("htlnet", "sum"), PARAMS)
    for change in ABLATION.values():
        cell, changed = change.apply(HTLNET, params)
        different = {name for name in changed if changed[name] != params.get(name)}
        assert len(different) + (cell != HTLNET) == 1


def test_a_user_s_rows_count_as_their_share_of_the_mean():
    user = torch.tensor([3, 9, 3, 3, 9, 5])
    ours, theirs = rows(0, user, 0.25), rows(1, user)
    found = _htlnet_paired.compare([ours], [theirs], "watch/squared_error")
    difference = ours["losses"]["watch/squared_error"] - theirs["losses"]["watch/squared_error"]
    by_hand = torch.tensor(
        [float(difference[user == one].sum()) * 3 / 6 for one in (3, 5, 9)], dtype=torch.double
    )
    assert found["difference"] == pytest.approx(float(difference.mean()))
    parts = _htlnet_paired.by_user(ours, theirs, "watch/squared_error")
    assert torch.allclose(parts, by_hand)
    assert found["p"] == sign_flip_test(by_hand, torch.Generator())  # eight sign vectors: exact
    base = float(theirs["losses"]["watch/squared_error"].mean())
    assert found["relative"] == pytest.approx(found["difference"] / base)
    with pytest.raises(InputError, match="test rows differ"):
        _htlnet_paired.compare([ours], [rows(1, user + 1)], "watch/squared_error")


def test_seeds_on_other_rows_are_pooled_with_equal_weight():
    users = [torch.arange(4), torch.arange(10)]
    ours = [rows(seed, user, 0.1) for seed, user in enumerate(users)]
    theirs = [rows(seed + 5, user) for seed, user in enumerate(users)]
    loss = "watch/squared_error"
    found = _htlnet_paired.compare(ours, theirs, loss, same_rows=False)
    pairs = zip(ours, theirs, strict=True)
    means = [float((a["losses"][loss] - b["losses"][loss]).mean()) for a, b in pairs]
    assert found["difference"] == pytest.approx(sum(means) / 2)
    assert found["low"] <= found["difference"] <= found["high"]
    same = [{**one, "user": torch.zeros_like(one["user"])} for one in ours]
    other = [{**one, "user": torch.zeros_like(one["user"])} for one in theirs]
    assert _htlnet_paired.compare(same, other, loss, same_rows=False, row_is_user=True) == found


def test_worlds_are_compared_by_student_s_test():
    values = [0.1, 0.3, 0.2, -0.1, 0.15]
    found = _htlnet_paired.over_worlds(values)
    test = stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    assert found["p"] == pytest.approx(test.pvalue)
    assert (found["low"], found["high"]) == (pytest.approx(low), pytest.approx(high))
    assert "p" not in _htlnet_paired.over_worlds([0.1])


def test_an_oracle_closes_the_gap_and_a_constant_none_of_it():
    constant = {"click/log_loss": 0.7, "click/auc": 0.5, "watch/rmse": 3.0}
    oracle = {"click/log_loss": 0.4, "click/auc": 0.9, "watch/rmse": 1.0}
    run = {"targets": {"click": "binary", "watch": "continuous"}}
    run |= {"constant": constant, "oracle": oracle}
    assert set(shares({**run, "test": oracle}).values()) == {1.0}
    assert set(shares({**run, "test": constant}).values()) == {0.0}
    half = shares({**run, "test": {"click/log_loss": 0.55, "click/auc": 0.7, "watch/rmse": 5**0.5}})
    assert list(half.values()) == pytest.approx([0.5, 0.5, 0.5])


def test_a_trial_that_diverges_is_the_worst_and_no_end(tmp_path, monkeypatch):
    def diverge(*args):
        raise InputError("the loss of task 'click' became nan in epoch 1: try less")

    monkeypatch.setattr(_htlnet_runs, "Run", diverge)
    study = planted("hybrid", 1000)
    assert _htlnet_runs.search(study, SHARED, {"lr": [1.0]}, tmp_path, 3) == {"lr": 1.0}
    content = json.loads((tmp_path / "search.json").read_text())
    assert [trial["value"] for trial in content["trials"]] == [_htlnet_runs.FAILED]

    def refuse(*args):
        raise InputError("no such target")

    monkeypatch.setattr(_htlnet_runs, "Run", refuse)
    with pytest.raises(InputError, match="no such target"):
        _htlnet_runs.search(study, SHARED, {"lr": [1.0, 2.0]}, tmp_path, 3)


@pytest.fixture
def census_file(tmp_path):
    """Lines as those of the census table, of which the income follows the age."""
    lines = []
    for row in range(200):
        values = dict.fromkeys(COLUMNS, " Not in universe")
        values |= dict.fromkeys(("wage_per_hour", "capital_gains", "capital_losses"), " 0")
        values |= {"age": str(row % 70), "dividends": f" {row % 7}", "instance_weight": " 1.5"}
        values |= {"occupation_code": f" {row % 5}", "weeks_worked": f" {row % 53}", "year": " 95"}
        values["marital_status"] = " Never married" if row % 3 == 0 else " Divorced"
        values["income"] = " 50000+." if row % 70 > 50 else " - 50000."
        lines.append(",".join(values.values()))
    path = tmp_path / "census-income.test"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_census_table_becomes_impressions_without_its_answers(census_file, tmp_path):
    study = census(census_file, tmp_path / "work")
    data = _htlnet_runs.load(study, study.at(SHARED, {}, 0))
    assert data.targets == {
        "ever_married": "binary",
        "income_50k": "binary",
        "weeks_worked": "continuous",
    }
    assert data.core == "weeks_worked" and data.strategy == "random"
    store = data.train["user", "interacts", "item"]
    columns = [*store.categorical_names, *store.numeric_names]
    assert not {"marital_status", "income", "weeks_worked", "instance_weight"} & set(columns)
    assert {*columns, "item"} >= {"age", "dividends", "citizenship"}
    said = describe(census_file)
    assert said["ever_married"] == pytest.approx(133 / 200)
    assert said["income_50k"] == pytest.approx(47 / 200)
    assert data.train["user"].num_nodes == 1 and data.train["item"].num_nodes == 5


def test_a_smoke_run_fills_every_table(census_file, tmp_path, monkeypatch, capsys):
    argv = ["htlnet", "--smoke", "--results", str(tmp_path), "--census", str(census_file)]
    monkeypatch.setattr(sys, "argv", argv)
    htlnet.main()
    said = capsys.readouterr().out
    assert "not run" not in said and "Error" not in said
    (tmp_path / "htlnet-planted-table.json").rename(tmp_path / "htlnet-kuairand-slice.json")
    found = json.loads((tmp_path / "htlnet-kuairand-slice.json").read_text())
    assert list(found["cells"]) == [
        f"{head}.{rule}"
        for head in ("shared-bottom", "htlnet")
        for rule in ("sum", "gradient-adjustment")
    ]
    for cell in found["cells"].values():
        assert cell["search"]["trials"] == 1 and list(cell["seeds"]) == ["0", "1"]
    for entry in found["paired"]["shared"]["core"].values():
        assert entry["p_holm"] >= entry["p"]
    assert set(found["ablation"]["cells"]) == set(ABLATION)
    assert set(found["maps"]["value"]) == {"0,0", "0,1", "1,0", "1,1"}
    assert found["targets_changed"]["long_view"]["metric"] == "long_view/log_loss"
    worlds = json.loads((tmp_path / "htlnet-planted.json").read_text())
    (of_hybrid, of_control) = (worlds["modes"][mode]["worlds"] for mode in _htlnet_cells.MODES)
    assert of_hybrid["0"]["checksum"] != of_hybrid["1"]["checksum"]
    # The same watch times with and without information in the discrete targets
    core = "watch_time/rmse"
    assert of_hybrid["0"]["constant"][core] == of_control["0"]["constant"][core]
    gains = worlds["difference_of_differences"][f"{HTLNET} - {SHARED}"]["values"]
    by_mode = [
        worlds["modes"][mode]["compared"][f"{HTLNET} - {SHARED}"]["share"]["values"]
        for mode in _htlnet_cells.MODES
    ]
    expected = [a - b for a, b in zip(*by_mode, strict=True)]
    assert gains == pytest.approx(expected, abs=1e-4)

    tables = ("heads", "auc", "rank", "ablation", "targets")
    made = [getattr(_htlnet_tables, name)(tmp_path) for name in tables]
    made += [
        getattr(_htlnet_world_tables, name)(tmp_path)
        for name in ("planted", "planted_difference", "census")
    ]
    for table in made:
        assert table.rows and all(len(row) == len(table.header) for row in table.rows)
        assert "nan" not in table.markdown()
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    for name in _htlnet_plots.PLOTS:
        text = f".. table: htlnet-{name}\n\n.. /table"
        assert f"/_static/htlnet/{_htlnet_plots.PLOTS[name].data}-{name}.png" in render.fill(
            text, render.RST
        )
    stale = list(render._stale_images())
    assert [name for _, name, _ in stale] == [f"htlnet-{name}" for name in _htlnet_plots.PLOTS]
    for image, name, picked in stale:
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(render._draw(name, picked))
    assert not list(render._stale_images())


def test_a_killed_run_goes_on_and_reads_no_test_twice(tmp_path, monkeypatch):
    study = planted("hybrid", 1000, epochs=2)
    folder = tmp_path / str(SHARED)
    job = htlnet.Job(study, SHARED, folder, (0,), trials=1, space={"lr": [0.01]})
    assert "not run" in htlnet._job(job, deadline=0.0) and not folder.exists()
    said = htlnet._job(job, deadline=math.inf)
    assert "1 seeds" in said
    kept = _htlnet_runs.rows_of(folder, 0)
    mean = float(kept["losses"]["watch_time/squared_error"].mean())
    found = _htlnet_runs.finished(folder)[0]
    assert found["test"]["watch_time/rmse"] == pytest.approx(mean**0.5)
    assert found["valid"]["watch_time/rmse"] == pytest.approx(min(found["curve"]), abs=1e-5)
    monkeypatch.setattr(_htlnet_runs, "Run", None)  # nothing is trained again
    assert htlnet._job(job, deadline=0.0) == said
    other = htlnet.Job(study, SHARED, tmp_path / "x", (0,), owner=folder, change=Change("", {}))
    assert "no seed run" in htlnet._job(other, deadline=0.0)
    assert pickle.loads(pickle.dumps(job)) == job  # goes to other processes


def test_tables_without_results_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    names = [name for name in render.TABLES if name.startswith("htlnet-") or name == "heads"]
    assert len(names) == 9
    for name in names:
        text = f".. table: {name}\n\n.. /table"
        assert "Not measured yet" in render.fill(text, render.RST)
    for name in _htlnet_plots.PLOTS:
        text = f".. table: htlnet-{name}\n\n.. /table"
        assert "not run" in render.fill(text, render.RST)


def test_every_entry_of_the_grids_can_be_made():
    for grid, cell in ((_htlnet_cells.WIDE_GRID, _htlnet_cells.ALONE), (GRID, HTLNET)):
        study = planted("hybrid", 1000)
        for name, values in grid.items():
            for value in values:
                settings = study.at(cell, {name: value}, 0)
                options = parse_options(settings.head_options, "head_options")
                check_values(options, named_class("nn.heads", cell.head), cell.head)
