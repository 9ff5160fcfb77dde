import json
import pickle
import re
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.paper.questions import _changes as changes
from benchmarks.paper.questions._common import _check, answer, main
from benchmarks.paper.questions._rows import DATA, DEFAULTS, SINGLE, Row, Setup
from benchmarks.paper.questions._rules import (
    FocusSchedule,
    RandomPairsBPR,
    ReversedBPR,
    ScaledGradients,
)
from benchmarks.paper.questions._table import load
from benchmarks.paper.questions._train import QuestionArm
from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import PMTRec, Sum
from pyg_mtrec.datasets import Planted
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import Batch, MultiTaskLoader
from pyg_mtrec.nn import MF, NodeEmbedding
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import BPR, RatingRegression, Task
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.training._data import MAIN, SplitData
from pyg_mtrec.transforms import SplitInteractions

QUESTIONS = ("focusing", "no_harm", "task_kinds", "sparsity", "reduction", "decay")
TRUSTS = ("user", "trusts", "user")
CHANGES = {
    "thin": partial(changes.thin, fraction=0.3),
    "random user links": partial(changes.random_links, node_type="user"),
    "random item links": partial(changes.random_links, node_type="item"),
    "random pairs": changes.random_pairs,
    "shuffled categories": changes.shuffled_categories,
    "shuffled ratings": changes.shuffled_ratings,
}


def _draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def data() -> SplitData:
    """A small planted world, with ratings and categories, some items being in two of them."""
    graph, draws = Planted(num_interactions=1_000)[0], _draws()
    graph[MAIN].rating = torch.randint(1, 6, (graph[MAIN].num_edges,), generator=draws).float()
    items = graph["item"].num_nodes
    graph["category"].num_nodes = 9
    item = torch.cat([torch.arange(items - 20), torch.arange(30)])
    first = torch.randint(8, (items - 20,), generator=draws)
    graph[changes.CATEGORY].edge_index = torch.stack([item, torch.cat([first, first[:30] + 1])])
    train, val, test = SplitInteractions(seed=0)(graph)
    return SplitData(train, val, test, ["bpr"], "random")


def _tensors(graph: Any) -> dict[tuple[Any, str], Tensor]:
    return {
        (store._key, name): value.clone()
        for store in graph.stores
        for name, value in store.items()
        if isinstance(value, Tensor)
    }


