import math
from fractions import Fraction

import pytest
import torch
from bank import CARTS, MAIN, REVERSE, TRUSTS, VIEWS, graphs, no_interactions, pairs
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import NormalizedAdjacency, SplitInteractions
from pyg_mtrec.transforms._leak import assert_no_leak

STRATEGIES = ("random", "per-user", "time", "leave-last-out", "given")


def rows(data: HeteroData) -> list[tuple[int, ...]]:
    """Interactions without repeats (the first stays), with what stands beside them."""
    store, seen, out = data[MAIN], set(), []
    columns = [store[key].tolist() for key in ("rating", "time") if key in store]
    for pair, *rest in zip(pairs(store.edge_index), *columns, strict=True):
        if pair not in seen:
            seen.add(pair)
            out.append((*pair, *rest))
    return out


def messages(data: HeteroData) -> list[tuple[int, ...]]:
    store = data[MAIN]
    columns = [store[key].tolist() for key in ("rating", "time") if key in store]
    return [(*p, *rest) for p, *rest in zip(pairs(store.edge_index), *columns, strict=True)]


def labels(data: HeteroData) -> list[tuple[int, ...]]:
    store = data[MAIN]
    columns = [store[k].tolist() for k in ("edge_label_rating", "edge_label_time") if k in store]
    return [(*p, *rest) for p, *rest in zip(pairs(store.edge_label_index), *columns, strict=True)]


def possible(data: HeteroData, strategy: str) -> bool:
    store = data[MAIN]
    if strategy == "time":
        return "time" in store and store.time.unique().numel() >= 3
    needs = {"leave-last-out": "time", "given": "split"}
    return needs.get(strategy, "edge_index") in store


@pytest.mark.parametrize("message_edges", ["train", "train+val"])
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", graphs())
def test_schema_and_no_leak(name: str, strategy: str, message_edges: str) -> None:
    data = graphs()[name]
    transform = SplitInteractions(strategy, message_edges=message_edges)
    if not possible(data, strategy):
        with pytest.raises(InputError, match=f"'{strategy}'"):
            transform(data)
        return
    train, val, test = splits = transform(data)
    # Every interaction is in exactly one part, with its own rating and time.
    assert sorted(labels(train) + labels(val) + labels(test)) == sorted(rows(data))
    both = labels(train) + labels(val)
    known = {pair[:2] for pair in both}
    assert sorted(messages(train)) == sorted(messages(val)) == sorted(labels(train))
    assert sorted(messages(test)) == sorted(both if message_edges != "train" else labels(train))
    held = [{p[:2] for p in labels(part)} for part in (val, test)]
    for part, seen in zip(splits, (labels(train), labels(train), both), strict=True):
        store = part[MAIN]
        assert sorted(pairs(store.seen_edge_index)) == sorted(row[:2] for row in seen)
        assert store.edge_label.dtype == torch.float32
        assert torch.equal(store.edge_label, torch.ones(store.edge_label_index.size(1), 1))
        assert (store.edge_label_names, store.edge_label_kinds) == (["interacts"], ["binary"])
        assert "split" not in store
        for edge_type in part.edge_types:
            if edge_type != MAIN:
                found = pairs(part[edge_type].edge_index)
                if {edge_type[0], edge_type[2]} == {"user", "item"}:
                    turned = [(b, a) for a, b in found] if edge_type[0] == "item" else found
                    assert not set(turned) & (held[0] | held[1])
                else:
                    assert found == pairs(data[edge_type].edge_index)
        part.validate()
    assert not held[1] & known
    assert_no_leak(train, val, test, message_edges=message_edges)


def test_random_is_60_20_20_by_interaction() -> None:
    data = graphs()["larger"]
    num = data[MAIN].num_edges
    train, val, test = SplitInteractions()(data)
    sizes = [part[MAIN].edge_label_index.size(1) for part in (train, val, test)]
    assert sizes == [round(0.6 * num), round(0.8 * num) - round(0.6 * num), num - round(0.8 * num)]
    report = train.split_report
    assert [report[key] for key in ("train", "val", "test")] == sizes
    assert (report["strategy"], report["seed"], report["message_edges"]) == ("random", 0, "train")


