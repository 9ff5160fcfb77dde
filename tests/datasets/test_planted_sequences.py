import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2, rankdata
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Planted
from pyg_mtrec.datasets._planted_sequences import probability
from pyg_mtrec.loader import BehaviourSequences
from pyg_mtrec.transforms import PermuteIds, SplitImpressions

MAIN = ("user", "interacts", "item")
MODES = ("sequences", "sequences-control")
NAMES = ("views", "carts", "buys")
READS = {
    "sequences": {"cart": "views", "buy": "carts"},
    "sequences-control": {"cart": "views", "buy": "views"},
}
DAY = 86_400


@pytest.fixture(scope="module")
def worlds() -> dict[str, Planted]:
    return {mode: Planted(targets=mode) for mode in MODES}


def arrays(dataset: Planted) -> tuple[np.ndarray, np.ndarray]:
    """Labels and their probabilities, [E, 2] each."""
    oracle = dataset.target_oracle()
    assert list(oracle) == ["cart", "buy"]
    return dataset[0][MAIN].target.numpy(), torch.stack(list(oracle.values()), dim=1).numpy()


def auc(label: np.ndarray, score: np.ndarray) -> float:
    ranks, positive = rankdata(score), label.sum()
    pairs = positive * (len(label) - positive)
    return float((ranks[label == 1].sum() - positive * (positive + 1) / 2) / pairs)


def by_the_docstring(
    traits: np.ndarray, data: HeteroData, behaviour: str, rows: tuple[torch.Tensor, torch.Tensor]
) -> list[float]:
    """The equations of the docstring in plain floats, row by row."""
    edge_index, time = data["user", behaviour, "item"].edge_index, data["user", behaviour, "item"]
    histories: dict[int, list[tuple[int, int]]] = {}
    for user, item, when in zip(*edge_index.tolist(), time.time.tolist(), strict=True):
        histories.setdefault(user, []).append((when, int(traits[item])))
    for history in histories.values():
        history.sort(key=lambda event: event[0])  # stable
    out = []
    for user, item, now in zip(*rows[0].tolist(), rows[1].tolist(), strict=True):
        before = [trait for when, trait in histories.get(user, []) if when < now]
        x = sum(trait == traits[item] for trait in before[-5:]) - 1.5
        out.append(0.5 * (1.0 + x / math.hypot(1.0, x)))
    return out


def with_event(data: HeteroData, behaviour: str, event: tuple[int, int, int]) -> HeteroData:
    out, (user, item, time) = data.clone(), event
    store = out["user", behaviour, "item"]
    store.edge_index = torch.cat([torch.tensor([[user], [item]]), store.edge_index], dim=1)
    store.time = torch.cat([torch.tensor([time]), store.time])
    return out


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [1_000, 60_000])
def test_seed_0_hash_holds(mode, size):
    dataset = Planted(num_interactions=size, targets=mode)
    assert dataset.checksum() == Planted.target_checksums[mode][size]
    assert dataset.known and dataset.report["interacts"] == size


def test_a_large_world_is_the_published_one():
    dataset = Planted(num_interactions=1_000_000, targets="sequences")
    assert dataset.checksum() == Planted.target_checksums["sequences"][1_000_000]


def test_the_other_worlds_are_what_they_were(tmp_path):
    stem = "planted_v1_1000_50_200_seed0"
    expected = {
        None: (f"{stem}.pt", "b250280b63e418a535db531e1da1992d1ccfa47c94b20245b49022757f4d7a2d"),
        "hybrid": (
            f"{stem}_hybrid_v1.pt",
            "0c54bc26c4ce7588e305f6018ff34fcdb1f804855dae8ba4eafd676ff5fa501a",
        ),
        "hybrid-control": (
            f"{stem}_hybrid-control_v1.pt",
            "f7601a1b6f6035b49878a56817cb37b56000ac966b4e59c3defcc60c43821b19",
        ),
    }
    for mode, (name, checksum) in expected.items():
        dataset = Planted(tmp_path, num_interactions=1_000, targets=mode)
        assert (dataset.processed_file_names, dataset.checksum()) == (name, checksum)
        assert dataset.relevance == {}
    assert Planted(num_interactions=30_000, targets="hybrid").num_items == 1_000


