import itertools
import json
import math
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import render
from benchmarks.paper import (
    _dtrn_cells,
    _dtrn_conflict,
    _dtrn_plots,
    _dtrn_relevance,
    _dtrn_runs,
    _dtrn_similarity,
    _dtrn_tables,
    _dtrn_tsne,
    _dtrn_unseen,
    _dtrn_worlds,
    dtrn,
)
from benchmarks.paper._dtrn_cells import ARMS, GRID, HEADS, PAIRS, Cell, planted, study_of
from benchmarks.paper._htlnet_runs import rows_of
from benchmarks.speed import bottoms
from pyg_mtrec.gradients import RowGradients, TaskGradients
from pyg_mtrec.metrics import log_loss

pytest.importorskip("optuna", reason="the search needs optuna: pip install 'pyg-mtrec[search]'")
PARAMS = {"lr": 0.01, "weight_decay": 1e-5, "dropout": 0.1}
SMALL = planted("sequences", 1000, epochs=1)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of SharedBottom on DTRN."""
    folder = tmp_path_factory.mktemp("runs") / "shared-bottom.dtrn"
    cell = Cell("shared-bottom", "dtrn")
    run = _dtrn_runs.run_seed(SMALL, cell, folder, PARAMS, 0)
    return cell, folder, run


def test_arms_differ_in_the_bottom_alone():
    made = {arm: Cell("mmoe", arm).settings(SMALL, PARAMS, 3) for arm in ARMS}
    assert made["bare"].bottom is None and made["bare"].bottom_options == []
    same = {arm: replace(one, bottom=None, bottom_options=[]) for arm, one in made.items()}
    assert all(one == same["bare"] for one in same.values())
    assert same["bare"].head_options == ["dropout=0.1"] and same["bare"].balancer == "sum"
    assert same["bare"].dataset_options[-1] == "seed=3"
    assert made["plain"].bottom_options == [
        "tim=false",
        "trm=false",
        "positions=learned",
        "dropout=0.1",
    ]
    assert all(ours in ARMS and theirs in ARMS for ours, theirs in PAIRS)
    # One log for all seeds
    one = Cell("ple", "tim").settings(study_of("planted", None, 1000), {}, 3)
    assert one.dataset_options == ["targets=sequences", "num_interactions=1000"]


def test_all_arms_are_tested_on_the_same_rows():
    bare = _dtrn_runs.load(Cell("mmoe", "bare").settings(SMALL, PARAMS, 0))
    whole = _dtrn_runs.load(Cell("mmoe", "dtrn").settings(SMALL, PARAMS, 0))
    some = _dtrn_runs.load(Cell("mmoe", "dtrn").settings(SMALL, PARAMS, 0), ["carts"])
    assert bare.test is whole.test is some.test
    assert (bare.behaviours, some.behaviours) == ([], ["carts"])
    assert whole.behaviours == ["views", "carts", "buys"]


def test_a_share_is_none_at_the_start_and_all_at_the_best():
    assert _dtrn_worlds.share(0.7, 0.7, 0.4) == 0 and _dtrn_worlds.share(0.4, 0.7, 0.4) == 1
    metrics = ["mean/log_loss", "buy/log_loss", "buy/auc"]
    run = {
        "targets": ["buy"],
        "test": dict(zip(metrics, (0.5, 0.5, 0.8), strict=True)),
        "constant": dict(zip(metrics, (0.6, 0.6, 0.5), strict=True)),
        "oracle": dict(zip(metrics, (0.4, 0.4, 0.9), strict=True)),
    }
    bare = {"test": dict(zip(metrics, (0.55, 0.55, 0.6), strict=True))}
    found = _dtrn_worlds.shares(run, bare)
    assert [found[m]["constant"] for m in metrics] == pytest.approx([0.5, 0.5, 0.75])
    assert [found[m]["bare"] for m in metrics] == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert all(set(of) == {"constant"} for of in _dtrn_worlds.shares(run, None).values())


def test_cka_is_one_up_to_rotation_and_scale_and_follows_its_kernels():
    x, y = random(40, 5), random(40, 7, seed=1)
    turn = torch.linalg.qr(random(5, 5, seed=2)).Q
    assert _dtrn_similarity.cka(x, 3 * x @ turn + 7) == pytest.approx(1)
    # By kernels: <HKH, HLH> / (|HKH| |HLH|)
    center = torch.eye(40, dtype=torch.double) - 1 / 40
    k, l_ = (center @ (side @ side.t()) @ center for side in (x, y))
    expected = float((k * l_).sum() / (k.norm() * l_.norm()))
    assert _dtrn_similarity.cka(x, y) == pytest.approx(expected)
    assert _dtrn_similarity.cka(x, torch.ones(40, 2)) == 0


def test_a_map_keeps_neighbours():
    centers = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]], dtype=torch.double)
    x = (centers[:, None] + random(3, 15, 3)).flatten(0, 1)
    p = _dtrn_tsne.affinities(x, perplexity=6.0)
    assert float(p.sum()) == pytest.approx(1) and torch.equal(p, p.t())
    y = _dtrn_tsne.tsne(x, steps=250)
    nearest = (torch.cdist(y, y) + torch.eye(45) * 1e9).argmin(1)
    assert bool((nearest // 15 == torch.arange(45) // 15).all())
    assert torch.equal(y, _dtrn_tsne.tsne(x, steps=250))


def test_the_map_s_gradient_is_autograd_s():
    p, y = _dtrn_tsne.affinities(random(9, 4), 2.0), random(9, 2, seed=3).requires_grad_()
    kernel = 1 / (1 + (y[:, None] - y[None]).square().sum(-1))
    kernel = kernel * (1 - torch.eye(9))
    q = kernel / kernel.sum()
    loss = (p * (p.clamp(min=1e-30) / q.clamp(min=1e-30)).log()).sum()
    expected = torch.autograd.grad(loss, y)[0]
    assert torch.allclose(_dtrn_tsne.gradient(p, y.detach()), expected, atol=1e-10)


def test_every_point_has_its_perplexity():
    x = random(30, 3)
    perplexity = 5.0
    # The symmetric form is the mean of rows that were found apart: redo one of them by hand.
    p = _dtrn_tsne.affinities(x, perplexity)
    distance = (x[0] - x).square().sum(1)
    low, high = 1e-9, 1e9
    for _ in range(200):
        middle = math.sqrt(low * high)
        row = torch.exp(-(distance - distance[1:].min()) * middle)
        row[0] = 0
        row = row / row.sum()
        entropy = -float((row * row.clamp(min=1e-300).log()).sum())
        low, high = (middle, high) if entropy > math.log(perplexity) else (low, middle)
    assert entropy == pytest.approx(math.log(perplexity), abs=1e-6)
    assert bool((p[0] >= row / 60 - 1e-9).all())


def test_cosines_are_counted_block_by_block():
    grads = torch.tensor(
        [
            [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]],
            [[-2.0, 1.0], [1.0, 1.0], [1.0, 0.0]],
        ]
    )
    dense = {"head.a": torch.tensor([[3.0], [1.0]]), "bottom.b": torch.tensor([[1.0], [-2.0]])}
    rows = {"item": RowGradients(torch.tensor([0, 4, 7]), grads)}
    counts = {}
    _dtrn_conflict.count(TaskGradients(torch.zeros(2), rows, dense), counts)
    assert counts["rows"][:2] == [2.0, 1.0]  # the second row is none of the first target's
    assert counts["rows"][2] == pytest.approx(-2 / math.sqrt(5) + 1 / math.sqrt(2))
    assert counts["tables"] == pytest.approx([1, 1, -1 / math.sqrt(3 * 8)])
    assert counts["head"] == pytest.approx([1, 0, 1])
    assert counts["bottom"] == pytest.approx([1, 1, -1])
    norms = (3 + 9 + 1) * (8 + 1 + 4)
    assert counts["all"] == pytest.approx([1, 0, (-1 + 3 - 2) / math.sqrt(norms)])
    epochs = [counts, {"rows": [6.0, 1.0, 0.0]}]
    found = _dtrn_conflict.shares(epochs)
    assert found["rows"] == pytest.approx(2 / 8) and found["bottom"] == 1


def test_measuring_gradients_keeps_the_update(trained):
    cell, _, _ = trained
    settings = cell.settings(SMALL, {**PARAMS, "dropout": 0.0}, 0)
    data = _dtrn_runs.load(settings)
    plain = _dtrn_runs.Run(settings, data)
    measured = _dtrn_runs.Run(settings, data, _dtrn_conflict.Measured)
    assert plain.curve == measured.curve
    assert sum(counts["all"][0] for counts in measured.arm.step.epochs) == 1


def test_a_saved_run_predicts_as_it_did(trained):
    cell, folder, run = trained
    arm = _dtrn_runs.trained(SMALL, cell, folder, PARAMS, 0)
    predicted = arm.predict(arm.data.test)
    kept = rows_of(folder, 0)
    losses = {t: float(log_loss(predicted[t], arm.data.label("test", t))) for t in predicted}
    assert run["test"]["cart/log_loss"] == pytest.approx(losses["cart"])
    assert run["test"]["mean/log_loss"] == pytest.approx(sum(losses.values()) / 2)
    assert torch.equal(kept["predictions"]["buy"], predicted["buy"])
    assert float(kept["losses"]["mean/log_loss"].mean()) == pytest.approx(sum(losses.values()) / 2)


def test_relevance_is_that_of_the_behaviour_that_was_read(trained):
    cell, folder, _ = trained
    arm = _dtrn_runs.trained(SMALL, cell, folder, PARAMS, 0)

    def only_carts(rows, batch):
        carts = (batch.sequences["carts"] >= 0) * batch.sequences["carts"]
        return {"cart": torch.zeros(batch.size), "buy": (carts.sum(1) % 7).float() - 3}

    arm.model.predict_from = only_carts
    found = _dtrn_relevance.increases(arm)
    assert found["cart"] == {"views": 0.0, "carts": 0.0, "buys": 0.0}
    assert found["buy"]["views"] == found["buy"]["buys"] == 0 and found["buy"]["carts"] != 0
    planted = _dtrn_relevance._planted(arm)
    assert planted == {
        "cart": {"views": 1.0, "carts": 0.0, "buys": 0.0},
        "buy": {"views": 0.0, "carts": 1.0, "buys": 0.0},
    }
    perfect = _dtrn_relevance.agreement(planted, planted)
    assert perfect == pytest.approx({"pearson": 1, "spearman": 1, "on_planted": 1})
    half = {"cart": {"views": 3.0, "carts": 1.0, "buys": -1.0}, "buy": dict(planted["buy"])}
    assert _dtrn_relevance.agreement(half, planted)["on_planted"] == pytest.approx(4 / 5)


def test_a_later_target_changes_nothing_but_its_own(trained):
    cell, _, _ = trained
    settings = cell.settings(SMALL, PARAMS, 0)
    data = _dtrn_runs.load(settings)
    first = _dtrn_runs.Run(settings, replace(data, targets={"cart": "binary"}, core="cart"))
    arm = _dtrn_unseen.with_target(first.arm, settings, data, "buy")
    own = {name for name, p in arm.model.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[0] for name in own} == {
        "head.towers.1.weights",
        "head.towers.1.biases",
        "bottom.tim.task_embeddings",
        "bottom.trm.in_weights",
        "bottom.trm.in_biases",
        "bottom.trm.out_weights",
        "bottom.trm.out_biases",
    }
    before = {name: p.clone() for name, p in arm.model.named_parameters()}
    assert _dtrn_unseen.fit(arm, "buy") >= 1
    changed = {n for n, p in arm.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed and changed <= own
    old = first.arm.predict(data.test)["cart"]
    assert torch.allclose(arm.predict(data.test)["cart"], old, atol=1e-6)


def test_the_bound_counts_what_depends_on_the_task_once_a_task():
    assert bottoms.bound(60.0, 40.0, 2) == pytest.approx(1.4)
    assert bottoms.bound(60.0, 40.0, 1) == 1
    inputs = bottoms.Inputs(3, **bottoms.SMALL)
    plain, both = bottoms.tim(inputs, 1, conditional=False), bottoms.tim(inputs, 2)
    assert plain(inputs.target, inputs.sequences).shape[0] == 1
    assert both(inputs.target, inputs.sequences).shape[:3] == (2, 16, 3)


def test_a_bottom_s_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bottoms, "TASKS", (1, 2))
    monkeypatch.setattr(bottoms, "BEHAVIOURS", (1, 2))
    argv = ["bottoms", "--smoke", "--out", str(tmp_path / "bottoms.json")]
    monkeypatch.setattr(sys, "argv", argv)
    bottoms.main()
    found = json.loads((tmp_path / "bottoms.json").read_text())
    bound = found["bound"]
    a, f = bound["attention_ms"], bound["feed_ms"]
    assert bound["bound"] == pytest.approx((a + 2 * f) / (a + f))
    by_case = {(e["tasks"], e["behaviours"], e["hyper_hidden"]): e for e in found["growth"]}
    # A task more is an embedding more in TIM, and every pair a Transformer in the naive way.
    dim = found["growth_case"]["dim"]
    small, large = by_case[1, 2, 64], by_case[2, 2, 64]
    assert large["tim_parameters"] - small["tim_parameters"] == dim
    assert large["naive_parameters"] == 2 * small["naive_parameters"]
    assert by_case[2, 2, 256]["tim_parameters"] > large["tim_parameters"]
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    table = render.TABLES["dtrn-cost"]()
    assert len(table.rows) == 6 and all(len(row) == len(table.header) for row in table.rows)


def test_a_killed_run_goes_on_and_reads_no_test_twice(tmp_path, monkeypatch):
    cell, space = Cell("shared-bottom", "bare"), {"lr": [0.01]}
    folder = tmp_path / str(cell)
    said = dtrn._search(SMALL, cell, folder, space, 1, deadline=0.0)
    assert "not complete" in said and not folder.exists()
    assert "not run" in dtrn._seed(SMALL, cell, folder, folder, 0)
    dtrn._search(SMALL, cell, folder, space, 1, deadline=math.inf)
    said = dtrn._seed(SMALL, cell, folder, folder, 0)
    monkeypatch.setattr(_dtrn_runs, "Run", None)  # nothing is trained again
    assert dtrn._seed(SMALL, cell, folder, folder, 0) == said


def test_stages_fill_their_tables(tmp_path, monkeypatch, capsys):
    work, results = tmp_path / "work", tmp_path / "results"
    argv = ["dtrn", "--smoke", "--results", str(results), "--arms", "bare", "plain", "dtrn"]
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(dtrn, "subsets", lambda study: {"only-views": ["views"]})
    monkeypatch.setattr(_dtrn_unseen, "VARIANTS", ("bare-frozen", "dtrn-frozen"))
    dtrn.main()
    assert not work.exists()
    said = capsys.readouterr().out
    assert "not run" not in said and "Error" not in said
    (results / "dtrn-planted-table.json").rename(results / "dtrn-kuairand-slice.json")
    found = json.loads((results / "dtrn-planted.json").read_text())
    gains = found["difference_of_differences"]["mean/log_loss"]
    name = "shared-bottom.dtrn - shared-bottom.plain"
    by_mode = [
        found["modes"][mode]["paired"]["mean/log_loss"][name]["share"]["values"]
        for mode in _dtrn_cells.MODES
    ]
    differences = [a - b for a, b in zip(*by_mode, strict=True)]
    assert gains[name]["values"] == pytest.approx(differences, abs=1e-4)
    worlds = [found["modes"][mode]["worlds"]["0"] for mode in _dtrn_cells.MODES]
    assert worlds[0]["oracle"]["cart/log_loss"] == worlds[1]["oracle"]["cart/log_loss"]
    log = json.loads((results / "dtrn-kuairand-slice.json").read_text())
    for entry in itertools.chain(*(of.values() for of in log["paired"]["loss"].values())):
        assert entry["p_holm"] >= entry["p"]
    assert set(log["unseen"]) == {"cart", "buy"} and log["item_rate"]["smoothing"] > 0
    assert {cell.partition(".")[0] for cell in log["cells"]} == {"shared-bottom", "ple"}

    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "RESULTS", results)
    for name in [n for n in render.TABLES if n.startswith("dtrn-") and "retail" not in n]:
        if name != "dtrn-cost":
            table = render.TABLES[name]()
            assert table.rows and all(len(row) == len(table.header) for row in table.rows), name
            assert "nan" not in table.markdown()
    real = _dtrn_tables.real(results, "kuairand-slice")
    assert len(real.rows) == 2 + len(HEADS) * len(ARMS) and "not run" in real.markdown()
    stale = [entry for entry in render._stale_images() if entry[1].startswith("dtrn-")]
    assert [name for _, name, _ in stale] == [
        "dtrn-relevance",
        "dtrn-conflict-kuairand-slice",
        "dtrn-components-kuairand-slice",
    ]
    for image, name, picked in stale:
        image.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(render._draw(name, picked))
    assert not list(render._stale_images())


def test_tables_without_results_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "ROOT", tmp_path)
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    names = [name for name in render.TABLES if name.startswith("dtrn-")]
    assert len(names) == 4 + 6 * 2
    for name in names:
        text = f".. table: {name}\n\n.. /table"
        assert "Not measured yet" in render.fill(text, render.RST)
    for name in _dtrn_plots.PLOTS:
        text = f".. table: dtrn-{name}\n\n.. /table"
        assert "not run" in render.fill(text, render.RST)


def test_one_grid_for_all():
    assert set(GRID) == set(_dtrn_cells.PLANTED_GRID) == {"lr", "weight_decay", "dropout"}