def test_random_draws_every_interaction_equally_often() -> None:
    data, count = graphs()["one_relation"], torch.zeros(6, 7)
    for seed in range(400):
        _, _, test = SplitInteractions(seed=seed)(data)
        count[tuple(test[MAIN].edge_label_index)] += 1
    drawn = count[tuple(data[MAIN].edge_index)]
    assert drawn.sum() == 400 * 4
    # 80 of each are expected, with a standard deviation of 8.
    assert drawn.min() > 48 and drawn.max() < 112


@pytest.mark.parametrize(
    ("strategy", "val_from"),
    [("random", "train"), ("per-user", "train"), ("given", "train"), ("given", "test-users")],
)
def test_the_seed_decides(strategy: str, val_from: str) -> None:
    data = graphs()["larger"]
    data[MAIN].split = (torch.arange(data[MAIN].num_edges) % 5 == 0).to(torch.int8) * 2
    first, same, other = (
        labels(SplitInteractions(strategy, seed=s, val_from=val_from)(data)[1]) for s in (1, 1, 2)
    )
    assert first == same
    assert first != other


@given(
    st.lists(st.integers(1, 25), min_size=1, max_size=6),
    st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)),
    st.integers(0, 3),
)
@example(sizes=[1, 2, 3, 4], shares=(1, 1, 3), seed=0)  # test alone would leave nothing
@example(sizes=[1, 2, 3, 5], shares=(2, 9, 9), seed=0)  # both together would
@example(sizes=[5, 15, 25], shares=(8, 1, 1), seed=0)  # halves that floats miss by a hair
def test_per_user_rounding(sizes: list[int], shares: tuple[int, int, int], seed: int) -> None:
    fractions = tuple(share / sum(shares) for share in shares)
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = len(sizes) + 1, 25
    edges = [(user, item) for user, size in enumerate(sizes) for item in range(size)]
    order = torch.randperm(len(edges), generator=torch.Generator().manual_seed(seed))
    data[MAIN].edge_index = torch.tensor(edges)[order].t().contiguous()
    parts = SplitInteractions("per-user", fractions, seed=seed)(data)
    for user, size in enumerate(sizes):
        found = [sum(pair[0] == user for pair in labels(part)) for part in parts]
        # Exact rational arithmetic: half rounds up, training keeps one, validation gives way.
        half = Fraction(1, 2)
        num_test = min(math.floor(Fraction(shares[2], sum(shares)) * size + half), size - 1)
        num_val = math.floor(Fraction(shares[1], sum(shares)) * size + half)
        num_val = min(num_val, size - 1 - num_test)
        assert found == [size - num_val - num_test, num_val, num_test]


@given(
    st.lists(st.integers(0, 12), min_size=3, max_size=40),
    st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.0, 0.2), (0.1, 0.9, 0.0), (1.0, 0.0, 0.0)]),
)
def test_time_equals_an_exhaustive_search(times: list[int], fractions: tuple[float, ...]) -> None:
    moments = sorted(set(times))
    num_parts = sum(fraction > 0 for fraction in fractions)
    assume(len(moments) >= num_parts)
    data = _timed(times)
    train, val, test = (
        sorted(x[2] for x in labels(p)) for p in SplitInteractions("time", fractions)(data)
    )
    # Later parts are really later, ties stay together, and no part that is asked for is empty.
    for earlier, later in ((train, val), (val, test), (train, test)):
        assert not earlier or not later or earlier[-1] < later[0]
    assert [bool(part) for part in (train, val, test)] == [fraction > 0 for fraction in fractions]

    def share(last: int) -> float:
        return sum(time <= last for time in times) / len(times)

    first_cut = moments[: len(moments) - num_parts + 1]
    best = min(abs(share(moment) - fractions[0]) for moment in first_cut)
    assert abs(share(train[-1]) - fractions[0]) == pytest.approx(best)
    if fractions[1] > 0 and fractions[2] > 0:
        goal = fractions[0] + fractions[1]
        later = [moment for moment in moments[:-1] if moment > train[-1]]
        best = min(abs(share(moment) - goal) for moment in later)
        assert abs(share(val[-1]) - goal) == pytest.approx(best)