def test_root_keeps_one_file_per_mode(tmp_path):
    for mode in MODES:
        first = Planted(tmp_path, num_interactions=1_000, targets=mode)
        again = Planted(tmp_path, num_interactions=1_000, targets=mode)
        assert again.processed_file_names == f"planted_v1_1000_50_200_seed0_{mode}_v1.pt"
        assert again.report == first.report and again.known
        assert torch.equal(again.target_oracle()["buy"], first.target_oracle()["buy"])


@pytest.mark.parametrize("mode", MODES)
def test_schema(worlds, mode):
    dataset = worlds[mode]
    data, store = dataset[0], dataset[0][MAIN]
    assert data.validate()
    assert data.edge_types == [MAIN, *(("user", name, "item") for name in NAMES)]
    assert (dataset.num_users, dataset.num_items) == (3_000, 200)
    assert set(store.keys()) == {"edge_index", "time", "target", "target_names", "target_kinds"}
    assert store.target.dtype == torch.float32 and store.target.shape == (60_000, 2)
    assert set(store.target.unique().tolist()) == {0.0, 1.0}
    assert store.target_names == ["cart", "buy"] and store.target_kinds == ["binary", "binary"]
    for edge_type in data.edge_types:
        time = data[edge_type].time
        assert time.dtype == torch.int64 and bool((time.diff() >= 0).all())
        assert int(time[0]) >= 0 and int(time[-1]) < 30 * DAY
    for node_type in ("user", "item"):
        assert set(data[node_type].keys()) == {"num_nodes", "raw_id"}
    assert dataset.relevance == READS[mode]
    assert [dataset.report[name] for name in NAMES] == [75_000] * 3
    means = [dataset.report["mean_cart"], dataset.report["mean_buy"]]
    np.testing.assert_allclose(means, store.target.double().mean(0).numpy(), atol=6e-5)


def test_modes_share_all_but_the_labels_of_buy(worlds):
    data, control = (worlds[mode][0] for mode in MODES)
    for edge_type in data.edge_types:
        assert torch.equal(data[edge_type].edge_index, control[edge_type].edge_index)
        assert torch.equal(data[edge_type].time, control[edge_type].time)
    assert torch.equal(data[MAIN].target[:, 0], control[MAIN].target[:, 0])
    assert not torch.equal(data[MAIN].target[:, 1], control[MAIN].target[:, 1])
    oracle, other = (worlds[mode].target_oracle() for mode in MODES)
    assert torch.equal(oracle["cart"], other["cart"])
    assert torch.equal(other["cart"], other["buy"])
    # One law: the six probabilities about as often, whichever behaviour they come from.
    shares = [
        np.unique(oracle[name].numpy(), return_counts=True)[1] / 60_000 for name in ("cart", "buy")
    ]
    np.testing.assert_allclose(*shares, atol=0.01)


@pytest.mark.parametrize("mode", MODES)
def test_oracle_is_the_equation_of_the_docstring(mode):
    dataset = Planted(num_interactions=3_000, seed=3, targets=mode)
    data, traits = dataset[0], dataset._sequence_model().traits
    rows = data[MAIN].edge_index, data[MAIN].time
    for target, behaviour in READS[mode].items():
        expected = by_the_docstring(traits, data, behaviour, rows)
        found = dataset.target_oracle()[target]
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7)


@pytest.mark.parametrize("mode", MODES)
def test_oracle_is_what_the_loader_shows(worlds, mode):
    dataset = worlds[mode]
    traits = torch.from_numpy(dataset._sequence_model().traits)
    graphs = SplitImpressions("time", behaviours="keep")(dataset[0])
    for graph in graphs:
        store = graph[MAIN]
        user, item = store.edge_label_index
        shown = BehaviourSequences(graph, NAMES, max_len=5, trim=False)(user, store.edge_label_time)
        oracle = dataset.target_oracle(graph)
        for target, behaviour in READS[mode].items():
            seen = shown[behaviour]
            assert bool((seen >= 0).all())  # every impression finds a full window
            x = (traits[seen] == traits[item, None]).sum(1).double() - 1.5
            expected = 0.5 * (1 + x / (1 + x**2).sqrt())
            torch.testing.assert_close(oracle[target], expected.float())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("target", [0, 1])
