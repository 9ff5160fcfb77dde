import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, ks_2samp, kstest, rankdata

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Planted
from pyg_mtrec.transforms import PermuteIds, SplitImpressions

MAIN = ("user", "interacts", "item")
MODES = ("hybrid", "hybrid-control")
NAMES = ["click", "long_view", "watch_time"]


@pytest.fixture(scope="module")
def worlds() -> dict[str, Planted]:
    return {mode: Planted(targets=mode) for mode in MODES}


def arrays(dataset: Planted) -> tuple[np.ndarray, np.ndarray]:
    """Targets and their expectations, [E, 3] each."""
    oracle = dataset.target_oracle()
    assert list(oracle) == NAMES
    expected = torch.stack(list(oracle.values()), dim=1)
    return dataset[0][MAIN].target.double().numpy(), expected.double().numpy()


def auc(label: np.ndarray, score: np.ndarray) -> float:
    ranks, positive = rankdata(score), label.sum()
    pairs = positive * (len(label) - positive)
    return float((ranks[label == 1].sum() - positive * (positive + 1) / 2) / pairs)


def r2(label: np.ndarray, prediction: np.ndarray) -> float:
    return float(1 - ((label - prediction) ** 2).sum() / ((label - label.mean()) ** 2).sum())


def sigmoid(x: float) -> float:
    return 0.5 * (1.0 + x / math.hypot(1.0, x))


def by_the_docstring(dataset: Planted, user: int, item: int, hour: int) -> list[float]:
    """The equations of the docstring in plain floats, for one impression."""
    model = dataset._target_model()

    def affinity(number: int, plus: range) -> float:
        space = model.spaces[number]
        tastes = sum(int(space.tastes[user, trait]) for trait in space.traits[item])
        sign = 1 if hour in plus else -1
        return (6 * tastes - 8 + int(space.leaning[user] + space.quality[item]) + 2 * sign) / 8

    core = x = affinity(0, range(12, 24))
    if dataset.targets == "hybrid-control":
        x = affinity(1, range(6, 18))
    watch_time = int(model.duration[item]) / 4 * (core + math.hypot(1.0, core))
    return [sigmoid(x), sigmoid(x) * sigmoid(x / 2 - 0.125), watch_time]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1_000, 60_000, 1_000_000])
def test_seed_0_hash_holds(mode, size):
    dataset = Planted(num_interactions=size, targets=mode)
    assert dataset.checksum() == Planted.target_checksums[mode][size]
    assert dataset.known and dataset.report["interacts"] == size


def test_the_world_without_targets_is_what_it_was(tmp_path):
    dataset = Planted(tmp_path, num_interactions=1_000)
    assert dataset.version == 1 and dataset.targets is None
    assert dataset.processed_file_names == "planted_v1_1000_50_200_seed0.pt"
    assert dataset.checksum() == Planted.checksums[1_000]
    relations = ["interacts", "trusts", "also_viewed", "also_bought"]
    assert list(dataset.report) == ["version", "seed", "checksum", *relations]
    assert set(dataset[0][MAIN].keys()) == {"edge_index"}
    assert set(dataset[0]["user"].keys()) == {"num_nodes", "raw_id"}