def _timed(times: list[int]) -> HeteroData:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 3, len(times)
    data[MAIN].edge_index = torch.stack([torch.arange(len(times)) % 3, torch.arange(len(times))])
    data[MAIN].time = torch.tensor(times)
    return data


def test_time_needs_distinct_times() -> None:
    with pytest.raises(InputError, match=r"needs at least 3 distinct times .found 1."):
        SplitInteractions("time")(graphs()["equal_times"])


@pytest.mark.parametrize("name", graphs())
def test_leave_last_out_equals_a_loop(name: str) -> None:
    data = graphs()[name]
    if "time" not in data[MAIN]:
        return
    unique = rows(data)
    want: list[list[tuple[int, ...]]] = [[], [], []]
    for user in {row[0] for row in unique}:
        # Python's sort is stable: at equal times the later row is later.
        own = sorted((row for row in unique if row[0] == user), key=lambda row: row[-1])
        cut = len(own) - 2 if len(own) >= 3 else len(own)
        for part, group in enumerate((own[:cut], own[cut : cut + 1], own[cut + 1 :])):
            want[part] += group
    parts = SplitInteractions("leave-last-out")(data)
    assert [sorted(labels(part)) for part in parts] == [sorted(group) for group in want]


def test_given_with_validation_is_taken_as_it_is() -> None:
    data = graphs()["given_split_with_validation"]
    for part, split in zip(
        SplitInteractions("given")(data), data[MAIN].split.unique(), strict=True
    ):
        assert pairs(part[MAIN].edge_label_index) == pairs(
            data[MAIN].edge_index[:, data[MAIN].split == split]
        )


@pytest.mark.parametrize(("val_fraction", "num_val"), [(0.1, 2), (0.5, 12), (0.0, 0)])
def test_given_without_validation_takes_it_from_training(val_fraction: float, num_val: int) -> None:
    data = graphs()["given_split"]
    train, val, test = SplitInteractions("given", val_fraction=val_fraction)(data)
    published = pairs(data[MAIN].edge_index[:, data[MAIN].split == 0])
    assert len(labels(val)) == num_val
    assert sorted(x[:2] for x in labels(train) + labels(val)) == sorted(published)
    assert sorted(x[:2] for x in labels(test)) == sorted(
        pairs(data[MAIN].edge_index[:, data[MAIN].split == 2])
    )


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 5), st.sampled_from([0, 0, 2])),
        min_size=2,
        max_size=30,
        unique_by=lambda row: row[:2],
    ),
    st.sampled_from([0.0, 0.3, 0.5, 0.99]),
    st.integers(0, 3),
    st.sampled_from(["train", "train+val"]),
)
def test_given_without_validation_halves_the_test_users(
    table: list[tuple[int, int, int]], share: float, seed: int, message_edges: str
) -> None:
    assume(any(row[2] == 0 for row in table))
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 7, 6
    data[MAIN].edge_index = torch.tensor([row[:2] for row in table]).t().contiguous()
    data[MAIN].split = torch.tensor([row[2] for row in table], dtype=torch.int8)
    train, val, test = splits = SplitInteractions(
        "given", seed=seed, val_from="test-users", val_fraction=share, message_edges=message_edges
    )(data)
    published = {row[:2] for row in table if row[2] == 0}
    held = {row[:2] for row in table if row[2] == 2}
    val_pairs, test_pairs = ({row[:2] for row in labels(part)} for part in (val, test))
    assert {row[:2] for row in labels(train)} == published == {r[:2] for r in messages(train)}
    assert val_pairs | test_pairs == held
    # Whoever validates does not test, whatever they have.
    val_users, test_users = ({user for user, _ in part} for part in (val_pairs, test_pairs))
    assert not val_users & test_users
    num_users = len(val_users | test_users)
    assert len(val_users) == min(round(share * num_users), max(num_users - 1, 0))
    # So what test masks in addition to training is nothing of a test user's own.
    masked = set(pairs(test[MAIN].seen_edge_index))
    assert masked == published | val_pairs
    assert {pair for pair in masked if pair[0] in test_users} == {
        pair for pair in published if pair[0] in test_users
    }
    assert_no_leak(*splits, message_edges=message_edges)
    for part in splits:
        assert (part.split_report["val_from"], part.split_report["val_fraction"]) == (
            "test-users",
            share,
        )