def _same(ours: dict[Any, Tensor], theirs: dict[Any, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def _pairs(edge_index: Tensor) -> set[tuple[int, int]]:
    return set(zip(*edge_index.tolist(), strict=True))


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_leaves_what_is_predicted_and_what_it_was_given(
    data: SplitData, name: str
) -> None:
    before = [_tensors(graph) for graph in (data.train, data.val, data.test)]
    changed = CHANGES[name](data, _draws())
    assert all(
        _same(_tensors(graph), held)
        for graph, held in zip((data.train, data.val, data.test), before, strict=True)
    )
    assert not _same(_tensors(changed.train), before[0])
    for graph, held in ((changed.val, before[1]), (changed.test, before[2])):
        after = _tensors(graph)
        kept = [key for key in held if key[1].startswith(("edge_label", "seen_"))]
        assert kept and all(torch.equal(after[key], held[key]) for key in kept)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_draws_from_its_generator_and_never_looks_at_what_is_held_out(
    data: SplitData, name: str
) -> None:
    blind = replace(data, val=data.train, test=data.train)  # other labels, nothing held out
    once, again, other = (
        _tensors(CHANGES[name](given, _draws(seed)).train)
        for given, seed in ((data, 0), (blind, 0), (data, 1))
    )
    assert _same(once, again)
    assert not _same(once, other)


def test_thinning_keeps_a_share_of_the_training_interactions(data: SplitData) -> None:
    size = data.train[MAIN].edge_index.size(1)
    held_out = _pairs(data.val[MAIN].edge_label_index) | _pairs(data.test[MAIN].edge_label_index)
    rating = dict(
        zip(
            zip(*data.train[MAIN].edge_index.tolist(), strict=True),
            data.train[MAIN].rating.tolist(),
            strict=True,
        )
    )
    smaller: set[tuple[int, int]] = set()
    for fraction in (0.1, 0.25, 0.5, 0.75, 1.0):
        thinned = changes.thin(data, _draws(), fraction)
        store = thinned.train[MAIN]
        pairs = _pairs(store.edge_index)
        assert store.edge_index.size(1) == len(pairs) == round(fraction * size)
        assert torch.equal(store.edge_index, store.edge_label_index)
        assert store.edge_label.shape == (len(pairs), 1)
        assert not pairs & held_out
        assert smaller < pairs  # each share is part of the next
        smaller = pairs
        for given, found in zip(
            zip(*store.edge_index.tolist(), strict=True), store.rating.tolist(), strict=True
        ):
            assert rating[given] == found
        for graph in (thinned.val, thinned.test):
            assert torch.equal(graph[MAIN].edge_index, store.edge_index)
            assert torch.equal(graph[MAIN].rating, store.rating)
        assert torch.equal(thinned.train[TRUSTS].edge_index, data.train[TRUSTS].edge_index)
    with pytest.raises(InputError, match=r"'fraction' needs to be in \(0, 1\]"):
        changes.thin(data, _draws(), 0.0)


@pytest.mark.parametrize("node_type", ["user", "item"])
def test_random_links_are_distinct_uniform_and_as_many_as_interactions(
    data: SplitData, node_type: str
) -> None:
    number, size = data.train[node_type].num_nodes, data.train[MAIN].edge_index.size(1)
    total = torch.zeros(number, number)
    for seed in range(300):
        changed = changes.random_links(data, _draws(seed), node_type)
        links = changed.train[node_type, f"random_{node_type}_links", node_type].edge_index
        assert links.shape == (2, size) and len(_pairs(links)) == size
        assert int(links.min()) >= 0 and int(links.max()) < number
        total[links[0], links[1]] += 1
    assert total.diagonal().sum() == 0
    expected = 300 * size / number  # a node's links over all draws
    for degree in (total.sum(0), total.sum(1)):
        assert float((degree - expected).abs().max()) < 6 * expected**0.5


def test_random_links_of_a_small_graph_leave_room_for_others(data: SplitData) -> None:
    small = replace(data, train=data.train.clone())
    small.train["user"].num_nodes = 3
    links = changes.random_links(small, _draws(), "user").train["user", "random_user_links", "user"]
    assert links.edge_index.size(1) == 4  # half of all pairs, loops included in the count
    assert bool((links.edge_index[0] != links.edge_index[1]).all())


def test_random_pairs_join_any_user_with_any_item(data: SplitData) -> None:
    size = data.train[MAIN].edge_index.size(1)
    pairs = changes.random_pairs(data, _draws()).train[changes.RANDOM_PAIRS].edge_index
    assert len(_pairs(pairs)) == size
    for ids, node_type in zip(pairs, ("user", "item"), strict=True):
        assert int(ids.min()) >= 0 and int(ids.max()) < data.train[node_type].num_nodes
    common = len(_pairs(pairs) & _pairs(data.train[MAIN].edge_index))
    users, items = data.train["user"].num_nodes, data.train["item"].num_nodes
    assert common < 3 * size * size / (users * items)


def test_shuffled_categories_keep_sizes_and_degrees_and_lose_their_meaning(
    data: SplitData,
) -> None:
    before = data.train[changes.CATEGORY].edge_index
    after = changes.shuffled_categories(data, _draws()).train[changes.CATEGORY].edge_index
    assert torch.equal(before[1].bincount(minlength=9), after[1].bincount(minlength=9))
    items = data.train["item"].num_nodes
    degrees = [edges[0].bincount(minlength=items).sort().values for edges in (before, after)]
    assert torch.equal(*degrees)
    # Items go over as a whole: with the set of categories, not category by category.
    sets = [
        sorted(tuple(sorted(edges[1][edges[0] == item].tolist())) for item in range(items))
        for edges in (before, after)
    ]
    assert sets[0] == sets[1]
    assert len(_pairs(before) & _pairs(after)) < before.size(1) / 2
    with pytest.raises(InputError, match="shuffled categories need the relation"):
        bare = replace(data, train=data.train.clone())
        del bare.train[changes.CATEGORY]
        changes.shuffled_categories(bare, _draws())


def test_shuffled_ratings_are_the_same_ratings_elsewhere(data: SplitData) -> None:
    before = data.train[MAIN]
    after = changes.shuffled_ratings(data, _draws()).train[MAIN]
    assert torch.equal(before.edge_label_index, after.edge_label_index)
    assert torch.equal(before.rating.sort().values, after.rating.sort().values)
    assert torch.equal(after.rating, after.edge_label_rating)
    assert float((before.rating == after.rating).float().mean()) < 0.5


class _Scaled(Task):
    """Another task, its loss multiplied."""

    def __init__(self, task: Task, factor: float) -> None:
        super().__init__(task.edge_type)
        self.task, self.factor = task, factor

    def sampler(self, data: Any, generator: torch.Generator) -> Any:
        return self.task.sampler(data, generator)

    def forward(self, batch: Any, representations: Any) -> Tensor:
        loss: Tensor = self.factor * self.task(batch, representations)
        return loss


def _gradients(data: SplitData, rule: Any, factor: float) -> dict[str, Tensor]:
    """Gradients of one step over tasks whose losses are multiplied."""
    tasks: dict[str, Task] = {
        "bpr": _Scaled(BPR(), factor),
        "rating-regression": _Scaled(RatingRegression.from_data(data.train), factor),
    }
    embedding = NodeEmbedding.from_data(data.train, 8, seed=0)
    draws = _draws()
    loader = MultiTaskLoader(
        {name: task.sampler(data.train, draws) for name, task in tasks.items()}, 64, draws
    )
    step = MultiTaskStep(GradientCollector(embedding, MF(), tasks), rule)
    step(next(iter(loader)), epoch=3)
    tables = {name: table.grad for name, table in embedding.weight_dict.items()}
    own = {name: p.grad for name, p in tasks["rating-regression"].named_parameters()}
    return {name: grad.clone() for name, grad in {**tables, **own}.items() if grad is not None}


@pytest.mark.parametrize("rule", [Sum(), PMTRec(alpha=1.1, tau=0.01)])
def test_scaled_gradients_are_those_of_a_scaled_loss(data: SplitData, rule: Any) -> None:
    ours = _gradients(data, ScaledGradients(rule, 64.0), 1.0)
    theirs = _gradients(data, rule, 64.0)
    assert ours.keys() == theirs.keys() and len(ours) == 4
    for name in ours:
        assert float(theirs[name].abs().max()) > 0
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)


def test_a_scaled_temperature_gives_the_scaled_gradient_to_the_last_digit(
    data: SplitData,
) -> None:
    plain = _gradients(data, ScaledGradients(PMTRec(1.1, 0.01), 1.0), 1.0)
    scaled = _gradients(data, ScaledGradients(PMTRec(1.1, 0.01 * 64), 64.0), 1.0)
    fixed = _gradients(data, ScaledGradients(PMTRec(1.1, 0.01), 64.0), 1.0)
    assert all(torch.equal(scaled[name], 64 * plain[name]) for name in plain)
    assert not torch.equal(fixed["user"], 64 * plain["user"])


def test_the_schedule_weighs_by_growth_alone() -> None:
    rule = FocusSchedule(PMTRec(alpha=1.2))
    weights = rule.loss_weights(torch.tensor([5.0, -1.0, 0.0]), epoch=4)
    torch.testing.assert_close(weights, torch.tensor([1.2**4, 1.0, 1.0]) / (1.2**4 + 2))
    assert torch.equal(rule.loss_weights(torch.ones(2), epoch=10_000), torch.tensor([1.0, 0.0]))
    assert torch.equal(rule.loss_weights(torch.ones(1), epoch=3), torch.ones(1))


def test_reversed_labels_want_the_negative_above_the_positive() -> None:
    x_dict = {"user": torch.tensor([[1.0, 2.0]]), "item": torch.tensor([[0.5, 0.0], [0.0, 1.0]])}
    zero = torch.tensor([0])
    batch = Batch(MAIN, 2, zero, zero, zero + 1)
    found = ReversedBPR()(batch, Representations(x_dict))
    torch.testing.assert_close(found, softplus(torch.tensor(0.5 - 2.0)) / 2)


@pytest.mark.parametrize("task", [RandomPairsBPR, ReversedBPR])
def test_an_arm_takes_tasks_without_a_name(data: SplitData, task: type[BPR]) -> None:
    row = Setup("planted", None, Path("nowhere"), smoke=True).row(
        "some", "pmtrec", "pmtrec", ["bpr"], extra_tasks=(("extra", task),)
    )
    changed = changes.random_pairs(data, _draws())
    arm = QuestionArm(row, row.settings, changed, torch.device("cpu"))
    assert list(arm.tasks) == list(arm.loader.samplers) == ["bpr", "extra"] == row.tasks
    batches = next(iter(arm.loader))
    assert batches["extra"].edge_type == task().edge_type
    losses = arm.step(batches, epoch=1)
    assert losses.shape == (2,) and bool(losses.isfinite().all())


@pytest.mark.parametrize("dataset", DATA)
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_row_is_its_own_and_held_against_others(
    name: str, dataset: str, tmp_path: Path
) -> None:
    module = import_module(f"benchmarks.paper.questions.{name}")
    rows = module.rows(Setup(dataset, None, tmp_path))
    _check(rows)
    assert [row.parameters for row in rows] == ["defaults"] * len(rows)
    folders = {row.folder for row in rows}
    assert all(re.fullmatch(r"[\w.=+-]+", folder, re.ASCII) for folder in folders)
    single = [row for row in rows if row.arm == SINGLE]
    assert single and all(len(row.tasks) == 1 for row in single)
    for row in rows:
        assert pickle.loads(pickle.dumps(row)).identity() == row.identity()
        if row.arm != SINGLE:
            assert SINGLE in row.against
            assert "sum" in row.against or row.arm == "sum"
    known = {json.dumps(row.identity(), sort_keys=True) for row in rows}
    assert len(known) == len(rows), "two rows train the same"


def test_a_table_refuses_rows_that_do_not_hold_together(tmp_path: Path) -> None:
    row = Setup("planted", None, tmp_path).single("some")
    with pytest.raises(InputError, match="is there twice"):
        _check([row, row])
    with pytest.raises(InputError, match="which is no row"):
        _check([replace(row, against={"sum": ("some", "sum")})])


def test_parameters_come_from_finished_searches(tmp_path: Path) -> None:
    setup = Setup("amazon-office", None, tmp_path)
    path = tmp_path / "mf.all.pmtrec" / "search.json"
    path.parent.mkdir()
    best = {"lr": 0.02, "weight_decay": 3e-5, "alpha": 1.02, "tau": 1e-4}
    trials = [{"params": best, "value": 0.2}, {"params": {**best, "lr": 0.1}, "value": 0.1}]
    path.write_text(json.dumps({"budget": 3, "trials": trials}))
    assert setup.params("pmtrec")[1] == "defaults"
    assert setup.params("pmtrec")[0]["alpha"] == DEFAULTS["alpha"]
    path.write_text(json.dumps({"budget": 2, "trials": trials}))
    assert setup.params("pmtrec") == (best, "search of mf.all.pmtrec")
    row = setup.row("some", "pmtrec", "pmtrec", changes={"alpha": 1.0})
    assert (row.settings.lr, row.settings.alpha, row.settings.tau) == (0.02, 1.0, 1e-4)
    assert setup.params("sum", single=True)[1] == "defaults"


@pytest.mark.parametrize("name", QUESTIONS)
def test_without_time_every_row_is_not_run(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = import_module(f"benchmarks.paper.questions.{name}")
    argv = ["--smoke", "--work", str(tmp_path), "--minutes", "-1"]
    main(module.NAME, module.QUESTION, module.rows, module.table, argv=argv)
    table = module.table(tmp_path / "results")
    assert len(table.rows) == len(module.rows(Setup("planted", None, tmp_path)))
    assert all("not run" in row for row in table.rows)
    assert "0 rows were run" in capsys.readouterr().out
    assert module.table(tmp_path / "nothing").rows == []


def test_a_smoke_run_from_the_command_line_to_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.paper.questions import reduction

    def rows(setup: Setup) -> list[Row]:
        wanted = ("main task alone", "mean over the batch", "sum, τ·B, weight decay·B, ε·B")
        return [row for row in reduction.rows(setup) if row.condition in wanted]

    argv = ["--smoke", "--work", str(tmp_path), "--seeds", "0"]
    main(reduction.NAME, reduction.QUESTION, rows, reduction.table, argv=argv)
    (content,) = load("reduction", tmp_path / "results")
    assert (content["dataset"], content["protocol"]["seeds"]) == ("planted", [0])
    by_key = {(row["condition"], row["arm"]): row for row in content["rows"]}
    assert len(by_key) == 5
    for arm in ("sum", "pmtrec"):
        entry = by_key["sum, τ·B, weight decay·B, ε·B", arm]["against"]["mean over the batch"]
        assert entry["largest_difference_of_curves"] == 0
        assert entry["recall@20"]["ties"] == entry["recall@20"]["users"] > 1000
        assert entry["recall@20"]["p"] == entry["recall@20"]["p_holm"] == 1
    pmtrec, alone = by_key["mean over the batch", "pmtrec"], by_key["main task alone", SINGLE]
    found = pmtrec["against"][SINGLE]["recall@20"]
    apart = pmtrec["seeds"]["0"]["recall@20"] - alone["seeds"]["0"]["recall@20"]
    assert found["difference"] == pytest.approx(apart, abs=1e-6)
    assert pmtrec["mean"]["recall@20"] == pmtrec["seeds"]["0"]["recall@20"]
    assert pmtrec["sd"]["recall@20"] is None

    table = reduction.table(tmp_path / "results")
    assert f"{pmtrec['mean']['recall@20']:.4f}" in table.markdown()
    assert "   * - planted\n" in table.rst()

    # Nothing is trained twice, but what was trained otherwise is trained anew.
    runs = sorted((tmp_path / "planted" / "questions" / "reduction").glob("*/seed0.json"))
    stamps = {path: path.stat().st_mtime_ns for path in runs}
    stale = json.loads(runs[0].read_text())
    runs[0].write_text(json.dumps({**stale, "identity": {}}))
    stamps[runs[0]] = runs[0].stat().st_mtime_ns
    main(reduction.NAME, reduction.QUESTION, rows, reduction.table, argv=argv)
    assert [path.stat().st_mtime_ns == stamps[path] for path in runs] == [False, *[True] * 4]
    (again,) = load("reduction", tmp_path / "results")
    assert again["rows"] == content["rows"]
    capsys.readouterr()


def test_a_sweep_takes_the_weight_decay_that_is_best_on_validation(tmp_path: Path) -> None:
    setup = Setup("planted", None, tmp_path, smoke=True, weight_decays=(1e-4, 10.0))
    rows = [replace(setup.single("some", by_history=True), against={})]
    content = answer("some", "?", rows, setup, [0])
    (row,) = content["rows"]
    sweep = {entry["weight_decay"]: entry["valid"] for entry in row["sweep"]}
    assert sweep[1e-4] > sweep[10.0]
    assert row["weight_decay"] == 1e-4
    assert row["parameters"] == "defaults, weight decay by a sweep"
    assert row["seeds"]["0"]["valid"] == sweep[1e-4]
    users = sum(bucket["users"] for bucket in row["by_history"].values())
    total = sum(bucket["users"] * bucket["recall@20"] for bucket in row["by_history"].values())
    assert total / users == pytest.approx(row["mean"]["recall@20"], rel=1e-4)


def test_the_plot_holds_every_curve_and_marks_its_best() -> None:
    from benchmarks.paper.questions import decay

    def row(condition: str, arm: str, best: int) -> dict[str, Any]:
        sweep = [
            {"weight_decay": 10.0**-power, "valid": 0.2 if power == best else 0.1}
            for power in (3, 5, 4)
        ]
        return {"condition": condition, "arm": arm, "sweep": sweep}

    rows = [row("Adam", SINGLE, 3), row("Adam", "sum", 4), row("AdamW", "pmtrec", 5)]
    found = decay.curves({"rows": rows})
    assert found["Adam"]["sum"] == {
        "weight_decay": [1e-5, 1e-4, 1e-3],
        "valid": [0.1, 0.2, 0.1],
    }
    left, right = decay.draw(found).axes
    lines = [line.get_xydata().tolist() for line in left.lines]
    assert lines[1] == [[1e-3, 0.2]] and lines[3] == [[1e-4, 0.2]]
    assert len(right.lines) == 2
    assert decay.png({"rows": rows}).startswith(b"\x89PNG")
