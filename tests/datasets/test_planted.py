import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Planted
from pyg_mtrec.datasets._planted_model import PAIRS, PlantedModel

MAIN = ("user", "interacts", "item")


def true_weights(model: PlantedModel) -> np.ndarray:
    """The docstring's equation, cell by cell."""
    out = np.zeros((model.num_users, model.num_items))
    for user in range(model.num_users):
        taste = dict(zip(model.favourites[user].tolist(), (3, 2, 1), strict=True))
        for item in range(model.num_items):
            a, b = PAIRS[model.codes[item]].tolist()
            out[user, item] = model.popularity[item] * 2.0 ** (taste.get(a, 0) + taste.get(b, 0))
    return out


@pytest.fixture(scope="module")
def default() -> Planted:
    return Planted()


@pytest.mark.parametrize("size", [1_000, 60_000, 1_000_000])
def test_seed_0_hash_holds(size):
    dataset = Planted(num_interactions=size)
    assert dataset.checksum() == Planted.checksums[size]
    assert dataset.known and dataset.report["interacts"] == size


def test_seeds_differ_and_global_generators_are_left_alone(default):
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    again, other = Planted(), Planted(seed=1)
    assert again.checksum() == default.checksum() != other.checksum()
    assert not other.known
    for key in default[0].edge_types:
        assert torch.equal(again[0][key].edge_index, default[0][key].edge_index)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


def test_schema(default):
    data = default[0]
    assert data.validate()
    assert default.default_tasks == ("bpr", "social", "also-viewed", "also-bought")
    assert [name for _, name, _ in data.edge_types] == [
        "interacts",
        "trusts",
        "also_viewed",
        "also_bought",
    ]
    for source, name, target in data.edge_types:
        edge_index = data[source, name, target].edge_index
        assert edge_index.dtype == torch.int64
        assert torch.unique(edge_index, dim=1).equal(edge_index)  # sorted, no repeats
        assert edge_index[0].max() < data[source].num_nodes
        assert edge_index[1].max() < data[target].num_nodes
        assert source != target or bool((edge_index[0] != edge_index[1]).all())
    assert torch.equal(data["item"].raw_id, torch.arange(2000))


def test_data_survives_subgraph_to_and_weights_only(default):
    data = default[0]
    part = data.subgraph({"user": torch.arange(100)})
    assert part["user"].raw_id.tolist() == list(range(100))
    keep = (data["user", "trusts", "user"].edge_index < 100).all(0)
    assert part["user", "trusts", "user"].num_edges == int(keep.sum())
    assert data.to("cpu").report == default.report
    buffer = io.BytesIO()
    torch.save(data.to_dict(), buffer)
    buffer.seek(0)
    back = HeteroData.from_dict(torch.load(buffer, weights_only=True))
    assert back.report == default.report
    assert torch.equal(back[MAIN].edge_index, data[MAIN].edge_index)


def test_root_keeps_and_reuses_the_file(tmp_path):
    first = Planted(tmp_path, num_interactions=1_000)
    files = sorted(path.name for path in (tmp_path / "processed").iterdir())
    assert "planted_v1_1000_50_200_seed0.pt" in files and not any("part" in f for f in files)
    second = Planted(str(tmp_path), num_interactions=1_000)
    third = Planted(tmp_path, num_interactions=1_000, seed=1)
    assert first.checksum() == second.checksum() == Planted.checksums[1_000] != third.checksum()
    assert first.report == second.report and first.raw_sha256 == {"edges": first.checksum()}


def test_transforms_apply_once_and_at_access():
    def mark(data):
        data.marked = getattr(data, "marked", 0) + 1
        return data

    dataset = Planted(num_interactions=1_000, transform=mark, pre_transform=mark)
    assert dataset[0].marked == dataset[0].marked == 2
    assert dataset.checksum() == Planted.checksums[1_000]