def test_the_share_of_a_missing_validation_follows_its_source() -> None:
    data = graphs()["given_split"]
    users = data[MAIN].edge_index[0, data[MAIN].split == 2].unique().numel()
    _, val, test = SplitInteractions("given", val_from="test-users")(data)
    assert val.split_report["val_fraction"] == 0.5
    assert len({row[0] for row in labels(val)}) == users // 2
    _, val, test = SplitInteractions("given")(data)
    assert test.split_report["val_fraction"] == 0.1
    assert len(labels(val)) == round(0.1 * 24)
    # A published validation stays what it is.
    data = graphs()["given_split_with_validation"]
    for val_from in ("train", "test-users"):
        _, val, _ = SplitInteractions("given", val_from=val_from)(data)
        assert len(labels(val)) == int((data[MAIN].split == 1).sum())


def test_steam_has_one_training_item_per_user(real_root) -> None:
    from pyg_mtrec.datasets import Steam

    data = Steam(real_root("steam"))[0]
    splits = SplitInteractions("given", val_from="test-users", seed=1)(data)
    assert [part[MAIN].edge_label_index.size(1) for part in splits] == [50_292, 7_544, 7_543]
    assert splits[0][MAIN].edge_index[0].unique().numel() == 50_292
    assert_no_leak(*splits)


def test_repeats_go_first_and_are_counted() -> None:
    data = graphs()["duplicates"]
    train, val, test = SplitInteractions("leave-last-out")(data)
    assert train.split_report["duplicates_dropped"] == 4
    # The first row of pair (0, 1) has rating 5 and time 9, of (2, 0) rating 1 and time 1.
    everything = labels(train) + labels(val) + labels(test)
    assert (0, 1, 5.0, 9) in everything
    assert (2, 0, 1.0, 1) in everything
    assert len(everything) == 6


def test_other_behaviours_go_and_are_counted() -> None:
    data = graphs()["behaviours"]
    train, val, test = SplitInteractions()(data)
    held = {row[:2] for row in labels(val) + labels(test)}
    views, carts = pairs(data[VIEWS].edge_index), pairs(data[CARTS].edge_index)
    assert train.split_report["behaviours_dropped"] == {
        "user views item": sum(pair in held for pair in views),
        "user carts item": sum(pair in held for pair in carts),
        "item rev_interacts user": len(held),
    }
    assert train.split_report["behaviours_kept"] == {}
    want = [(pair, t) for t, pair in enumerate(views) if pair not in held]
    for part in (train, val, test):
        store = part[VIEWS]
        assert list(zip(pairs(store.edge_index), store.time.tolist(), strict=True)) == want
        kept = part[REVERSE]
        rating = {row[:2]: row[2] for row in rows(data)}
        assert kept.rating.tolist() == [rating[u, i] for i, u in pairs(kept.edge_index)]
        # Where nothing differs, nothing is copied.
        assert store.edge_index is train[VIEWS].edge_index


def test_other_behaviours_can_be_declared() -> None:
    data = graphs()["behaviours"]
    train, val, test = SplitInteractions(behaviours="keep")(data)
    held = {row[:2] for row in labels(val) + labels(test)}
    for part in (train, val, test):
        assert part[VIEWS].edge_index is data[VIEWS].edge_index
        assert not {(u, i) for i, u in pairs(part[REVERSE].edge_index)} & held
    report = train.split_report
    assert report["behaviours_dropped"] == {"item rev_interacts user": len(held)}
    assert report["behaviours_kept"] == {
        "user views item": sum(pair in held for pair in pairs(data[VIEWS].edge_index)),
        "user carts item": sum(pair in held for pair in pairs(data[CARTS].edge_index)),
    }
    assert_no_leak(train, val, test, behaviours="keep")
    with pytest.raises(AssertionError, match=r"held-out pairs in 'edge_index' of .*views"):
        assert_no_leak(train, val, test)