def test_frequencies_are_the_probabilities(worlds, mode, target):
    labels, expected = arrays(worlds[mode])
    values, group = np.unique(expected[:, target], return_inverse=True)
    count, hits = np.bincount(group), np.bincount(group, labels[:, target])
    x = np.arange(6) - 1.5
    np.testing.assert_allclose(values, (1 + x / np.sqrt(1 + x * x)) / 2, rtol=1e-6)
    low, high = binom.interval(1 - 1e-4, count, values.astype(np.float64))
    assert count.min() > 1_000 and bool(((low <= hits) & (hits <= high)).all())
    z = (hits - count * values) / np.sqrt(count * values * (1 - values))
    assert 1e-3 < chi2.sf((z**2).sum(), len(z)) < 0.999


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mode", MODES)
def test_best_possible_metrics_and_irrelevance(mode, seed):
    dataset = Planted(seed=seed, targets=mode)
    labels, expected = arrays(dataset)
    model, data = dataset._sequence_model(), dataset[0]
    pairs, time = data[MAIN].edge_index.numpy(), data[MAIN].time.numpy()
    carried = model.traits[pairs[1]]
    for number, target in enumerate(("cart", "buy")):
        label = labels[:, number]
        assert label.mean() == pytest.approx(0.232, abs=0.008)
        assert auc(label, expected[:, number]) == pytest.approx(0.832, abs=0.008)
        relevant = READS[mode][target]
        for place, name in enumerate(NAMES):
            store = data["user", name, "item"]
            read = probability(
                model.traits, pairs, time, (store.edge_index.numpy(), store.time.numpy())
            )
            liked = (model.favourites[place][pairs[0]] == carried[:, None]).any(1)
            if name == relevant:
                assert auc(label, read) == pytest.approx(auc(label, expected[:, number]))
                assert auc(label, liked) == pytest.approx(0.626, abs=0.008)
            else:
                assert auc(label, read) == pytest.approx(0.5, abs=0.012)
                assert auc(label, liked) == pytest.approx(0.5, abs=0.012)
                # Nor does it tell anything beside the relevant behaviour.
                left = label - expected[:, number]
                assert abs(np.corrcoef(left, read)[0, 1]) < 0.016
    # Given the probabilities the labels are independent of each other.
    left = labels - expected
    assert abs(np.corrcoef(left.T)[0, 1]) < 0.016
    if mode == "sequences":
        assert abs(np.corrcoef(labels.T)[0, 1]) < 0.02


def test_neither_item_nor_time_nor_length_tells_a_label(worlds):
    data, (labels, _) = worlds["sequences"][0], arrays(worlds["sequences"])
    user, item = data[MAIN].edge_index
    popular = worlds["sequences"]._sequence_model().world.popularity[item]
    active = user.bincount()[user].numpy()
    for column in (popular, active, data[MAIN].time.numpy()):
        for label in labels.T:
            assert abs(np.corrcoef(column, label)[0, 1]) < 0.03