def test_interactions_follow_the_weights():
    # Two draws per user: the probability that an item is in the history has a closed form.
    model = PlantedModel.draw(num_users=6_000, num_items=20, seed=5, version=1)
    edges = model.interactions(12_000)
    weights = true_weights(model)
    p = weights / weights.sum(1, keepdims=True)
    odds = p / (1 - p)
    included = p + p * (odds.sum(1, keepdims=True) - odds)
    assert np.allclose(included.sum(1), 2.0)
    counts = np.bincount(edges[1], minlength=20)
    z = (counts - included.sum(0)) / np.sqrt((included * (1 - included)).sum(0))
    assert np.abs(z).max() < 4.5
    # The same where the users' tastes decide, not the popularity: users by favourite.
    for trait in range(16):
        mine = model.favourites[:, 0] == trait
        carries = (PAIRS[model.codes] == trait).any(1)
        seen = carries[edges[1][mine[edges[0]]]].sum()
        prob = included[mine][:, carries]
        # Items exclude one another within a user, so the sum of variances is an upper bound.
        assert abs(seen - prob.sum()) < 4.5 * math.sqrt((prob * (1 - prob)).sum() + 1)


def test_oracle_scores_are_the_log_weights(default):
    dataset = Planted(num_interactions=1_000, seed=2)
    oracle = dataset.oracle().to("cpu")
    scores = oracle.score(torch.tensor([3, 0, 3]))
    weights = true_weights(PlantedModel.draw(50, 200, 2, 1))
    np.testing.assert_allclose(scores.numpy(), np.log(weights[[3, 0, 3]]), rtol=1e-6)
    assert oracle.num_items == 200 and scores.dtype == torch.float32


def test_oracle_follows_raw_ids():
    dataset = Planted(num_interactions=1_000)
    data = dataset[0].subgraph({"item": torch.arange(5, 60), "user": torch.arange(10, 30)})
    data["item"].raw_id = data["item"].raw_id.flip(0)
    expected = dataset.oracle().score(torch.arange(10, 30))[:, 5:60].flip(1)
    assert torch.equal(dataset.oracle(data).score(torch.arange(20)), expected)


def test_no_other_scorer_is_better_on_held_out_items(default):
    data, oracle = default[0], default.oracle()
    user, item = data[MAIN].edge_index
    held = torch.rand(user.numel(), generator=torch.Generator().manual_seed(0)) < 0.4
    log_weights = oracle.score(torch.arange(3000))
    log_popularity = log_weights.min(0).values  # an item without a favourite trait, for somebody
    tastes = log_weights - log_popularity
    noise = torch.randn(log_weights.shape, generator=torch.Generator().manual_seed(1))
    others = {
        "popularity": log_popularity.expand_as(log_weights),
        "tastes": tastes,
        "someone else's": log_weights.roll(1, 0),
        "flatter tastes": log_popularity + 0.5 * tastes,
        "steeper tastes": log_popularity + 2.0 * tastes,
        "noisy": log_weights + 0.5 * noise,
    }

    def measure(scores):
        scores = scores.clone()
        scores[user[~held], item[~held]] = -math.inf
        likelihood = scores.log_softmax(1)[user[held], item[held]].mean()
        top = torch.zeros_like(scores).scatter_(1, scores.topk(20).indices, 1.0)
        recall = torch.zeros(3000).index_add_(0, user[held], top[user[held], item[held]])
        return float(likelihood), float(
            (recall / user[held].bincount(minlength=3000).clamp(1)).mean()
        )

    best = measure(log_weights)
    for name, scores in others.items():
        likelihood, recall = measure(scores)
        assert likelihood < best[0] - 0.02, name
        assert recall < best[1], name


def test_gibbs_inequality_on_first_draws():
    # One item per user: the expected log-probability under the truth is minus its mean entropy.
    model = PlantedModel.draw(4_000, 100, seed=1, version=1)
    user, item = model.interactions(4_000)
    p = true_weights(model)
    p /= p.sum(1, keepdims=True)
    log_p = np.log(p)
    entropy = -(p * log_p).sum(1)
    deviation = np.sqrt(((p * log_p**2).sum(1) - entropy**2).sum())
    assert abs(log_p[user, item].sum() + entropy.sum()) < 4 * deviation


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first[:, :, None] == second[:, None, :]).sum((1, 2))


def test_trust_shares_favourites():
    model = PlantedModel.draw(20_000, 20, seed=0, version=1)
    edges = model.trusts(20_000)
    count = shared(model.favourites[edges[0]], model.favourites[edges[1]])
    # 0.8: two for sure and the third with 1/14; 0.2: 3 * 3 / 16.
    expected = 0.8 * (2 + 1 / 14) + 0.2 * 9 / 16
    assert edges.shape[1] > 19_500
    assert count.mean() == pytest.approx(expected, abs=0.03)
    degree = np.bincount(edges[0], minlength=20_000)
    assert degree.max() > 8 * degree.mean()