def test_another_relation_can_be_split() -> None:
    data = graphs()["behaviours"]
    train, val, test = SplitInteractions(edge_type=VIEWS)(data)
    views = pairs(data[VIEWS].edge_index)
    assert train.split_report["duplicates_dropped"] == len(views) - len(set(views))
    assert_no_leak(train, val, test, edge_type=VIEWS)
    assert test[VIEWS].edge_label_names == ["views"]
    assert "edge_label_index" not in test[MAIN]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "temporal"}, "'strategy' needs to be one of .*leave-last-out.*'temporal'"),
        ({"fractions": (0.6, 0.2, 0.1)}, "'fractions' needs to be three shares that sum to 1"),
        ({"fractions": (0.5, 0.5)}, "'fractions' needs to be three shares"),
        ({"fractions": (0.0, 0.5, 0.5)}, "the first above 0"),
        ({"fractions": (1.2, -0.4, 0.2)}, "'fractions' needs"),
        ({"fractions": (math.nan, 0.5, 0.5)}, "'fractions' needs"),
        ({"val_fraction": 1.0}, "'val_fraction' needs to be in .0, 1."),
        ({"val_from": "test"}, "'val_from' needs to be one of .*'test-users'"),
        ({"val_from": "test-users"}, "'test-users' belongs to the 'given' strategy .*'random'"),
        ({"message_edges": "test"}, "'message_edges' needs to be one of"),
        ({"behaviours": "ignore"}, "'behaviours' needs to be one of"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        SplitInteractions(**options)
    assert "\n" not in str(error.value)


def test_bad_graphs() -> None:
    data = graphs()["plain"]
    with pytest.raises(InputError, match=r"'time' split needs 'time' .* no such attribute"):
        SplitInteractions("time")(graphs()["one_relation"])
    with pytest.raises(InputError, match=r"'given' split needs 'split' .40. .* no such attribute"):
        SplitInteractions("given")(data)
    with pytest.raises(InputError, match=r"is empty"):
        SplitInteractions()(no_interactions())
    with pytest.raises(InputError, match=r"between two node types"):
        SplitInteractions(edge_type=TRUSTS)(data)
    with pytest.raises(InputError, match=r"before 'SplitInteractions'|before 'Normalized"):
        SplitInteractions()(NormalizedAdjacency()(data))
    with pytest.raises(InputError, match=r"already has 'edge_label_index'"):
        SplitInteractions()(SplitInteractions()(data)[0])
    data[MAIN].split = torch.full((40,), 2)
    with pytest.raises(InputError, match=r"leaves nothing for training"):
        SplitInteractions("given")(data)
    data[MAIN].split[7] = 3
    with pytest.raises(InputError, match=r"'split' of .* needs to be 0, 1 or 2 .found .2, 3.."):
        SplitInteractions("given")(data)
    data[MAIN].time = data[MAIN].time.double()
    data[MAIN].time[5] = math.nan
    with pytest.raises(InputError, match=r"'time' of .* is NaN in row 5"):
        SplitInteractions("leave-last-out")(data)
    data[MAIN].edge_index[0, 2] = 8
    with pytest.raises(InputError, match=r"user id 8, outside 0\.\.7"):
        SplitInteractions()(data)


def test_a_stale_reverse_adjacency_is_refused() -> None:
    data = graphs()["plain"]
    data[REVERSE].adj_t = NormalizedAdjacency()(data)[REVERSE].adj_t
    with pytest.raises(InputError, match=r"rev_interacts.* already has 'adj_t'"):
        SplitInteractions()(data)
