import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import render
from benchmarks.paper import _assemble, _runs, uprth_graphs
from benchmarks.paper import _uprth_graphs_arms as arms
from benchmarks.paper import _uprth_graphs_report as graphs_report
from benchmarks.speed import _worlds, uprth_growth
from pyg_mtrec.datasets import Planted
from pyg_mtrec.metrics import PairedComparison
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training import run_experiment

pytest.importorskip("optuna", reason="the search needs optuna: pip install 'pyg-mtrec[search]'")
TRAINED, DRAWS = list(arms.ARMS), 200


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A whole benchmark on planted."""
    folder = tmp_path_factory.mktemp("graphs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["uprth_graphs", "--smoke", "--work", str(folder)])
        patch.setattr(_assemble, "DRAWS", DRAWS)
        uprth_graphs.main()
    return folder


@pytest.fixture
def found(work):
    return json.loads((work / "results" / "uprth-planted.json").read_text())


def test_all_arms_have_as_many_trials_and_the_same_seeds(found):
    assert list(found["cells"]) == ["popularity", "ease", *TRAINED]
    assert {found["cells"][arm]["search"]["trials"] for arm in TRAINED} == {2}
    assert {tuple(cell["seeds"]) for cell in found["cells"].values()} == {("0", "1")}
    for dataset, preset in arms.PRESETS.items():
        sizes = []
        for arm in arms.ARMS.values():
            size = 1
            for values in arm.space(dataset).values():
                size *= len(values)
            sizes.append(size)
        assert min(sizes) >= preset.trials  # no arm runs out of what it could try


def test_differences_are_those_of_the_same_users(work, found):
    entry = found["comparisons"]["ndcg@20"]["uprth-sum - joint"]
    sides = [
        [
            (users["users"], users["metrics"]["ndcg@20"])
            for seed in (0, 1)
            for users in [torch.load(work / "planted" / arm / f"seed{seed}.users.pt")]
        ]
        for arm in ("uprth-sum", "joint")
    ]
    draws = torch.Generator().manual_seed(0)
    wanted = PairedComparison.from_seeds(*sides, draws, num_draws=DRAWS)
    assert entry["difference"] == pytest.approx(wanted.mean_difference, abs=1e-5)
    assert (entry["low"], entry["high"]) == pytest.approx(wanted.interval, abs=1e-5)
    family = found["comparisons"]["ndcg@20"].values()
    assert len(family) == 3 * 4 + 1 + 2
    assert all(entry["p"] <= entry["p_holm"] <= 1 for entry in family)
    means = {
        arm: torch.tensor([run["test"]["ndcg@20"] for run in cell["seeds"].values()]).mean()
        for arm, cell in found["cells"].items()
    }
    # The interval's middle; users who are tested under one seed only make the small rest.
    assert entry["difference"] == pytest.approx(
        float(means["uprth-sum"] - means["joint"]), abs=1e-3
    )


@pytest.mark.parametrize("name", ["joint", "uprth-auxiliary", "uprth-own"])
def test_a_run_is_that_of_the_command_line(work, tmp_path, name):
    record = json.loads((work / "planted" / name / "seed1.json").read_text())
    settings = arms.ARMS[name].settings("planted", None, record["params"])
    settings = replace(settings, seed=1, yardsticks=[], comparison="off", device="cpu")
    results = run_experiment(settings, RunDirectory(tmp_path / "run"), echo=len, progress=False)
    assert results["test"] == record["test"]
    if name != "joint":
        assert results["pretraining"].popitem()[1]["losses"] == record["pretraining"]["losses"]


def test_nothing_is_run_twice(work, found, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["uprth_graphs", "--smoke", "--work", str(work)])
    for name in ("_trial", "arm_of", "yardstick"):
        monkeypatch.setattr(_runs, name, None)
    monkeypatch.setattr(uprth_graphs, "EASE", None)
    monkeypatch.setattr(_assemble, "DRAWS", DRAWS)
    uprth_graphs.main()
    again = json.loads((work / "results" / "uprth-planted.json").read_text())
    assert again["cells"] == found["cells"] and again["comparisons"] == found["comparisons"]
    assert "not run" not in capsys.readouterr().out


def test_when_the_time_is_over_nothing_is_begun(tmp_path, monkeypatch, capsys):
    argv = ["uprth_graphs", "--smoke", "--work", str(tmp_path), "--minutes", "-1"]
    monkeypatch.setattr(sys, "argv", [*argv, "--arms", "lightgcn", "uprth-sum"])
    uprth_graphs.main()
    out = capsys.readouterr().out
    assert "uprth-sum seed 1: not run, the time is over" in out and "ease seed 0: not run" in out
    found = json.loads((tmp_path / "results" / "uprth-planted.json").read_text())
    assert list(found["cells"]) == ["popularity"] and found["verdict"] == {}


def test_tables_say_what_was_not_run(work, found, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    assert render.TABLES["uprth-graphs"]().rows == []
    del found["cells"]["uprth-own"], found["cells"]["joint"]["seeds"]["1"]
    (tmp_path / "uprth-epinions.json").write_text(json.dumps(found))
    table = render.TABLES["uprth-graphs"]()
    assert len(table.rows) == 2 * len(graphs_report.LABELS)
    assert {len(row) for row in table.rows} == {len(table.header)}
    texts = {row[1]: row for row in table.rows[: len(graphs_report.LABELS)]}
    assert texts[graphs_report.LABELS["uprth-own"]][2:4] == ["not run", "not run"]
    assert texts[graphs_report.LABELS["joint"]][2].endswith(" (1 seed)")
    assert all(row[2] == "not run" for row in table.rows[len(graphs_report.LABELS) :])
    assert any(note.startswith("epinions: best on validation is UPRTH") for note in table.notes)
    stages = render.TABLES["uprth-graphs-stages"]()
    assert {len(row) for row in stages.rows} == {len(stages.header)}
    assert "trusts 0." in stages.rows[-1][3]


def test_trials_of_a_second_stage_share_the_first(monkeypatch):
    calls = []

    def pretrain(arm, balancer, **kwargs):
        calls.append(arm.settings)
        return {"seconds": {}}

    monkeypatch.setattr(arms, "pretrain", pretrain)
    build, data = arms.Build(), arms.with_hypergraphs(_runs.split("planted", None, 0))
    arm = arms.ARMS["uprth-sum"]
    for params in (
        {"lr": 0.1, "weight_decay": 0.0, "pretrain_epochs": 1},
        {"lr": 0.2, "weight_decay": 1e-6, "pretrain_epochs": 1},
        {"lr": 0.1, "weight_decay": 0.0, "pretrain_epochs": 2},
    ):
        built, said = build(arm.settings("planted", None, params), data, "cpu")
        assert (built.settings.encoder, built.settings.lr) == ("lightgcn", params["lr"])
        assert 0 <= said["pretraining"]["start"] <= 1
    assert len(calls) == 2 and calls[0].encoder == "uprth"
    own = arms.ARMS["uprth-own"].settings("planted", None, params)
    build(own, data, "cpu")
    assert len(calls) == 2  # its first stage is the same
    hypergraphs = [key for key in data.train.edge_types if "task" in data.train[key]]
    assert "hyperedge_rating" not in [key[2] for key in hypergraphs]


def test_growth_is_fitted_and_every_size_measured(tmp_path, monkeypatch, capsys):
    assert uprth_growth.exponent([10, 100, 1000], [3, 300, 30_000]) == pytest.approx(2)

    def call(module, *words):
        assert module == "benchmarks.speed.uprth_growth"
        at = {word: words[place + 1] for place, word in enumerate(words) if word in OPTIONS}
        if "--prepare" in words:
            uprth_growth.prepare(at["--sizes"], at["--prepare"])
            return ""
        found = uprth_growth.measure(Path(at["--measure"]), at["--dim"], at["--epochs"], 1)
        return json.dumps(found)

    OPTIONS = ("--sizes", "--prepare", "--measure", "--dim", "--epochs")
    monkeypatch.setattr(_worlds, "_call", call)
    peaks = itertools.count(1)  # this process has had its own already
    monkeypatch.setattr(uprth_growth, "peak_gb", lambda: float(next(peaks)))
    path = tmp_path / "uprth_growth.json"
    argv = ["uprth_growth", "--sizes", "2000", "1000", "--epochs", "2", "--dim", "4"]
    monkeypatch.setattr(sys, "argv", [*argv, "--out", str(path)])
    uprth_growth.main()
    found = json.loads(path.read_text())
    assert list(found["sizes"]) == ["1000", "2000"]
    small = found["sizes"]["1000"]
    world = Planted(num_interactions=1000)[0]
    assert small["training_interactions"] == 600
    stars = [key for key in world.edge_types if key[0] == key[2]]
    links = sum(world[key].num_edges for key in stars)
    heads = sum(world[key].edge_index[0].unique().numel() for key in stars)
    assert small["incidences"] == links + heads
    assert small["tasks"][0] == "alignment" and len(small["epochs_seconds"]) == 2
    assert small["imports_gb"] <= small["peak_gb"] and "epoch_seconds" in found["exponents"]
    assert found["exponents"] == pytest.approx(found["exponents_of_largest"])  # of two sizes
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    table = render.TABLES["uprth-growth"]()
    assert len(table.rows) == 2 and {len(row) for row in table.rows} == {len(table.header)}
    capsys.readouterr()