@pytest.mark.parametrize("mode", MODES)
def test_schema(worlds, mode):
    data = worlds[mode][0]
    assert data.validate() and data.edge_types == [MAIN]
    store = data[MAIN]
    assert store.target.dtype == torch.float32 and store.target.shape == (60_000, 3)
    assert store.target_names == NAMES
    assert store.target_kinds == ["binary", "binary", "continuous"]
    assert set(store.target[:, :2].unique().tolist()) == {0.0, 1.0}
    assert bool((store.target[:, 1] <= store.target[:, 0]).all())  # a long view is a click
    assert bool((store.target[:, 2] > 0).all()) and bool(store.target.isfinite().all())
    assert store.time.dtype == torch.int64 and bool((store.time.diff() >= 0).all())
    assert torch.equal(store.categorical[:, 0], store.time // 3600 % 24)
    assert store.categorical_names == ["hour"] and store.numeric_names == ["noise"]
    assert torch.unique(store.edge_index, dim=1).size(1) == worlds[mode].report["distinct_pairs"]
    assert worlds[mode].report["distinct_pairs"] < 60_000
    for node_type, rows in (("user", 3000), ("item", 2000)):
        part = data[node_type]
        assert part.categorical.dtype == torch.int64 and part.numeric.dtype == torch.float32
        assert part.categorical.shape == (rows, len(part.categorical_names))
        assert part.numeric.shape == (rows, len(part.numeric_names))
        assert part.categorical.min() == -1 and part.categorical.max() == 15
        assert part.raw_id.tolist() == list(range(rows))
    assert data["user"].numeric_names + data["item"].numeric_names == [
        *("leaning_1", "leaning_2", "quality_1", "quality_2", "duration")
    ]
    assert data["user"].categorical_names == ["interest_1", "interest_2"]
    assert data["item"].categorical_names == ["genre_1", "genre_2"]
    means = [worlds[mode].report[f"mean_{name}"] for name in NAMES]
    np.testing.assert_allclose(means, store.target.double().mean(0).numpy(), atol=6e-5)


@pytest.mark.parametrize("mode", MODES)
def test_oracle_is_the_equation_of_the_docstring(mode):
    dataset = Planted(num_interactions=1_000, seed=3, targets=mode)
    users, items = dataset[0][MAIN].edge_index.tolist()
    hours = dataset[0][MAIN].categorical[:, 0].tolist()
    rows = zip(users, items, hours, strict=True)
    expected = [by_the_docstring(dataset, *row) for row in rows]
    np.testing.assert_allclose(arrays(dataset)[1], expected, rtol=2e-7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", [0, 1])
def test_frequencies_are_the_probabilities(worlds, mode, target):
    labels, expected = arrays(worlds[mode])
    values, group = np.unique(expected[:, target], return_inverse=True)
    count, hits = np.bincount(group), np.bincount(group, labels[:, target])
    often = count >= 100
    z = (hits - count * values)[often] / np.sqrt(count * values * (1 - values))[often]
    assert often.sum() > 20
    # Independent draws: the largest of some 40 deviations, and their sum of squares.
    assert np.abs(z).max() < 4
    assert 0.001 < chi2.sf((z**2).sum(), len(z)) < 0.999


def test_watch_times_have_their_means_and_law(worlds):
    labels, expected = arrays(worlds["hybrid"])
    watch_time, mean = labels[:, 2], expected[:, 2]
    for part in np.array_split(np.argsort(mean), 30):
        deviation = math.sqrt(4 / 3 * (mean[part] ** 2).sum())
        assert abs(watch_time[part].sum() - mean[part].sum()) < 4 * deviation
    # What is left after division by the mean has the stated law, whatever the mean was.
    noise = watch_time / mean
    for part in (slice(None), mean < 2, mean > 10, labels[:, 0] == 0, labels[:, 1] == 1):
        assert kstest(noise[part], lambda e: 1 - (1 + e / 7) ** -8.0).pvalue > 1e-3
    assert noise.var() == pytest.approx(4 / 3, rel=0.05)
    assert np.median(watch_time) < watch_time.mean() / 2


@pytest.mark.parametrize("seed", range(5))
def test_best_possible_metrics(seed):
    for mode in MODES:
        labels, expected = arrays(Planted(seed=seed, targets=mode))
        click, long_view, watch_time = labels.T
        assert click.mean() == pytest.approx(0.342, abs=0.01)
        assert long_view.sum() / click.sum() == pytest.approx(0.515, abs=0.02)
        assert auc(click, expected[:, 0]) == pytest.approx(0.833, abs=0.008)
        assert auc(long_view, expected[:, 1]) == pytest.approx(0.877, abs=0.008)
        assert r2(watch_time, expected[:, 2]) == pytest.approx(0.285, abs=0.02)
        other = np.random.default_rng(seed).permutation(len(labels))
        assert auc(click, expected[other, 0]) == pytest.approx(0.5, abs=0.02)
        assert auc(long_view, expected[other, 1]) == pytest.approx(0.5, abs=0.02)
        assert r2(watch_time, expected[other, 2]) < -0.2


@pytest.mark.parametrize("mode", MODES)
def test_no_distortion_of_the_oracle_is_better(worlds, mode):
    labels, expected = arrays(worlds[mode])
    for target in (0, 1):
        label, p = labels[:, target], expected[:, target]

        def log_loss(p, label=label):
            return -np.where(label == 1, np.log(p), np.log1p(-p)).mean()

        for other in (p**1.15, p**0.85, 0.9 * p, p + 0.1 * (0.3 - p), np.roll(p, 1)):
            assert log_loss(p) < log_loss(other)
    watch_time, mean = labels[:, 2], expected[:, 2]
    for other in (0.85 * mean, 1.15 * mean, mean**0.8, mean + 0.8, mean - 0.8, mean**1.1):
        assert r2(watch_time, other) < r2(watch_time, mean)


def test_modes_share_all_but_the_discrete_targets(worlds):
    hybrid, control = (worlds[mode][0] for mode in MODES)
    assert torch.equal(hybrid[MAIN].target[:, 2], control[MAIN].target[:, 2])
    assert not torch.equal(hybrid[MAIN].target[:, 0], control[MAIN].target[:, 0])
    for store in ("user", "item", MAIN):
        for key in hybrid[store].keys():  # noqa: SIM118, a store is no mapping
            first, second = hybrid[store][key], control[store][key]
            if key != "target" and isinstance(first, torch.Tensor):
                assert torch.equal(first.nan_to_num(-9), second.nan_to_num(-9)), key
            elif key != "target":
                assert first == second
    oracles = [worlds[mode].target_oracle() for mode in MODES]
    assert torch.equal(oracles[0]["watch_time"], oracles[1]["watch_time"])
    for name in NAMES[:2]:  # one law: the same values, about as often
        assert ks_2samp(*(oracle[name].numpy() for oracle in oracles)).statistic < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_discrete_targets_of_the_control_tell_nothing(seed):
    labels, expected = arrays(Planted(seed=seed, targets="hybrid-control"))
    hybrid_labels, hybrid_expected = arrays(Planted(seed=seed, targets="hybrid"))
    for target in (0, 1):
        # Pairs share users (3,000) and items (2,000), so chance correlates at about 0.01.
        own = np.corrcoef(expected[:, target], expected[:, 2])[0, 1]
        assert abs(own) < 0.02
        assert np.corrcoef(hybrid_expected[:, target], expected[:, 2])[0, 1] > 0.85
        assert auc(labels[:, target], hybrid_expected[:, target]) == pytest.approx(0.5, abs=0.02)
        assert abs(np.corrcoef(labels[:, target], labels[:, 2])[0, 1]) < 0.02
        assert np.corrcoef(hybrid_labels[:, target], labels[:, 2])[0, 1] > 0.25
        # Nor is there a non-linear trace: the means of the watch time given ranges of P.
        for part in np.array_split(np.argsort(expected[:, target], kind="stable"), 4):
            assert expected[part, 2].mean() == pytest.approx(expected[:, 2].mean(), rel=0.06)
        # And given the expectations, neither world's targets have anything left to tell.
        for world, means in ((labels, expected), (hybrid_labels, hybrid_expected)):
            left = world - means
            left[:, 2] /= means[:, 2]
            assert abs(np.corrcoef(left[:, target], left[:, 2])[0, 1]) < 0.016


def test_halves_of_the_day_tell_nothing_of_each_other():
    spaces = Planted(num_interactions=1_000, targets="hybrid")._target_model().spaces
    zero, hours = np.zeros(24, np.int64), np.arange(24)
    high = np.stack([space.affinity(zero, zero, hours) for space in spaces])
    high = (high > high.min(axis=1, keepdims=True)).astype(int)
    assert np.bincount(2 * high[0] + high[1]).tolist() == [6, 6, 6, 6]


def test_items_are_shown_by_popularity_alone():
    dataset = Planted(num_interactions=200_000, num_items=300, targets="hybrid")
    model = dataset._target_model()
    user, item = dataset[0][MAIN].edge_index.numpy()
    share = model.world.popularity / model.world.popularity.sum()
    count = np.bincount(item, minlength=300)
    assert chi2.sf(((count - 200_000 * share) ** 2 / (200_000 * share)).sum(), 299) > 1e-3
    assert np.array_equal(np.bincount(user), model.world.activity(200_000))
    for space in model.spaces:
        # Given users and items as often as they come, tastes for what is shown are by chance.
        traits = np.zeros((300, 16))
        np.put_along_axis(traits, space.traits, 1.0, axis=1)
        shown = (space.tastes[user] * traits[item]).sum(1)
        crossed = space.tastes[user].mean(0) @ traits[item].mean(0)
        assert shown.mean() == pytest.approx(crossed, abs=4 * shown.std() / math.sqrt(200_000))


def test_time_tells_the_hour_alone(worlds):
    store = worlds["hybrid"][0][MAIN]
    labels, expected = arrays(worlds["hybrid"])
    day = (store.time // 86_400).numpy()
    assert day.min() == 0 and day.max() == 29
    for values, cells in ((day, 30), (store.categorical[:, 0].numpy(), 24)):
        count = np.bincount(values, minlength=cells)
        assert chi2.sf(((count - 60_000 / cells) ** 2 / (60_000 / cells)).sum(), cells - 1) > 1e-3
    for column in (*labels.T, *expected.T, *store.edge_index.numpy()):
        assert abs(np.corrcoef(day, column)[0, 1]) < 0.016


def test_features_tell_what_the_docstring_says():
    dataset = Planted(num_interactions=400_000, targets="hybrid")
    data, model = dataset[0], dataset._target_model()
    user, item = data["user"], data["item"]
    for number, space in enumerate(model.spaces):
        interest, genre = user.categorical[:, number].numpy(), item.categorical[:, number].numpy()
        known, kind = interest >= 0, genre >= 0
        assert known.mean() == pytest.approx(0.8, abs=0.012)
        assert kind.mean() == pytest.approx(0.9, abs=0.012)
        right = (interest == space.tastes.argmax(1))[known]
        assert right.mean() == pytest.approx(0.8 + 0.2 / 16, abs=0.012)
        right = (genre[:, None] == space.traits).any(1)[kind]
        assert right.mean() == pytest.approx(0.9 + 0.1 / 8, abs=0.012)
        first = (genre == space.traits[:, 0])[kind]
        assert first.mean() == pytest.approx(0.45 + 0.1 / 16, abs=0.02)
        readings = (
            (user.numeric[:, number].numpy(), space.leaning, 0.2),
            (item.numeric[:, number].numpy(), space.quality, 0.1),
        )
        for reading, latent, missing in readings:
            assert np.isnan(reading).mean() == pytest.approx(missing, abs=0.012)
            error = (8 * reading - latent)[~np.isnan(reading)]
            share = np.bincount(error.astype(int) + 2) / len(error)
            np.testing.assert_allclose(share, 0.2, atol=0.015)
            np.testing.assert_allclose(np.bincount(latent + 2) / len(latent), 0.2, atol=0.015)
    # The same of the other space would be chance: 1/16 and 1/8.
    crossed = user.categorical[:, 0].numpy() == model.spaces[1].tastes.argmax(1)
    assert crossed.mean() == pytest.approx(0.8 / 16, abs=0.01)
    crossed = (item.categorical[:, [0]].numpy() == model.spaces[1].traits).any(1)
    assert crossed.mean() == pytest.approx(0.9 / 8, abs=0.01)
    assert np.array_equal(item.numeric[:, 2].numpy(), model.duration)
    assert np.unique(model.duration).tolist() == list(range(20, 41))
    noise = data[MAIN].numeric[:, 0].numpy()
    given = ~np.isnan(noise)
    assert given.mean() == pytest.approx(0.9, abs=0.003)
    labels, expected = arrays(dataset)
    for column in (*labels.T, *expected.T):
        assert abs(np.corrcoef(noise[given], column[given])[0, 1]) < 0.008


def test_the_discrete_targets_help_exact_inference():
    # Users unknown, items known: the posterior over all 3,360 x 5 kinds of users has a closed form.
    dataset = Planted(num_interactions=2_000, seed=1000, targets="hybrid")
    (labels, expected), store = arrays(dataset), dataset[0][MAIN]
    model = dataset._target_model()
    space, (user, item) = model.spaces[0], store.edge_index.numpy()
    kinds = np.array(list(itertools.permutations(range(16), 3)))
    tastes = np.zeros((len(kinds), 16), np.int64)
    np.put_along_axis(tastes, kinds, np.array([[3, 2, 1]]), axis=1)
    train = store.time.numpy() < 24 * 86_400
    hour = np.where(store.categorical[:, 0].numpy() >= 12, 2, -2)
    predictions: dict[str, list[np.ndarray]] = {"nothing": [], "watch_time": [], "all": []}
    truth = []

    def affinities(rows):
        a, b = space.traits[item[rows]].T
        own = space.quality[item[rows]] + hour[rows] - 8
        eighths = 6 * (tastes[:, a] + tastes[:, b]) + own  # [3360, n]
        return (eighths[..., None] + np.arange(-2, 3)) / 8  # [3360, n, 5]

    for who in range(dataset.num_users):
        mine = user == who
        past, future = np.flatnonzero(mine & train), np.flatnonzero(mine & ~train)
        x = affinities(past)
        click, long_view, watch_time = labels[past].T[..., None]
        p = (1 + x / np.sqrt(1 + x * x)) / 2
        y = x / 2 - 0.125
        q = (1 + y / np.sqrt(1 + y * y)) / 2
        chain = np.where(long_view > 0, p * q, np.where(click > 0, p * (1 - q), 1 - p))
        scale = 7 * model.duration[item[past], None] / 4 * (x + np.sqrt(1 + x * x))
        core = (-np.log(scale) - 9 * np.log1p(watch_time / scale)).sum(1)
        ahead = affinities(future)
        mean = model.duration[item[future], None] / 4 * (ahead + np.sqrt(1 + ahead * ahead))
        likelihoods = (0 * core, core, core + np.log(chain).sum(1))
        for name, likelihood in zip(predictions, likelihoods, strict=True):
            posterior = np.exp(likelihood - likelihood.max())
            posterior /= posterior.sum()
            predictions[name].append((posterior[:, None] * mean).sum((0, 2)))
        truth.append(expected[future, 2])
    explained = {
        name: r2(np.concatenate(truth), np.concatenate(values))
        for name, values in predictions.items()
    }
    assert explained["nothing"] < 0.15
    assert explained["nothing"] + 0.2 < explained["watch_time"] < explained["all"] - 0.05


@pytest.mark.parametrize("mode", MODES)
def test_oracle_follows_permuted_ids(mode):
    dataset = Planted(num_interactions=1_000, targets=mode)
    data = dataset[0]
    moved = PermuteIds(seed=4)(data)
    assert not torch.equal(moved[MAIN].edge_index, data[MAIN].edge_index)
    for name, value in dataset.target_oracle(moved).items():
        assert torch.equal(value, dataset.target_oracle()[name])
    # Features move with their nodes, rows of targets stay.
    assert torch.equal(moved[MAIN].target, data[MAIN].target)
    for node_type in ("user", "item"):
        order = moved[node_type].raw_id
        assert torch.equal(moved[node_type].categorical, data[node_type].categorical[order])
        numeric = moved[node_type].numeric.nan_to_num(-9)
        assert torch.equal(numeric, data[node_type].numeric[order].nan_to_num(-9))


@pytest.mark.parametrize("strategy", ["time", "random"])
def test_oracle_follows_the_rows_of_a_split(strategy):
    dataset = Planted(num_interactions=5_000, targets="hybrid-control")
    graphs = SplitImpressions(strategy)(PermuteIds(seed=1)(dataset[0]))
    all_rows = torch.stack([dataset[0][MAIN].target[:, 2], dataset.target_oracle()["click"]], 1)
    found = []
    for graph in graphs:
        oracle = dataset.target_oracle(graph)
        label = graph[MAIN].edge_label
        assert len(oracle["click"]) == len(label)
        found.append(torch.stack([label[:, 2], oracle["click"]], 1))
        if strategy == "random":
            assert abs(float((label[:, 0] - oracle["click"]).mean())) < 0.1
    # Watch times are distinct, so that they tell which row of the whole is meant.
    rows = torch.cat(found)
    assert torch.equal(rows[rows[:, 0].argsort()], all_rows[all_rows[:, 0].argsort()])


def test_oracle_follows_a_subgraph():
    dataset = Planted(num_interactions=1_000, targets="hybrid")
    part = dataset[0].subgraph({"user": torch.arange(10, 30), "item": torch.arange(5, 150)})
    user, item = dataset[0][MAIN].edge_index
    keep = (user >= 10) & (user < 30) & (item >= 5) & (item < 150)
    for name, value in dataset.target_oracle(part).items():
        assert torch.equal(value, dataset.target_oracle()[name][keep])


def test_root_keeps_one_file_per_mode(tmp_path):
    drawn = [Planted(tmp_path, num_interactions=1_000, targets=mode) for mode in (None, *MODES)]
    names = {path.name for path in (tmp_path / "processed").glob("planted*")}
    stem = "planted_v1_1000_50_200_seed0"
    assert names == {f"{stem}.pt", f"{stem}_hybrid_v1.pt", f"{stem}_hybrid-control_v1.pt"}
    for mode, first in zip((None, *MODES), drawn, strict=True):
        again = Planted(tmp_path, num_interactions=1_000, targets=mode)
        fresh = Planted(num_interactions=1_000, targets=mode)
        assert again.checksum() == first.checksum() == fresh.checksum() and again.known
        assert again.report == first.report
    assert torch.equal(again[0][MAIN].target, fresh[0][MAIN].target)
    assert again[0][MAIN].target_names == NAMES


@pytest.mark.parametrize("targets", ["hybrid", "sequences"])
def test_global_generators_are_left_alone(targets):
    np.random.seed(3)
    torch.manual_seed(3)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    first = Planted(num_interactions=1_000, targets=targets)
    other = Planted(num_interactions=1_000, targets=targets, seed=1)
    assert first.checksum() != other.checksum() and not other.known
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


@settings(max_examples=25)
@given(
    st.integers(1, 60),
    st.integers(4, 80),
    st.floats(0, 1),
    st.integers(0, 2**40),
    st.sampled_from(MODES),
)
def test_any_size(num_users, num_items, fill, seed, mode):
    most = num_users * (num_items // 4)
    size = num_users + int(fill * (most - num_users))
    dataset = Planted(None, size, num_users, num_items, seed, targets=mode)
    store = dataset[0][MAIN]
    assert store.edge_index.shape == (2, size) and store.target.shape == (size, 3)
    assert store.edge_index[0].bincount(minlength=num_users).min() >= 1
    assert bool((store.target[:, 1] <= store.target[:, 0]).all())
    assert bool((store.target[:, 2] > 0).all())
    click, long_view, watch_time = dataset.target_oracle().values()
    assert bool((long_view > 0).all() and (long_view < click).all() and (click < 1).all())
    assert bool((watch_time > 0).all())


def test_unknown_targets_are_refused():
    with pytest.raises(InputError) as error:
        Planted(targets="both")
    assert str(error.value) == (
        "'targets' needs to be None or one of ['hybrid', 'hybrid-control', 'sequences',"
        " 'sequences-control'] in 'Planted' (got 'both')"
    )


def test_each_world_has_its_own_oracle():
    with pytest.raises(InputError, match=r"needs a world with targets \(got targets=None\)"):
        Planted(num_interactions=1_000).target_oracle()
    with pytest.raises(InputError, match=r"got targets='hybrid', .*use 'target_oracle'"):
        Planted(num_interactions=1_000, targets="hybrid").oracle()


@pytest.mark.parametrize("key", ["categorical", "categorical_names"])
def test_oracle_needs_the_hour(key):
    dataset = Planted(num_interactions=1_000, targets="hybrid")
    data = dataset[0].clone()
    del data[MAIN][key]
    with pytest.raises(InputError) as error:
        dataset.target_oracle(data)
    assert "needs the context feature 'hour'" in str(error.value)
    assert "\n" not in str(error.value)