def test_also_viewed_shares_a_trait_half_the_time():
    model = PlantedModel.draw(1, 40_000, seed=0, version=1)
    edges = model.also_viewed(20_000)
    traits = PAIRS[model.codes]
    count = shared(traits[edges[0]], traits[edges[1]])
    assert count.mean() == pytest.approx(0.5 * (1 + 1 / 15) + 0.5 * 0.25, abs=0.02)


def test_also_bought_tells_nothing_about_taste_or_popularity():
    model = PlantedModel.draw(1, 40_000, seed=0, version=1)
    source, target = model.also_bought(60_000)
    traits = PAIRS[model.codes]
    assert (model.groups[source] == model.groups[target]).all()
    assert shared(traits[source], traits[target]).mean() == pytest.approx(0.25, abs=0.01)
    log_popularity = np.log(model.popularity)
    assert abs(np.corrcoef(log_popularity[source], log_popularity[target])[0, 1]) < 0.03
    assert abs(np.corrcoef(np.bincount(target, minlength=40_000), model.popularity)[0, 1]) < 0.03


def test_misleading_links_do_not_relate_the_users_of_items(default):
    # What a model sees: how much more often linked items share a user than items at random do.
    data = default[0]
    user, item = data[MAIN].edge_index
    seen = torch.zeros(3000, 2000)
    seen[user, item] = 1.0
    together = seen.t() @ seen
    expected = seen.sum(0)[:, None] * seen.sum(0)[None, :] / 3000

    def lift(name):
        source, target = data["item", name, "item"].edge_index
        return float(together[source, target].sum() / expected[source, target].sum())

    off = ~torch.eye(2000, dtype=torch.bool)
    chance = float(together[off].sum() / expected[off].sum())
    assert lift("also_bought") == pytest.approx(chance, rel=0.05)
    assert lift("also_viewed") > 1.15 * chance


def test_tails():
    model = PlantedModel.draw(50_000, 33_333, seed=0, version=1)
    lengths = model.activity(1_000_000)
    assert lengths.sum() == 1_000_000 and lengths.min() == 5 and np.median(lengths) < 13
    assert lengths.max() > 15 * np.median(lengths)
    # Lomax with exponent 2 cut at 15: P(X > x) = 1 / (1 + x)^2, mean 15/16.
    for x in (0.5, 1.0, 3.0, 8.0):
        share = (lengths > 5 + 15 * x / (15 / 16)).mean()
        assert share == pytest.approx((1 + x) ** -2, rel=0.15)
    popularity = np.sort(model.popularity)[::-1]
    assert popularity[0] / popularity[-1] == pytest.approx(51, rel=1e-2)
    top = popularity[:333].sum() / popularity.sum()
    assert top == pytest.approx(math.log(1.5) / math.log(51), rel=2e-2)
    assert np.bincount(model.codes, minlength=120).std() < 1.3 * math.sqrt(33_333 / 120)


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(4, 80), st.floats(0, 1), st.integers(0, 2**40))
def test_any_size_is_exact(num_users, num_items, fill, seed):
    most = num_users * (num_items // 4)
    size = num_users + int(fill * (most - num_users))
    data = Planted(None, size, num_users, num_items, seed)[0]
    edge_index = data[MAIN].edge_index
    assert edge_index.shape == (2, size) == torch.unique(edge_index, dim=1).shape
    lengths = edge_index[0].bincount(minlength=num_users)
    assert lengths.min() >= min(5, size // num_users) and lengths.max() <= num_items // 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_interactions": 0}, "'num_interactions' needs to be in [1, 50] in 'Planted'"),
        ({"num_interactions": 10**9}, "10^8 in all (got 1000000000)"),
        ({"num_users": 0}, "'num_users' needs to be at least 1 in 'Planted' (got 0)"),
        ({"num_items": 3}, "'num_items' needs to be at least 4 in 'Planted' (got 3)"),
        ({"num_items": 60}, "needs to be in [3000, 45000] in 'Planted' with 3000 users"),
        ({"seed": -1}, "'seed' needs to be at least 0 in 'Planted' (got -1)"),
    ],
)
def test_bad_sizes(arguments, message):
    with pytest.raises(InputError) as error:
        Planted(**arguments)
    assert message in str(error.value) and "\n" not in str(error.value)
