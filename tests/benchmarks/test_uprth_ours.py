import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import render
from benchmarks.paper import _uprth_ceiling as ceiling
from benchmarks.paper import _uprth_plots, _uprth_tables, uprth
from benchmarks.paper import _uprth_preset as preset
from benchmarks.paper import _uprth_studies as studies
from benchmarks.paper import _uprth_trials as trials
from benchmarks.paper._uprth_ours import Config, finetuning, split, tables
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.datasets import Steam
from pyg_mtrec.metrics import PairedComparison

USERS, ITEMS, GROUPS = 120, 30, 6
MAIN = ("user", "interacts", "item")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Files as those of Steam: one training item a user, of its group's taste or popular."""
    draw = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("data")
    raw = folder / "steam" / "raw"
    raw.mkdir(parents=True)
    share = 1 / np.arange(1, ITEMS)  # the last item is in the test part alone
    share /= share.sum()
    group = draw.integers(0, GROUPS, USERS)

    def some(user):
        if draw.random() < 0.5:
            return int(draw.integers(0, (ITEMS - 1) // GROUPS) * GROUPS + group[user])
        return int(draw.choice(ITEMS - 1, p=share))

    train = {user: [some(user)] for user in range(USERS)}
    test = {0: [ITEMS - 1]}
    for user in range(1, USERS, 2):
        other = some(user)
        test[user] = [other if other != train[user][0] else (other + 1) % (ITEMS - 1)]
    lists = {
        "train": train,
        "test": test,
        "user_friend": {head: [head + 1, head + 2] for head in range(0, USERS - 2, 5)},
        "user_groups": {user: [int(group[user])] for user in range(USERS) if user % 7},
        "item_category": {item: [item % 4] for item in range(ITEMS) if item % 5},
        "item_rating": {item: [item % 3] for item in range(ITEMS)},
    }
    for name, rows in lists.items():
        text = "".join(f"{' '.join(map(str, [head, *rest]))}\n" for head, rest in rows.items())
        (raw / f"{name}.txt").write_text(text)
    return folder


@pytest.fixture(scope="module")
def parts(root):
    return split(Steam(str(root / "steam"))[0], seed=1)


@pytest.fixture(scope="module")
def problem(parts):
    return trials.Problem(*parts, seed=1)


CONFIG = Config(dim=8, pretrain_epochs=3, epochs=10)


def test_features_are_counts_of_what_is_known_in_training(problem):
    features = ceiling.Neighbours(problem.graph.data)
    users = torch.tensor([3, 50, 119, 7])
    found = features(users)
    assert found.shape == (4, ITEMS, len(features.names))
    data = problem.graph.data
    bought = dict(data[MAIN].edge_index.t().tolist())
    popularity = np.bincount(list(bought.values()), minlength=ITEMS)
    groups, categories = {}, {}
    for user, group in data["user", "in", "group"].edge_index.t().tolist():
        groups.setdefault(group, set()).add(user)
    for item, category in data["item", "in", "category"].edge_index.t().tolist():
        categories[item] = category
    at = {name: position for position, name in enumerate(features.names)}
    prior = np.maximum(popularity / popularity.sum(), 1e-6)
    for row, user in enumerate(users.tolist()):
        count = np.zeros(ITEMS)
        for members in groups.values():
            for mate in members - {user} if user in members else ():
                count[bought[mate]] += 1
        lift = np.log((count + 10 * prior) / ((count.sum() + 10) * prior))
        assert found[row, :, at["group-mates"]].numpy() == pytest.approx(lift, abs=1e-5)
        assert found[row, :, 0].numpy() == pytest.approx(np.log(popularity + 1), abs=1e-5)
        own = categories.get(bought[user])
        same = [float(own is not None and categories.get(item) == own) for item in range(ITEMS)]
        assert found[row, :, at["category"]].tolist() == same


def test_the_ceiling_is_the_minimum_of_its_penalised_loss(problem, parts):
    features = ceiling.Neighbours(problem.graph.data)
    model, record = ceiling.fit(features, parts[1], seed=0)
    users, items = parts[1][MAIN].edge_label_index
    seen = torch.zeros(USERS, ITEMS, dtype=torch.bool)
    seen[tuple(parts[1][MAIN].seen_edge_index)] = True
    x = ((features(users) - model.mean) / model.std).double()
    weight = model.weight.double().requires_grad_()
    score = (x @ weight).masked_fill(seen[users], -torch.inf)
    loss = torch.nn.functional.cross_entropy(score, items)
    (loss + record["penalty"] / 2 * weight.square().sum()).backward()
    loss = loss.detach()
    assert float(weight.grad.abs().max()) < 1e-3
    assert float(loss) < record["uniform_loss"]
    assert set(record["left_out_loss"]) == {f"{value:g}" for value in ceiling.PENALTIES}
    assert min(record["left_out_loss"].values()) > float(loss)  # left-out users are harder


def test_half_of_the_test_users_validate(problem):
    valid, tested = (set(each.users.tolist()) for each in (problem.val, problem.test))
    assert not valid & tested
    assert abs(len(valid) - len(tested)) <= 1 and len(valid | tested) == USERS // 2 + 1


@pytest.mark.parametrize("encoder", ["uprth", "mf"])
def test_finetuning_starts_at_log_popularity_and_scaled_cosines(problem, encoder):
    graph = problem.graph
    config = Config(dim=8, encoder=encoder, strength=0.3)
    embedding = tables(graph.data, config, seed=0)
    stage = finetuning(graph, embedding, config, seed=0)
    user, item = (weight.detach().double() for weight in embedding.weight_dict.values())
    bought = graph.data[MAIN].edge_index
    if encoder == "uprth":
        h = torch.zeros(USERS, ITEMS, dtype=torch.float64)
        h[tuple(bought)] = 1.0
        user = h @ (h.t() @ user / h.sum(0).clamp(min=1)[:, None])
        item = item * (h.sum(0) > 0)[:, None]
    unit = [x / x.norm(dim=1, keepdim=True).clamp(min=1e-12) for x in (user, item)]
    cosine = unit[0] @ unit[1].t()
    count = torch.bincount(bought[1], minlength=ITEMS).double()
    wanted = 0.3 * cosine / cosine.std() + (count + 1).log()
    found = stage.scorer().score(torch.arange(USERS)).double()
    assert torch.allclose(found, wanted, atol=1e-4)
    for _ in range(3):
        stage.step()
    users = stage.embedding.weight_dict["user"].detach()
    assert bool((users[:, -1] == 1).all())  # else the bias would be each user's own


def test_a_tiny_strength_ranks_by_popularity(problem):
    config = Config(dim=8, strength=1e-5)
    stage = finetuning(problem.graph, tables(problem.graph.data, config, 0), config, 0)
    ours, theirs = (
        problem.test(scorer).metrics["recall@20"]
        for scorer in (stage.scorer(), Popularity(problem.train))
    )
    assert ours == pytest.approx(theirs, abs=0.05)  # ties


def test_smaller_shares_are_parts_of_larger_ones(parts):
    key = ("user", "in", "group")
    found = [studies.with_share(parts[0], key, share, seed=3) for share in (0.1, 0.5, 1.0)]
    sets = [set(map(tuple, each[key].edge_index.t().tolist())) for each in found]
    assert sets[0] < sets[1] < sets[2] == set(map(tuple, parts[0][key].edge_index.t().tolist()))
    total = parts[0][key].num_edges
    assert [len(each) for each in sets] == [round(0.1 * total), round(0.5 * total), total]


def test_validation_selects_and_the_start_counts():
    recalls = {0: 0.1, 5: 0.3, 10: 0.2}
    stage = SimpleNamespace(epoch=0)

    def step():
        stage.epoch += 1

    stage.step, stage.scorer = step, lambda: stage.epoch

    def evaluator(epoch):
        return SimpleNamespace(metrics=dict.fromkeys(trials.METRICS, recalls.get(epoch, 0.15)))

    scorer, record = trials.finetune(stage, evaluator, epochs=100)
    assert (scorer, record["epoch"], record["valid"]["ndcg@20"]) == (5, 5, 0.3)
    assert record["looks"][-1]["epoch"] == 5 + trials.EVERY * trials.PATIENCE


def test_a_node_without_edges_is_ranked_by_its_own_row(problem):
    config = Config(dim=4, encoder="uprth")
    stage = finetuning(problem.graph, tables(problem.graph.data, config, 0), config, 0)
    found = studies.represent(stage, stage.adj_dict)
    never = torch.bincount(problem.graph.data[MAIN].edge_index[1], minlength=ITEMS) == 0
    assert bool(never.any())
    own = stage.embedding.weight_dict["item"].detach()
    assert torch.equal(found.item_x[never], own[never])
    plain = stage.scorer()
    assert torch.equal(found.user_x, plain.user_x)
    assert torch.equal(found.item_x[~never], plain.item_x[~never])


def test_attention_is_a_softmax_over_an_items_tasks(problem):
    graph = problem.graph
    embedding = tables(graph.data, CONFIG, 0)
    found = trials.attention_map(graph, embedding)["item"]
    assert sorted(found["tasks"]) == ["category", "rating"]
    degree = torch.bincount(graph.data[MAIN].edge_index[1], minlength=ITEMS)
    assert sum(part["nodes"] for part in found["bins"]) == ITEMS
    for part in found["bins"]:
        inside = (degree >= part["low"]) & (degree < part["high"])
        assert int(inside.sum()) == part["nodes"]
        # Of two tasks one has what the other has not.
        first, second = (torch.tensor(values) for values in part["quantiles"])
        assert torch.allclose(first, 1 - second.flip(0), atol=1e-5)
    user, item = (weight.detach() for weight in embedding.weight_dict.values())
    h = torch.zeros(USERS, ITEMS)
    h[tuple(graph.data[MAIN].edge_index)] = 1.0
    query = h.t() @ (h @ (h.t() @ user / h.sum(0).clamp(min=1)[:, None]))
    keys = []
    for task in found["tasks"]:
        b = torch.zeros(ITEMS, int(graph.data[task].num_nodes))
        b[tuple(graph.data["item", "in", task].edge_index)] = 1.0
        mean = b.t() @ item / b.sum(0).clamp(min=1)[:, None]
        keys.append(b @ mean / b.sum(1).clamp(min=1)[:, None])
    score = torch.stack([(query * key).sum(1) for key in keys], dim=1) / 8**0.5
    weights = score.softmax(dim=1)
    top = found["bins"][-1]
    inside = degree >= top["low"]
    assert top["quantiles"][0][2] == pytest.approx(float(weights[inside, 0].median()), abs=0.02)


def test_a_whole_benchmark_and_its_second_start(root, tmp_path, monkeypatch, capsys):
    second = trials.SECOND[:1] + trials.SECOND[3:4]
    monkeypatch.setattr(trials, "SECOND", second)
    monkeypatch.setattr(studies, "COLD", {"few_users": 0.1, "zero_users": 0.1, "cold_items": 0.2})
    argv = ["uprth", "--preset", "ours", "--root", str(root), "--work", str(tmp_path / "work")]
    argv += ["--results", str(tmp_path), "--pretrain-epochs", "2", "--finetune-epochs", "5"]
    monkeypatch.setattr(sys, "argv", [*argv, "--dim", "4", "--seeds", "0", "1"])
    uprth.main()
    path = tmp_path / "uprth-steam.json"
    found = json.loads(path.read_text())
    assert list(found["arms"]) == ["popularity", "ceiling", *preset.ARMS]
    assert set(found["search"]["trials"].values()) == {2 * len(second)}  # the same for all
    work = tmp_path / "work" / "ours-steam"
    entry = found["comparisons"]["recall@10"]["sum - popularity"]
    seeds = [
        [torch.load(work / arm / f"seed{seed}.users.pt", weights_only=True) for seed in (0, 1)]
        for arm in ("sum", "popularity")
    ]
    values = [[(users["users"], users["metrics"]["recall@10"]) for users in arm] for arm in seeds]
    wanted = PairedComparison.from_seeds(*values, torch.Generator().manual_seed(0))
    assert entry["difference"] == pytest.approx(wanted.mean_difference, abs=1e-6)
    assert (entry["low"], entry["high"]) == pytest.approx(wanted.interval, abs=1e-6)
    assert set(found["ablation"]["arms"]) == set(studies.ABLATION)
    assert set(found["shares"]) == set(studies.RELATIONS)
    assert list(found["shares"]["group"]["arms"]) == ["0", "0.1", "0.25", "0.5", "1"]
    assert set(found["cold"]["arms"]) == {"popularity", "pretrained", "lightgcn"}
    assert set(found["cold"]["split"]["0"]) == {"warm", "few", "zero", "cold-items"}

    for bucket, entries in found["cold"]["comparisons"].items():
        means = {arm: run[bucket]["ndcg@20"]["mean"] for arm, run in found["cold"]["arms"].items()}
        for arm, entry in entries["ndcg@20"].items():
            assert entry["of_seeds"] == pytest.approx(means["pretrained"] - means[arm], abs=1e-5)

    monkeypatch.setattr(render, "RESULTS", tmp_path)
    for name in ("ours", "ablation", "shares", "cold"):
        table = render.TABLES[f"uprth-{name}"]()
        assert table.rows and {len(row) for row in table.rows} == {len(table.header)}
    assert _uprth_tables.authors(tmp_path).rows == []
    monkeypatch.setattr(render, "ROOT", tmp_path)
    filled = render.fill(".. table: uprth-attention\n\n.. /table\n", render.RST)
    assert "figure:: /_static/uprth/steam-attention.png" in filled
    [(image, name, picked)] = render._stale_images()
    assert name == "attention"
    image.parent.mkdir(parents=True)
    image.write_bytes(_uprth_plots.png(picked))
    assert not list(render._stale_images())

    for module, name in ((preset, "run"), (studies, "run"), (preset, "fit"), (studies, "pretrain")):
        monkeypatch.setattr(module, name, None)  # nothing is run twice
    capsys.readouterr()
    uprth.main()
    assert json.loads(path.read_text())["arms"] == found["arms"]
    assert "seed" not in capsys.readouterr().out


def test_stages_of_the_other_preset_are_refused(root, monkeypatch, capsys):
    argv = ["uprth", "--preset", "ours", "--root", str(root), "--stages", "terms"]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit):
        uprth.main()
    assert "preset 'ours' has no stages terms" in capsys.readouterr().err