def test_items_carry_traits_evenly_along_their_popularity():
    for num_items in (200, 203, 3_333):
        model = Planted(None, 60_000, num_items=num_items, targets="sequences")._sequence_model()
        by_rank = model.traits[np.argsort(-model.world.popularity, kind="stable")]
        blocks = by_rank[: num_items // 8 * 8].reshape(-1, 8)
        assert bool((np.sort(blocks, axis=1) == np.arange(8)).all())
        assert len({tuple(block) for block in blocks[:20]}) > 15  # in random order
        assert len(set(by_rank[num_items // 8 * 8 :])) == num_items % 8


def test_items_are_shown_by_popularity_alone():
    dataset = Planted(num_interactions=200_000, num_items=300, targets="sequences")
    model, data = dataset._sequence_model(), dataset[0]
    user, item = data[MAIN].edge_index.numpy()
    share = model.world.popularity / model.world.popularity.sum()
    count = np.bincount(item, minlength=300)
    assert chi2.sf(((count - 200_000 * share) ** 2 / (200_000 * share)).sum(), 299) > 1e-3
    assert np.array_equal(np.bincount(user), model.world.activity(200_000))
    for name in NAMES:  # given its trait, also that of an event
        chosen = data["user", name, "item"].edge_index[1].numpy()
        for trait in range(8):
            own = model.traits == trait
            count = np.bincount(chosen, minlength=300)[own]
            mean = count.sum() * share[own] / share[own].sum()
            assert chi2.sf(((count - mean) ** 2 / mean).sum(), own.sum() - 1) > 1e-4


def test_events_follow_interests_that_drift_around_favourites(worlds):
    dataset = worlds["sequences"]
    model, data = dataset._sequence_model(), dataset[0]
    own = [np.asarray(shares) for shares in model.favourites]
    assert bool((np.stack(own)[..., 0] != np.stack(own)[..., 1]).all())
    lengths = model.world.activity(60_000) + 5
    # P(interest is a given favourite) = 1/2 · 1/2 + 1/2 · 1/8, of any other trait 1/16; an event
    # shows it with 0.8, else an item of any trait, which has it with its share of the popularity.
    share = np.bincount(model.traits, model.world.popularity) / model.world.popularity.sum()
    for place, name in enumerate(NAMES):
        store = data["user", name, "item"]
        user, item = store.edge_index.numpy()
        assert np.array_equal(np.bincount(user), lengths)
        order = np.lexsort((store.time.numpy(), user))
        trait, who = model.traits[item[order]], user[order]
        early = (store.time < 10 * DAY).numpy()
        assert np.array_equal(np.bincount(user[early], minlength=3_000), np.full(3_000, 5))
        liked = (own[place][who] == trait[:, None]).any(1)
        chance = share[own[place][who]].sum(1).mean()
        # Events of one stay are alike, so the mean is as sure as that of a quarter of them.
        assert liked.mean() == pytest.approx(0.8 * 0.625 + 0.2 * chance, abs=0.015)
        # Neighbours share a stay with 3/4, are both of it with 0.64, and then have one trait.
        same = (trait[1:] == trait[:-1])[who[1:] == who[:-1]].mean()
        fresh = 2 * (5 / 16) ** 2 + 6 * (1 / 16) ** 2  # another draw gives the same interest
        both = 0.75 + 0.25 * fresh
        assert same == pytest.approx(0.64 * both + 0.36 / 8, abs=0.012)
        crossed = (own[place - 1][who] == trait[:, None]).any(1)
        assert crossed.mean() == pytest.approx(0.25, abs=0.015)  # another behaviour's favourites


@pytest.mark.parametrize("mode", MODES)
def test_an_event_that_is_not_earlier_changes_no_probability(mode):
    dataset = Planted(num_interactions=1_000, targets=mode)
    data, before = dataset[0], dataset.target_oracle()
    traits = dataset._sequence_model().traits
    user, now = data[MAIN].edge_index[0], data[MAIN].time
    last = int(torch.unique(user, return_counts=True)[1].argmax())  # the most active user
    own = user == last
    moment = int(now[own].median())
    for item in (0, int((traits != traits[0]).argmax())):
        for behaviour in NAMES:
            after = dataset.target_oracle(with_event(data, behaviour, (last, item, moment)))
            for target, reads in READS[mode].items():
                changed = after[target] != before[target]
                # At the same time or later: no impression up to the event, none of other users.
                assert not bool(changed[~own | (now <= moment)].any())
                assert reads == behaviour or not bool(changed.any())
    # An earlier event does count: of the item's own trait in the newest place, for some row.
    rows = (own & (now > moment)).nonzero().view(-1)
    item = int(data[MAIN].edge_index[1, rows[0]])
    event = (last, item, int(now[rows[0]]) - 1)
    after = dataset.target_oracle(with_event(data, "views", event))["cart"]
    assert after[rows[0]] >= before["cart"][rows[0]]
    other = int((traits != traits[item]).argmax())
    events = data
    for _ in range(5):
        events = with_event(events, "views", (last, other, int(now[rows[0]]) - 1))
    gone = dataset.target_oracle(events)["cart"][rows[0]]
    views = data["user", "views", "item"]
    tied = ((views.edge_index[0] == last) & (views.time == now[rows[0]] - 1)).sum()
    assert int(tied) == 0 and float(gone) == pytest.approx(0.5 * (1 - 1.5 / math.hypot(1, 1.5)))


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(-3, 8)), max_size=25),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(-3, 8)), max_size=12),
)
def test_probability_of_any_events(events, rows):
    traits = np.array([0, 1, 0, 1, 2, 0, 1, 0, 2, 0])
    data = HeteroData()
    columns = torch.tensor(events, dtype=torch.long).view(-1, 3).t()
    data["user", "views", "item"].edge_index = columns[:2]
    data["user", "views", "item"].time = columns[2]
    asked = torch.tensor(rows, dtype=torch.long).view(-1, 3).t()
    found = probability(
        traits, asked[:2].numpy(), asked[2].numpy(), (columns[:2].numpy(), columns[2].numpy())
    )
    expected = by_the_docstring(traits, data, "views", (asked[:2], asked[2]))
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("mode", MODES)
def test_oracle_follows_permuted_ids(mode):
    dataset = Planted(num_interactions=2_000, targets=mode)
    moved = PermuteIds(seed=4)(dataset[0])
    assert not torch.equal(moved[MAIN].edge_index, dataset[0][MAIN].edge_index)
    for name, value in dataset.target_oracle(moved).items():
        assert torch.equal(value, dataset.target_oracle()[name])


