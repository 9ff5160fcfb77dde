"""Every role of every interaction, against sets of Python tuples."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from bank import ALSO_VIEWED, CARTS, MAIN, REVERSE, TRUSTS, VIEWS, graphs, no_interactions, pairs
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import RankingEvaluator
from pyg_mtrec.transforms import (
    AddTaskHypergraphs,
    ColdStartSplit,
    NormalizedAdjacency,
    SplitInteractions,
)
from pyg_mtrec.transforms._leak import assert_no_leak

Pair = tuple[int, int]
Splits = tuple[HeteroData, HeteroData, dict[str, HeteroData]]


def labels(data: HeteroData) -> set[Pair]:
    found = pairs(data[MAIN].edge_label_index)
    assert len(set(found)) == len(found)
    return set(found)


def messages(data: HeteroData) -> set[Pair]:
    found = pairs(data[MAIN].edge_index)
    assert len(set(found)) == len(found)
    return set(found)


def user_item_pairs(data: HeteroData) -> dict[tuple[str, str, str], list[Pair]]:
    """All relations between users and items, as (user, item)."""
    found = {}
    for edge_type in data.edge_types:
        if {edge_type[0], edge_type[2]} == {"user", "item"}:
            edges = pairs(data[edge_type].edge_index)
            found[edge_type] = [(b, a) for a, b in edges] if edge_type[0] == "item" else edges
    return found


def linked(data: HeteroData, node_type: str) -> set[int]:
    """Nodes that some other node is told of by another relation than one of users with items."""
    found = set()
    for src, relation, dst in data.edge_types:
        if {src, dst} != {"user", "item"}:
            for a, b in pairs(data[src, relation, dst].edge_index):
                if src != dst or a != b:
                    found |= ({a} if src == node_type else set()) | (
                        {b} if dst == node_type else set()
                    )
    return found


def check(data: HeteroData, split: ColdStartSplit, splits: Splits) -> None:
    """What a cold-start split promises, from its outputs and the graph it was given."""
    train, val, tests = splits
    everything = set(pairs(data[MAIN].edge_index))
    known, report = messages(train), train.split_report
    assert labels(train) == known == messages(tests["warm"])
    assert set(tests) == {"warm", *(name for name, share in split.shares.items() if share > 0)}

    # Every interaction has one role.
    roles = [known, labels(val), *map(labels, tests.values())]
    support = messages(tests["few"]) - known if "few" in tests else set()
    val_support = messages(val) - known
    roles += [support, val_support]
    assert sum(map(len, roles)) == len(set().union(*roles))
    unused = everything - set().union(*roles)
    assert set().union(*roles) <= everything
    assert [
        report[key] for key in ("train", "val", "test", "support", "val_support", "unused")
    ] == [
        len(known),
        len(labels(val)),
        sum(len(labels(test)) for test in tests.values()),
        len(support),
        len(val_support),
        len(unused),
    ]

    # Who is cold.
    trained_users, trained_items = {u for u, _ in known}, {i for _, i in known}
    cold: dict[str, set[int]] = {
        name: {u for u, _ in labels(tests[name])} for name in ("few", "zero") if name in tests
    }
    assert {u for u, _ in labels(tests["warm"])} <= trained_users
    for users in cold.values():
        assert not users & trained_users
    assert not cold.get("few", set()) & cold.get("zero", set())
    assert cold.get("zero", set()) <= linked(data, "user")
    if "few" in tests and split.num_support is not None:
        found = Counter(u for u, _ in support)
        assert found == dict.fromkeys(cold["few"], split.num_support)
        if "few" in split.val_buckets:
            assert set(Counter(u for u, _ in val_support).values()) == {split.num_support}
    cold_items = {i for _, i in labels(tests["cold-items"])} if "cold-items" in tests else set()
    assert not cold_items & trained_items
    assert cold_items <= linked(data, "item")
    for name, test in tests.items():
        asked = labels(test)
        if name == "cold-items":
            assert {u for u, _ in asked} <= trained_users
        else:
            assert not {i for _, i in asked} & cold_items
        counts = report["buckets"][name]
        assert counts["labels"] == len(asked)
        assert counts["users"] == len({u for u, _ in asked})

    # What is masked was known before, and is not what is asked for.
    for name, test in tests.items():
        want = known | labels(val) | (support if name == "few" else set())
        assert set(pairs(test[MAIN].seen_edge_index)) == want
        assert not want & labels(test)
        assert messages(test) == known | (support if name == "few" else set())
    assert set(pairs(val[MAIN].seen_edge_index)) == known | val_support
    assert set(pairs(train[MAIN].seen_edge_index)) == known

    # No leak: not in any relation between users and items, nor in an adjacency.
    untrained = {u for u, _ in set().union(*roles[1:])} - trained_users
    held = everything - known
    for graph, here in (
        (train, set()),
        (val, val_support),
        *((t, messages(t) - known) for t in tests.values()),
    ):
        adjacency = NormalizedAdjacency()(graph)[MAIN].adj_t.to_sparse_coo().indices()
        assert {(u, i) for i, u in adjacency.t().tolist()} == known | here
        for edge_type, found in user_item_pairs(graph).items():
            if split.behaviours == "drop" or edge_type in (MAIN, REVERSE):
                assert not set(found) & (held - here)
                assert all(u not in untrained for u, _ in set(found) - here)
                assert all(i not in cold_items for _, i in set(found) - here)
            else:
                assert found == user_item_pairs(data)[edge_type]
        graph.validate()
        for edge_type in graph.edge_types:
            if {edge_type[0], edge_type[2]} != {"user", "item"}:
                assert graph[edge_type].edge_index is data[edge_type].edge_index
    if not split.val_buckets:
        assert_no_leak(train, val, tests["warm"], behaviours=split.behaviours)
    rating = {}
    for pair, *rest in zip(pairs(data[MAIN].edge_index), *_columns(data, ""), strict=True):
        rating.setdefault(pair, rest)
    for graph in (train, val, *tests.values()):
        store = graph[MAIN]
        for index, prefix in ((store.edge_index, ""), (store.edge_label_index, "edge_label_")):
            beside = zip(pairs(index), *_columns(graph, prefix), strict=True)
            assert all(rating[pair] == rest for pair, *rest in beside)
        size = store.edge_label_index.size(1)
        assert torch.equal(store.edge_label, torch.ones(size, 1))
        assert (store.edge_label_names, store.edge_label_kinds) == (["interacts"], ["binary"])
        assert "split" not in store
        assert graph.split_report == report


def _columns(data: HeteroData, prefix: str) -> list[list[float]]:
    store = data[MAIN]
    return [store[prefix + key].tolist() for key in ("rating", "time") if prefix + key in store]


SHARES: tuple[dict[str, Any], ...] = (
    {"few_users": 0.3, "zero_users": 0, "cold_items": 0, "num_support": 1},
    {"few_users": 0, "zero_users": 0.3, "cold_items": 0},
    {"few_users": 0, "zero_users": 0, "cold_items": 0.2},
    {"few_users": 0.2, "zero_users": 0.2, "cold_items": 0.2, "num_support": 2},
    {
        "few_users": 0.2,
        "zero_users": 0,
        "cold_items": 0.1,
        "val_buckets": ("few",),
        "num_support": 1,
    },
    {
        "few_users": 0.1,
        "zero_users": 0.1,
        "cold_items": 0.1,
        "num_support": 1,
        "val_buckets": ("zero", "few", "cold-items"),
        "fractions": (0.5, 0.25, 0.25),
    },
)


@pytest.mark.parametrize("options", SHARES, ids=range(len(SHARES)))
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", graphs())
def test_promises(name: str, seed: int, options: dict[str, Any]) -> None:
    data, split = graphs()[name], ColdStartSplit(seed=seed, **options)
    try:
        splits = split(data)
    except InputError as error:  # too few nodes: the message says of which kind
        assert any(text in str(error) for text in ("needs", "leaves nothing"))
        assert name != "larger"
        return
    check(data, split, splits)


def test_most_graphs_of_the_bank_can_be_split() -> None:
    done = 0
    for data in graphs().values():
        try:
            ColdStartSplit(few_users=0.2, zero_users=0, cold_items=0, num_support=1)(data)
            done += 1
        except InputError:
            pass
    assert done >= 17


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 6)), min_size=8, max_size=45),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=3, max_size=12),
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), min_size=4, max_size=12),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 6)), max_size=12),
    st.tuples(*[st.sampled_from([0.0, 0.2, 0.4])] * 3),
    st.sampled_from([(), ("few",)]),
    st.integers(1, 2),
    st.sampled_from(["drop", "keep"]),
)
def test_any_graph(
    rows: list[Pair],
    trusts: list[Pair],
    categories: list[Pair],
    views: list[Pair],
    shares: tuple[float, float, float],
    val_buckets: tuple[str, ...],
    num_support: int,
    behaviours: str,
) -> None:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes, data["category"].num_nodes = 8, 7, 3
    for edge_type, edges in (
        (MAIN, rows),
        (TRUSTS, trusts),
        (("item", "in", "category"), categories),
        (VIEWS, views + rows),
        (REVERSE, [(item, user) for user, item in rows]),
    ):
        index = torch.tensor(edges, dtype=torch.long).view(-1, 2).t().contiguous()
        data[edge_type].edge_index = index
    if shares[0] == 0:
        val_buckets = ()
    split = ColdStartSplit(
        "per-user",
        (0.5, 0.2, 0.3),
        *shares,
        num_support,
        val_buckets=val_buckets,
        behaviours=behaviours,
    )
    try:
        splits = split(data)
    except InputError:
        return
    check(data, split, splits)


def _grid(num_users: int = 20, num_items: int = 12) -> HeteroData:
    """Everybody has everything; users 0 to 9 trust the next, items 0 to 5 are in a category."""
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = num_users, num_items
    data["category"].num_nodes = 1
    everything = torch.cartesian_prod(torch.arange(num_users), torch.arange(num_items))
    data[MAIN].edge_index = everything.t().contiguous()
    data[TRUSTS].edge_index = torch.stack([torch.arange(9), torch.arange(1, 10)])
    data["item", "in", "category"].edge_index = torch.stack(
        [torch.arange(6), torch.zeros(6).long()]
    )
    return data


def test_counts_by_hand() -> None:
    split = ColdStartSplit(few_users=0.25, zero_users=0.3, cold_items=0.5, num_support=4)
    data = _grid()
    train, val, tests = split(data)
    # 3 of 6 items, 3 of 10 users, 5 of 20 users; 9 items are left, of which 2 are test, 2 valid.
    assert train.split_report["buckets"] == {
        "warm": {"users": 12, "labels": 24},
        "few": {"users": 5, "labels": 25, "support": 20, "eligible": 20},
        "zero": {"users": 3, "labels": 27, "eligible": 10, "without_relation": 10},
        "cold-items": {"users": 12, "labels": 36, "items": 3, "eligible": 6, "without_relation": 6},
    }
    report = {key: train.split_report[key] for key in ("train", "val", "test", "support", "unused")}
    # Of 8 cold users and 3 cold items nothing is asked.
    assert report == {"train": 60, "val": 24, "test": 112, "support": 20, "unused": 24}
    for test in tests.values():
        assert RankingEvaluator(test, k=(5,)).users.numel() in (3, 5, 12)
    history = RankingEvaluator(tests["few"], k=(5,)).history
    assert history.tolist() == [4] * 5
    assert RankingEvaluator(tests["zero"], k=(5,)).history.tolist() == [0] * 3
    check(data, split, (train, val, tests))


def test_shares_round_down_but_not_to_nobody() -> None:
    data = graphs()["larger"]
    for share, want in ((0.29, 17), (0.001, 1)):
        split = ColdStartSplit(few_users=share, zero_users=0, cold_items=0, num_support=1)
        counts = split(data)[0].split_report["buckets"]["few"]
        assert counts["eligible"] == 60
        assert counts["users"] == want


def test_the_seed_decides() -> None:
    data, options = graphs()["larger"], {"num_support": 2}
    first, same, other = (ColdStartSplit(seed=seed, **options)(data) for seed in (1, 1, 2))
    for name in first[2]:
        assert labels(first[2][name]) == labels(same[2][name])
        assert labels(first[2][name]) != labels(other[2][name])
    assert messages(first[2]["few"]) == messages(same[2]["few"])


def test_validation_does_not_move_the_cold_users_of_the_test() -> None:
    data, options = graphs()["larger"], {"cold_items": 0, "num_support": 2, "zero_users": 0}
    without = ColdStartSplit(**options)(data)
    with_few = ColdStartSplit(val_buckets=["few"], **options)(data)
    assert labels(without[2]["few"]) == labels(with_few[2]["few"])
    extra = {u for u, _ in labels(with_few[1])} - {u for u, _ in labels(with_few[0])}
    assert len(extra) == len({u for u, _ in labels(with_few[2]["few"])})


def test_more_support_keeps_the_users_and_what_they_had() -> None:
    data, support = graphs()["larger"], []
    for num_support in (1, 3):
        split = ColdStartSplit(zero_users=0, num_support=num_support, min_degree=5)
        train, _, tests = split(data)
        support.append(messages(tests["few"]) - messages(train))
    assert {u for u, _ in support[0]} == {u for u, _ in support[1]}
    assert support[0] < support[1]


def test_min_degree() -> None:
    data = graphs()["hub"]
    data[TRUSTS].edge_index = torch.stack([torch.arange(20), torch.arange(20).roll(1)])
    degree = Counter(u for u, _ in pairs(data[MAIN].edge_index))
    options = {"few_users": 0, "zero_users": 0.99, "cold_items": 0}
    _, _, tests = ColdStartSplit(min_degree=10, **options)(data)
    assert {u for u, _ in labels(tests["zero"])} == {u for u in degree if degree[u] >= 10} == {0}
    with pytest.raises(InputError, match=r"'zero_users' of .* needs 1 nodes .*found 0.: ask for"):
        ColdStartSplit(min_degree=11, **options)(data)


def test_other_behaviours_of_cold_users_go() -> None:
    data = graphs()["behaviours"]
    elsewhere = [(0, 0), (0, 7), (5, 1)]
    data[VIEWS].edge_index = torch.cat(
        [data[VIEWS].edge_index, torch.cartesian_prod(torch.arange(6), torch.arange(8)).t()], dim=1
    )
    del data[VIEWS].time
    options = {"few_users": 0.4, "zero_users": 0, "cold_items": 0, "num_support": 1}
    train, val, tests = ColdStartSplit(**options)(data)
    cold = {u for u, _ in labels(tests["few"])}
    support = messages(tests["few"]) - messages(train)
    assert len(cold) == 2 and elsewhere
    for edge_type, before in user_item_pairs(data).items():
        if edge_type == MAIN:
            continue
        hidden = set(pairs(data[MAIN].edge_index)) - messages(train)
        want = [p for p in before if p not in hidden and p[0] not in cold]
        assert user_item_pairs(train)[edge_type] == want == user_item_pairs(val)[edge_type]
        with_support = [p for p in before if p in support or p in want]
        assert user_item_pairs(tests["few"])[edge_type] == with_support
        dropped = train.split_report["behaviours_dropped"][" ".join(edge_type)]
        assert dropped == len(before) - len(want)
    assert set(train.split_report["behaviours_dropped"]) == {
        "user views item",
        "user carts item",
        "item rev_interacts user",
    }
    kept = ColdStartSplit(behaviours="keep", **options)(data)
    assert kept[0][VIEWS].edge_index is data[VIEWS].edge_index
    assert kept[0][CARTS].edge_index is data[CARTS].edge_index
    report = kept[0].split_report
    assert set(report["behaviours_kept"]) == {"user views item", "user carts item"}
    assert set(report["behaviours_dropped"]) == {"item rev_interacts user"}
    check(data, ColdStartSplit(behaviours="keep", **options), kept)


def test_relations_that_make_eligible() -> None:
    """Edges of users with items, and of a node with itself, tell of nobody."""
    data = graphs()["self_loops"]  # user 0 and 3, item 0 and 2 know only themselves
    options = {"few_users": 0, "zero_users": 0.5, "cold_items": 0}
    train, _, tests = ColdStartSplit(**options)(data)
    counts = train.split_report["buckets"]["zero"]
    degree = Counter(u for u, _ in set(pairs(data[MAIN].edge_index)))
    assert counts["eligible"] == sum(u in degree for u in (1, 2))
    assert counts["without_relation"] == sum(u in degree for u in (0, 3))
    assert {u for u, _ in labels(tests["zero"])} <= {1, 2}
    with pytest.raises(InputError, match=r"'cold_items' .*found 0, 4 more have no other relation"):
        ColdStartSplit(few_users=0, zero_users=0, cold_items=0.5)(data)
    data = graphs()["behaviours"]
    with pytest.raises(InputError, match=r"'zero_users' .* 6 more have no other relation"):
        ColdStartSplit(few_users=0, cold_items=0)(data)


class _Fixed:
    """Scores that are given, and nothing but some items if so asked."""

    def __init__(self, scores: Tensor, items: Tensor | None = None) -> None:
        self.scores, self.num_items = scores, scores.size(1)
        if items is not None:
            self.scores = torch.full_like(scores, -math.inf)
            self.scores[:, items] = scores[:, items]

    def score(self, user_ids: Tensor) -> Tensor:
        return self.scores[user_ids]


@pytest.mark.parametrize("rank_among", ["all", "cold-items"])
def test_ranking_cold_items(rank_among: str) -> None:
    data = graphs()["larger"]
    split = ColdStartSplit(zero_users=0, few_users=0, cold_items=0.3, rank_among=rank_among)
    _, _, tests = split(data)
    test = tests["cold-items"]
    assert ("candidate_items" in test[MAIN]) == (rank_among == "cold-items")
    items = test[MAIN].get("candidate_items")
    if items is not None:
        assert set(items.tolist()) >= {i for _, i in labels(test)}
        assert items.tolist() == sorted(set(items.tolist()))
        assert items.numel() == test.split_report["buckets"]["cold-items"]["items"]
    assert "candidate_items" not in tests["warm"][MAIN]
    scores = torch.rand(60, 90, generator=torch.Generator().manual_seed(1))
    result = RankingEvaluator(test, k=(5,), metrics=("recall",))(_Fixed(scores))
    seen, asked = set(pairs(test[MAIN].seen_edge_index)), labels(test)
    allowed = range(90) if items is None else items.tolist()
    for user, found in zip(
        result.users.tolist(), result.per_user["recall@5"].tolist(), strict=True
    ):
        free = [i for i in allowed if (user, i) not in seen]
        top = sorted(free, key=lambda i: -float(scores[user, i]))[:5]
        own = {i for u, i in asked if u == user}
        assert found == pytest.approx(len(own & set(top)) / len(own))


def test_hypergraphs_know_the_support_where_it_is_known() -> None:
    data = graphs()["larger"]
    train, _, tests = ColdStartSplit(num_support=2, few_users=0.3)(data)
    sizes = {}
    for name, graph in (("train", train), *tests.items()):
        out = NormalizedAdjacency()(AddTaskHypergraphs()(graph))
        turned = {(u, i) for i, u in pairs(out[REVERSE].edge_index)}
        assert turned == messages(graph)
        sizes[name] = len(turned)
        assert torch.equal(
            out["user", "in", "hyperedge_trusts"].edge_index,
            AddTaskHypergraphs()(data)["user", "in", "hyperedge_trusts"].edge_index,
        )
    assert sizes["warm"] == sizes["zero"] == sizes["cold-items"] == sizes["train"] < sizes["few"]


def _published(validation: bool = False) -> HeteroData:
    """12 users with items u and u + 1 in training, u + 2 (and u + 3 if odd) in test."""
    data, rows = HeteroData(), []
    data["user"].num_nodes, data["item"].num_nodes = 12, 15
    for user in range(12):
        rows += [(user, user, 0), (user, user + 1, 0), (user, user + 2, 2)]
        if user % 2:
            rows.append((user, user + 3, 1 if validation else 2))
    table = torch.tensor(rows)
    data[MAIN].edge_index = table[:, :2].t().contiguous()
    data[MAIN].split = table[:, 2].to(torch.int8)
    data[TRUSTS].edge_index = torch.stack([torch.arange(12), torch.arange(12).roll(1)])
    data[ALSO_VIEWED].edge_index = torch.stack([torch.arange(15), torch.arange(15).roll(1)])
    return data


@pytest.mark.parametrize("num_support", [None, 1, 2])
@pytest.mark.parametrize("validation", [False, True])
def test_given(validation: bool, num_support: int | None) -> None:
    data = _published(validation)
    split = ColdStartSplit(
        "given", few_users=0.5, zero_users=0, cold_items=0, num_support=num_support, val_fraction=0
    )
    train, val, tests = split(data)
    check(data, split, (train, val, tests))
    part = dict(zip(pairs(data[MAIN].edge_index), data[MAIN].split.tolist(), strict=True))
    cold = {u for u, _ in labels(tests["few"])}
    assert len(cold) == 6
    assert messages(train) == {p for p in part if part[p] == 0 and p[0] not in cold}
    assert labels(tests["few"]) == {p for p in part if part[p] == 2 and p[0] in cold}
    assert labels(tests["warm"]) == {p for p in part if part[p] == 2 and p[0] not in cold}
    assert labels(val) == {p for p in part if part[p] == 1 and p[0] not in cold}
    back = messages(tests["few"]) - messages(train)
    assert back <= {p for p in part if part[p] == 0 and p[0] in cold}
    assert len(back) == 6 * (num_support or 2)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 7), st.sampled_from([0, 0, 2])),
        min_size=20,
        max_size=60,
        unique_by=lambda row: row[:2],
    ),
    st.tuples(*[st.sampled_from([0.0, 0.3])] * 3),
    st.sampled_from([None, 1, 2]),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_any_published_split(
    table: list[tuple[int, int, int]],
    shares: tuple[float, float, float],
    num_support: int | None,
    min_degree: int,
    seed: int,
) -> None:
    data = _published()
    data["user"].num_nodes = 12
    data[MAIN].edge_index = torch.tensor([row[:2] for row in table]).t().contiguous()
    data[MAIN].split = torch.tensor([row[2] for row in table], dtype=torch.int8)
    # User 9 and item 7 have no other relation.
    data[TRUSTS].edge_index = torch.stack([torch.arange(9), torch.arange(9).roll(1)])
    data[ALSO_VIEWED].edge_index = torch.stack([torch.arange(7), torch.arange(7).roll(1)])
    split = ColdStartSplit(
        "given",
        (0.6, 0.2, 0.2),
        *shares,
        num_support,
        min_degree,
        val_from="test-users",
        val_fraction=0.2,
        seed=seed,
    )
    try:
        train, val, tests = split(data)
    except InputError:
        return
    check(data, split, (train, val, tests))
    part = {row[:2]: row[2] for row in table}
    for graph in (val, *tests.values()):
        assert {part[pair] for pair in labels(graph)} <= {2}
        assert {part[pair] for pair in messages(graph)} == {0}
    plain = SplitInteractions("given", seed=seed, val_from="test-users", val_fraction=0.2)(data)
    asked, degree = labels(plain[2]), Counter(i for _, i in part)
    counts = train.split_report["buckets"]
    if shares[2] > 0:
        eligible = {i for _, i in asked if degree[i] >= min_degree}
        assert counts["cold-items"]["eligible"] == len(eligible & set(range(7)))
        assert counts["cold-items"]["without_relation"] == len(eligible - set(range(7)))
    elif shares[0] > 0:
        degree, had = Counter(u for u, _ in part), Counter(u for u, _ in labels(plain[0]))
        eligible = {u for u, _ in asked if degree[u] >= min_degree}
        if shares[1] > 0:
            assert counts["zero"]["eligible"] == len(eligible & set(range(9)))
        assert counts["few"]["eligible"] == sum(had[u] >= (num_support or 1) for u in eligible)


def test_nobody_is_warm_whose_only_item_went_cold() -> None:
    """One training item each, as in a published split of that kind."""
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 6, 4
    data[MAIN].edge_index = torch.tensor(
        [[0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2, 1, 3, 0, 2, 0, 0]]
    )
    data[MAIN].split = torch.tensor([0] * 6 + [2] * 6)
    data[ALSO_VIEWED].edge_index = torch.tensor([[0], [0]])
    data["category"].num_nodes = 1
    data["item", "in", "category"].edge_index = torch.tensor([[0], [0]])
    split = ColdStartSplit("given", few_users=0, zero_users=0, cold_items=0.5, val_fraction=0)
    train, _, tests = split(data)
    assert messages(train) == {(2, 1), (3, 1), (4, 2), (5, 2)}
    assert labels(tests["cold-items"]) == {(2, 0), (4, 0), (5, 0)}
    assert labels(tests["warm"]) == {(3, 2)}  # not (0, 1) and (1, 3), of whom nothing is known
    assert train.split_report["unused"] == 4


def test_given_with_everything() -> None:
    data = _published()
    split = ColdStartSplit(
        "given",
        few_users=0.25,
        zero_users=0.2,
        cold_items=0.2,
        num_support=1,
        val_buckets=("few", "zero"),
        val_from="test-users",
        val_fraction=0.3,
        seed=3,
    )
    train, val, tests = split(data)
    check(data, split, (train, val, tests))
    part = dict(zip(pairs(data[MAIN].edge_index), data[MAIN].split.tolist(), strict=True))
    for graph in (val, *tests.values()):
        assert {part[pair] for pair in labels(graph)} <= {2}
    assert {part[pair] for pair in messages(tests["few"]) | messages(val)} == {0}
    # Validation and test users are different ones.
    users = [{u for u, _ in labels(g)} for g in (val, tests["warm"], tests["few"], tests["zero"])]
    assert sum(map(len, users)) == len(set().union(*users))


def test_given_draws_what_split_interactions_draws() -> None:
    data = graphs()["given_split"]
    for val_from in ("train", "test-users"):
        options = {"seed": 5, "val_from": val_from}
        cold = ColdStartSplit("given", few_users=0, zero_users=0, cold_items=0, **options)(data)
        plain = SplitInteractions("given", **options)(data)
        for left, right in zip((*cold[:2], cold[2]["warm"]), plain, strict=True):
            for key in ("edge_index", "edge_label_index", "seen_edge_index", "edge_label_rating"):
                assert torch.equal(left[MAIN][key], right[MAIN][key])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "random"}, "'strategy' needs to be one of .*'per-user', 'given'.*'random'"),
        ({"rank_among": "cold"}, "'rank_among' needs to be one of"),
        ({"behaviours": "ignore"}, "'behaviours' needs to be one of"),
        ({"val_buckets": ("warm",)}, "'val_buckets' needs to be one of .* .got 'warm'."),
        (
            {"val_buckets": ("zero",), "zero_users": 0},
            "'val_buckets' names 'zero', but 'zero_users'",
        ),
        ({"few_users": 1.0}, r"'few_users' needs to be in \[0, 1\) in 'ColdStartSplit' .got 1.0."),
        ({"zero_users": -0.1}, "'zero_users' needs to be in"),
        ({"cold_items": math.nan}, "'cold_items' needs to be in"),
        ({"num_support": 0}, "'num_support' needs to be at least 1"),
        ({"num_support": None}, "'num_support' None needs the 'given' strategy .*: pass a number"),
        ({"min_degree": 0}, "'min_degree' needs to be at least 1"),
        ({"fractions": (0.5, 0.1, 0.1)}, "'fractions' needs .* in 'ColdStartSplit'"),
        ({"val_fraction": 1.0}, "'val_fraction' needs to be in .0, 1. in 'ColdStartSplit'"),
        ({"val_from": "test-users"}, "'val_from' 'test-users' belongs to the 'given' strategy"),
        ({"val_from": "test"}, "'val_from' needs to be one of"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        ColdStartSplit(**options)
    assert "\n" not in str(error.value)


def test_bad_graphs() -> None:
    data, few = graphs()["plain"], {"few_users": 0.2, "zero_users": 0, "cold_items": 0}
    with pytest.raises(InputError, match=r"'few_users' of 'ColdStartSplit' needs 1 nodes"):
        ColdStartSplit(num_support=40, **few)(data)
    with pytest.raises(InputError, match=r"'few_users' .* needs 2 nodes"):
        ColdStartSplit(num_support=3, val_buckets=("few",), **few)(graphs()["all_items_seen"])
    with pytest.raises(InputError, match=r"leaves nothing of .* for training .4 interactions."):
        ColdStartSplit(num_support=1, **few)(graphs()["one_user"])
    with pytest.raises(InputError, match=r"is empty"):
        ColdStartSplit()(no_interactions())
    with pytest.raises(InputError, match=r"between two node types"):
        ColdStartSplit(edge_type=TRUSTS)(data)
    with pytest.raises(InputError, match=r"'given' split needs 'split' .40. .* no such attribute"):
        ColdStartSplit("given")(data)
    for made in (SplitInteractions()(data)[0], NormalizedAdjacency()(data)):
        with pytest.raises(InputError, match=r"apply 'ColdStartSplit' before"):
            ColdStartSplit()(made)
    with pytest.raises(InputError, match=r"apply 'ColdStartSplit' before 'AddTaskHypergraphs'"):
        ColdStartSplit()(AddTaskHypergraphs()(data))
    data = graphs()["user_without_items"]
    data[ALSO_VIEWED].edge_index = torch.tensor([[0], [1]])
    data[MAIN].edge_index = torch.tensor([[0, 2, 2], [0, 2, 3]])
    del data[MAIN].rating, data[MAIN].time
    with pytest.raises(InputError, match=r"'cold_items' .* nothing to predict in 'cold-items'"):
        ColdStartSplit(few_users=0, zero_users=0, cold_items=0.2)(data)


def test_epinions(real_root) -> None:
    from pyg_mtrec.datasets import Epinions

    data = Epinions(real_root("epinions"))[0]
    train, val, tests = ColdStartSplit(num_support=5, val_buckets=("few",))(data)
    report, size = train.split_report, data["item"].num_nodes
    total = sum(report[k] for k in ("train", "val", "test", "support", "val_support", "unused"))
    assert total == data[MAIN].num_edges

    def keys(edge_index: Tensor) -> np.ndarray:
        return edge_index[0].numpy() * size + edge_index[1].numpy()

    known = keys(train[MAIN].edge_index)
    for name, graph in (("val", val), *tests.items()):
        asked, travelled = keys(graph[MAIN].edge_label_index), keys(graph[MAIN].edge_index)
        assert not np.isin(asked, travelled).any()
        assert not np.isin(asked, keys(graph[MAIN].seen_edge_index)).any()
        assert np.isin(known, travelled).all()
        extra = travelled.size - known.size
        counts = report["buckets"].get(name, {})
        assert extra == (report["val_support"] if name == "val" else counts.get("support", 0))
    few, zero = report["buckets"]["few"], report["buckets"]["zero"]
    assert few["support"] == 5 * few["users"]
    for counts in (few, zero):
        assert counts["users"] == counts["eligible"] // 10
    # Users 0.. who trust or are trusted, by numpy alone.
    trusts = data[TRUSTS].edge_index.numpy()
    active = np.unique(data[MAIN].edge_index[0].numpy())
    tied = np.isin(active, trusts)
    assert zero["eligible"] + zero["without_relation"] <= active.size
    assert zero["eligible"] <= tied.sum()
    assert zero["without_relation"] <= (~tied).sum()


def test_steam_in_the_protocol_of_the_authors(real_root) -> None:
    from pyg_mtrec.datasets import Steam

    data = Steam(real_root("steam"))[0]
    split = ColdStartSplit(
        "given", few_users=0.5, zero_users=0, cold_items=0, num_support=None, val_fraction=0
    )
    train, _, tests = split(data)
    # 15,087 test users with one item each; half of them, rounded down, lose the one they had.
    assert tests["few"].split_report["buckets"] == {
        "warm": {"users": 7_544, "labels": 7_544},
        "few": {"users": 7_543, "labels": 7_543, "support": 7_543, "eligible": 15_087},
    }
    assert train[MAIN].num_edges == 50_292 - 7_543
    published = data[MAIN].edge_index[:, data[MAIN].split == 0]
    assert torch.equal(tests["few"][MAIN].edge_index, published)
