import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks.paper import _uprth_authors as authors
from benchmarks.paper import uprth
from benchmarks.paper._uprth_reference import Reference, read_steam
from benchmarks.paper._uprth_terms import compare
from benchmarks.speed import uprth_epoch
from pyg_mtrec.datasets import Steam
from pyg_mtrec.metrics import DotProductScorer

USERS, ITEMS = 40, 30
SIZES = {"user_groups": (USERS, 9), "item_category": (ITEMS, 4), "item_rating": (ITEMS, 7)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Files as those of Steam, but for users with several training items."""
    draw = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    raw = folder / "steam" / "raw"
    raw.mkdir(parents=True)

    def some(number, most):  # item 29 stays out of all lists
        return draw.permutation(number - 1)[: draw.integers(1, most + 1)].tolist()

    train = [some(ITEMS, 3) for _ in range(USERS)]
    # The last item is in the test part alone, so that it has no training user.
    test = {0: [ITEMS - 1]}
    for user in range(2, USERS, 2):
        test[user] = [item for item in some(ITEMS, 2) if item not in train[user]] or [ITEMS - 1]
    lists = {"train": dict(enumerate(train)), "test": test}
    lists["user_friend"] = {
        head: [user for user in some(USERS, 4) if user != head] or [39] for head in range(0, 30, 3)
    }
    for name, (number, labels) in SIZES.items():
        members = [row for row in range(number) if row % 5 != 1]
        lists[name] = {row: some(labels + 1, 3) for row in members}
        lists[name][members[0]] = list(range(labels))  # every label occurs
    for name, rows in lists.items():
        text = "".join(f"{' '.join(map(str, [head, *rest]))}\n" for head, rest in rows.items())
        (raw / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def graphs(root):
    return authors.split(Steam(str(root / "steam"))[0], seed=3)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.float64, 1e-9)])
def test_every_term_is_that_of_the_restated_formulas(root, graphs, dtype, bound, attention):
    start = authors.initial(graphs[0], seed=1, dim=16)
    start = {name: 8 * rows for name, rows in start.items()}  # so that the softmax has an opinion
    problem = read_steam(root / "steam" / "raw")
    found = compare(graphs[0], problem, dtype, attention, start=start)
    assert list(found["steps"][0]) == [*authors.pretext_tasks(graphs[0]), "total"]
    assert len(found["steps"]) == 5 and found["equal"]
    assert max(found["largest_relative_difference"].values()) < bound
    totals = [row["total"][1] for row in found["steps"]]
    assert totals == sorted(totals, reverse=True)  # both train


@pytest.mark.parametrize(
    ("name", "value"),
    [("divisor", 4.0), ("strength", 9.0), ("second_hop", 0.2), ("l2", 2e-4), ("share", 0.7)],
)
def test_another_constant_is_noticed(root, graphs, monkeypatch, name, value):
    monkeypatch.setattr(Reference, name, value)
    problem = read_steam(root / "steam" / "raw")
    assert not compare(graphs[0], problem, torch.float64, steps=2)["equal"]


def test_negatives_of_other_incidences_are_refused(root, graphs):
    problem = read_steam(root / "steam" / "raw")
    problem.tasks["group"].vertex[0] += 1
    with pytest.raises(ValueError, match="other incidences"):
        compare(graphs[0], problem, torch.float64, steps=1)


def test_tables_follow_raw_ids(root, graphs):
    start = authors.initial(graphs[0], seed=0, dim=4)
    plain = authors.split(Steam(str(root / "steam"))[0], seed=4)[0]
    for graph in (graphs[0], plain):
        embedding = authors.tables(graph, start, torch.float32)
        for name, weight in embedding.weight_dict.items():
            assert torch.equal(weight[graph[name].raw_id.argsort()], start[name])


def test_finetuning_loss_is_bpr_with_a_penalty_on_all_rows(graphs):
    start = authors.initial(graphs[0], seed=0, dim=4)
    embedding = authors.tables(graphs[0], start, torch.float64)
    user, item = (embedding()[name].detach().clone() for name in ("user", "item"))
    stage = authors.finetuning(graphs[0], embedding, seed=0)
    assert len(stage.adj_dict) == 2
    batches = stage.batches()
    found = stage.step(batches)["total"]

    src, dst = graphs[0][authors.MAIN].edge_index
    h = torch.zeros(USERS, ITEMS, dtype=torch.float64).index_put((src, dst), torch.ones(1).double())
    by_item, by_user = h.sum(0).clamp(min=1)[:, None], h.sum(1).clamp(min=1)[:, None]
    x_user = h @ ((h.T @ user) / by_item) / by_user
    x_item = h.T @ ((h @ item) / by_user) / by_item
    batch = batches["bpr"]
    values = []
    for u, i, j in zip(
        batch.src_index, batch.dst_pos_index, batch.dst_neg_index.view(-1), strict=True
    ):
        values.append(torch.log1p(torch.exp(x_user[u] @ (x_item[j] - x_item[i]))))
    assert len(values) == src.numel()
    penalty = authors.L2 / 2 * (user.square().sum() + item.square().sum())
    assert found == pytest.approx(float(torch.stack(values).mean() + penalty), rel=1e-9)


def test_negatives_of_finetuning_may_be_training_items(graphs):
    stage = authors.finetuning(
        graphs[0], authors.tables(graphs[0], authors.initial(graphs[0], 0, 2), torch.float32)
    )
    hit = 0
    for _ in range(50):
        batch = stage.batches()["bpr"]
        hit += int((batch.dst_pos_index == batch.dst_neg_index.view(-1)).sum())
    expected = 50 * batch.dst_pos_index.numel() / ITEMS
    assert abs(hit - expected) < 4 * expected**0.5


class Script:
    """A stage whose totals are written beforehand."""

    def __init__(self, totals):
        self.totals, self.epoch = totals, 0

    def step(self):
        self.epoch += 1
        return {"total": self.totals(self.epoch)}

    def scorer(self):
        return self.epoch


def test_pretraining_looks_every_tenth_epoch_and_stays_on_a_plateau():
    plateau = authors.pretrain(Script(lambda epoch: 1.0), 130)
    assert (plateau["epochs"], plateau["stopped"]) == (130, False)
    rises = authors.pretrain(Script(lambda epoch: 1.0 if epoch <= 20 else 2.0), 200)
    assert (rises["epochs"], rises["stopped"]) == (70, True)
    unseen = authors.pretrain(Script(lambda epoch: float(epoch % 10 > 0)), 60)  # rises in between
    assert not unseen["stopped"]


def test_finetuning_ranks_before_the_step_and_keeps_the_first_best():
    recalls = {9: 0.1, 19: 0.3, 29: 0.2}

    def evaluator(epoch):
        value = recalls.get(epoch, 0.25)
        return SimpleNamespace(metrics=dict.fromkeys(authors.METRICS, value))

    found = authors.finetune(Script(lambda epoch: 0.0), evaluator, 500)
    assert [look["epoch"] for look in found["looks"]] == [10, 20, 30, 40, 50, 60, 70]
    assert found["best"]["epoch"] == 20 and found["best"]["recall@10"] == 0.3
    assert found["stopped"] and len(found["losses"]) == 70


def test_a_whole_benchmark_and_its_second_start(root, tmp_path, monkeypatch, capsys):
    argv = ["uprth", "--root", str(root), "--work", str(tmp_path / "work"), "--seeds", "0", "1"]
    argv += ["--results", str(tmp_path), "--pretrain-epochs", "60", "--finetune-epochs", "30"]
    monkeypatch.setattr(sys, "argv", argv)
    uprth.main()
    path = tmp_path / "uprth-authors-steam.json"
    found = json.loads(path.read_text())
    assert list(found["runs"]) == list(uprth.ARMS)
    assert "test" in found["selection"]
    assert all(term["equal"] for term in found["terms"].values())
    for arm in found["runs"].values():
        values = [seed["test"]["recall@20"] for seed in arm["seeds"].values()]
        assert len(values) == 2 and arm["mean"]["recall@20"] == pytest.approx(sum(values) / 2)
    first = found["runs"]["attention"]["seeds"]["0"]["pretraining"]
    assert len(first["losses"]["total"]) == 6 and first["losses"]["total"][5] == first["loss_at_50"]
    assert found["runs"]["no-pretraining"]["seeds"]["0"].get("pretraining") is None
    beside = found["beside_the_authors"]
    assert not beside["loss_at_50"]["within_tolerance"]  # the authors' is of other data
    gap = found["runs"]["attention"]["mean"]["recall@10"] - uprth.THEIRS["attention"]["recall@10"]
    assert beside["recall@10"]["difference"] == pytest.approx(gap)
    assert found["test_users"] == USERS // 2

    monkeypatch.setattr(uprth, "run", None)  # nothing is run twice
    uprth.main()
    assert json.loads(path.read_text())["runs"] == found["runs"]
    assert capsys.readouterr().out.count("attention seed 1") == 4


def test_an_epoch_is_timed_and_its_memory_taken(tmp_path, monkeypatch, capfd):
    for name, value in {"USERS": 300, "ITEMS": 50, "TEST_USERS": 60}.items():
        monkeypatch.setattr(uprth_epoch, name, value)
    lines = {"bought_together": (20, 25), "compared_together": (10, 15)}
    monkeypatch.setattr(uprth_epoch, "LINES", lines)
    path = tmp_path / "out.json"
    argv = ["uprth_epoch", "--data", "synthetic", "--epochs", "3", "--warm-up", "1"]
    monkeypatch.setattr(sys, "argv", [*argv, "--profile", "4", "--out", str(path)])
    uprth_epoch.main()
    found = json.loads(path.read_text())
    assert found == json.loads(capfd.readouterr().out)
    assert found["tasks"] == ["alignment", *uprth_epoch.LABELS, *lines]
    assert len(found["epochs_seconds"]) == 3 and found["pretrain_epoch_seconds"] > 0
    assert found["imports_gb"] <= found["before_training_gb"] <= found["peak_gb"]
    assert len(found["operators"]) == 4
    shares = [operator["share"] for operator in found["operators"]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1


def test_ranking_is_the_authors(graphs):
    train, test = graphs
    generator = torch.Generator().manual_seed(0)
    user = torch.randn(USERS, 3, generator=generator)
    item = torch.randn(ITEMS, 3, generator=generator)
    found = authors.evaluator_of(test)(DotProductScorer(user, item)).metrics
    seen = set(map(tuple, train[authors.MAIN].edge_index.T.tolist()))
    wanted: dict[int, set[int]] = {}
    for u, i in test[authors.MAIN].edge_label_index.T.tolist():
        wanted.setdefault(u, set()).add(i)
    recall, ndcg = [], []
    for u, items in wanted.items():
        order = [i for i in (user[u] @ item.T).argsort(descending=True).tolist()]
        top = [i for i in order if (u, i) not in seen][:10]
        recall.append(len(items & set(top)) / len(items))
        gain = sum(1 / np.log2(rank + 2) for rank, i in enumerate(top) if i in items)
        ndcg.append(gain / sum(1 / np.log2(rank + 2) for rank in range(min(10, len(items)))))
    assert found["recall@10"] == pytest.approx(np.mean(recall))
    assert found["ndcg@10"] == pytest.approx(np.mean(ndcg))