def test_oracle_follows_users_into_a_subgraph():
    dataset = Planted(num_interactions=1_000, targets="sequences")
    part = dataset[0].subgraph({"user": torch.arange(10, 30)})
    user = dataset[0][MAIN].edge_index[0]
    for name, value in dataset.target_oracle(part).items():
        assert torch.equal(value, dataset.target_oracle()[name][(user >= 10) & (user < 30)])


@pytest.mark.parametrize("strategy", ["time", "random"])
def test_oracle_follows_the_rows_of_a_split(strategy):
    dataset = Planted(num_interactions=5_000, targets="sequences")
    whole, oracle = dataset[0][MAIN], dataset.target_oracle()
    keys = torch.stack([*whole.edge_index, whole.time])
    named = zip(keys.t().tolist(), oracle["buy"].tolist(), strict=True)
    expected = {tuple(key): p for key, p in named}
    count = 0
    for graph in SplitImpressions(strategy, behaviours="keep")(PermuteIds(seed=1)(dataset[0])):
        store = graph[MAIN]
        user, item = store.edge_label_index
        raw = [graph["user"].raw_id[user], graph["item"].raw_id[item], store.edge_label_time]
        found = dataset.target_oracle(graph)["buy"].tolist()
        assert [expected[tuple(key)] for key in torch.stack(raw).t().tolist()] == found
        count += len(found)
    assert count == 5_000


def test_oracle_refuses_graphs_that_lost_events():
    dataset = Planted(num_interactions=5_000, targets="sequences")
    _, _, test = SplitImpressions("time")(dataset[0])
    with pytest.raises(InputError) as error:
        dataset.target_oracle(test)
    dropped = test.split_report["behaviours_dropped"]["user views item"]
    assert str(error.value) == (
        f"'target_oracle' needs all events of ('user', 'views', 'item') ({dropped} were dropped):"
        " split with SplitImpressions(behaviours='keep')"
    )


@pytest.mark.parametrize("missing", [MAIN, ("user", "carts", "item"), "relation"])
def test_oracle_needs_times(missing):
    dataset = Planted(num_interactions=1_000, targets="sequences")
    data = dataset[0].clone()
    if missing == "relation":
        del data["user", "carts", "item"]
    else:
        del data[missing]["time"]
    with pytest.raises(InputError, match=r"'target_oracle' needs 'time' of \('user', '") as error:
        dataset.target_oracle(data)
    assert "\n" not in str(error.value)
    assert ("found no relation" in str(error.value)) == (missing == "relation")


def test_sequences_have_no_ranking_and_need_an_item_per_trait():
    with pytest.raises(InputError, match=r"got targets='sequences', .*use 'target_oracle'"):
        Planted(num_interactions=1_000, targets="sequences").oracle()
    with pytest.raises(InputError, match=r"'num_items' needs to be at least 8 .*got 7"):
        Planted(None, 20, 20, 7, targets="sequences")


@settings(max_examples=20)
@given(
    st.integers(1, 60),
    st.integers(8, 80),
    st.floats(0, 1),
    st.integers(0, 2**40),
    st.sampled_from(MODES),
)
def test_any_size(num_users, num_items, fill, seed, mode):
    most = num_users * (num_items // 4)
    size = num_users + int(fill * (most - num_users))
    dataset = Planted(None, size, num_users, num_items, seed, targets=mode)
    data = dataset[0]
    assert data.validate() and data[MAIN].edge_index.shape == (2, size)
    for name in NAMES:
        assert data["user", name, "item"].edge_index.shape == (2, size + 5 * num_users)
    for value in dataset.target_oracle().values():
        assert bool((value > 0.08).all() and (value < 0.99).all())
