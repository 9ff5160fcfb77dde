import json
import math

import pytest
import torch
from bank import MAIN, REVERSE, VIEWS, pairs
from hypothesis import given
from hypothesis import strategies as st
from impression_bank import impressions

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import KuaiRandSlice
from pyg_mtrec.transforms import (
    KCore,
    NormalizedAdjacency,
    PermuteIds,
    SplitImpressions,
    SplitInteractions,
)

NAMES = ("train", "val", "test")


def rows_of(store, prefix=""):
    """Every impression as one tuple, NaN made comparable."""
    index = store[f"{prefix}index" if prefix else "edge_index"]
    label = store["edge_label" if prefix else "target"]
    columns = [*index.tolist(), store[f"{prefix}time"].tolist(), map(str, label.tolist())]
    for name in ("categorical", "numeric"):
        if prefix + name in store:
            columns.append(map(str, store[prefix + name].tolist()))
    return list(zip(*columns, strict=True))


def distinct(edges):
    return list(dict.fromkeys(edges))


@given(
    num_rows=st.integers(6, 60),
    num_times=st.integers(4, 12),
    seed=st.integers(0, 10**6),
    strategy=st.sampled_from(["time", "random"]),
    features=st.booleans(),
)
def test_equals_a_plain_loop(num_rows, num_times, seed, strategy, features):
    data = impressions(num_rows, num_times=num_times, seed=seed, features=features)
    before = rows_of(data[MAIN])
    try:
        splits = SplitImpressions(strategy, (0.5, 0.25, 0.25), seed=seed)(data)
    except InputError as error:  # so few rows that a part or a target has nothing to say
        assert "target" in str(error) or "distinct times" in str(error)
        return
    assert rows_of(data[MAIN]) == before
    parts = [rows_of(split[MAIN], "edge_label_") for split in splits]
    assert sorted(row for part in parts for row in part) == sorted(before)  # none lost, none twice
    for part in parts:  # in their own order
        left = iter(before)
        assert all(row in left for row in part)
    if strategy == "time":
        times = [[row[2] for row in part] for part in parts]
        assert max(times[0]) < min(times[1]) <= max(times[1]) < min(times[2])

    trained, known = parts[0], parts[0] + parts[1]
    clicked = distinct((row[0], row[1]) for row in trained if row[3].startswith("[1.0"))
    for split, name in zip(splits, NAMES, strict=True):
        store = split[MAIN]
        assert pairs(store.edge_index) == clicked
        assert store.edge_index is splits[0][MAIN].edge_index
        seen = known if name == "test" else trained
        held = distinct((row[0], row[1]) for row in seen)
        assert sorted(pairs(store.seen_edge_index)) == sorted(held)
        assert store.edge_label_names == ["click", "buy", "amount"]
        assert store.edge_label_kinds == ["binary", "binary", "continuous"]
        assert store.edge_label.dtype == torch.float32
        leaks = {"target", "target_names", "target_kinds", "categorical", "numeric", "time"}
        assert not leaks & set(store.keys())
        assert ("edge_label_numeric" in store) == ("numeric_names" in store) == features
        report = split.split_report
        assert report == splits[0].split_report and json.loads(json.dumps(report)) == report
        assert report["message_edges"] == len(clicked)
        for other, part in zip(NAMES, parts, strict=True):
            assert report[other]["rows"] == len(part)
            if part:
                assert report[other]["time"] == [min(r[2] for r in part), max(r[2] for r in part)]
    amount = splits[0][MAIN].edge_label[:, 2].tolist()
    amount = [value for value in amount if not math.isnan(value)]
    found = splits[0].split_report["train"]["labels"]["amount"]
    assert found["labelled"] == len(amount)
    assert found["mean"] == pytest.approx(sum(amount) / len(amount))


@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.floats(0.1, 0.8))
def test_cuts_are_the_moments_nearest_to_the_fractions(times, fraction):
    data = impressions(len(times), features=False)
    data[MAIN].target = torch.arange(len(times)).float()[:, None]
    data[MAIN].target_names, data[MAIN].target_kinds = ["amount"], ["continuous"]
    data[MAIN].time = torch.tensor(times)
    if len(set(times)) < 2 or times.count(min(times)) < 2:
        return
    train, _, test = SplitImpressions(fractions=(fraction, 0.0, 1 - fraction))(data)
    possible = [sum(t <= moment for t in times) for moment in sorted(set(times))[:-1]]
    size = train[MAIN].edge_label.size(0)
    want = fraction * len(times)
    assert size in possible and abs(size - want) == min(abs(n - want) for n in possible)
    assert int(train[MAIN].edge_label_time.max()) < int(test[MAIN].edge_label_time.min())


def test_messages():
    data = impressions(50, seed=3)
    index = {"click": 0, "buy": 1}
    for messages in ("click", "buy", "all", None):
        train = SplitImpressions(messages=messages)(data)[0]
        store = train[MAIN]
        label = store.edge_label
        kept = (
            torch.ones(label.size(0), dtype=torch.bool)
            if messages == "all"
            else label[:, index[messages or "click"]] == 1
        )
        want = distinct(pairs(store.edge_label_index[:, kept]))
        assert pairs(store.edge_index) == want
        assert train.split_report["messages"] == (messages or "click")
    data[MAIN].target_kinds = ["continuous"] * 3
    train = SplitImpressions()(data)[0]
    assert train.split_report["messages"] == "all"
    assert pairs(train[MAIN].edge_index) == distinct(pairs(train[MAIN].edge_label_index))


def test_nothing_positive_leaves_no_message():
    data = impressions(30)
    click = data[MAIN].target[:, 0]
    click[:] = float("nan")
    click[:2] = torch.tensor([0.0, 1.0])
    data[MAIN].time = torch.arange(30)
    click[data[MAIN].time > 1] = 1
    train = SplitImpressions(fractions=(0.5, 0.2, 0.3), messages="buy")(data)[0]
    data[MAIN].target[:, 1] = torch.where(data[MAIN].target[:, 1] == 1, float("nan"), 0.0)
    with pytest.raises(InputError, match=r"target 'buy' is 0 in all \d+ labelled training"):
        SplitImpressions(fractions=(0.5, 0.2, 0.3), messages="buy")(data)
    assert NormalizedAdjacency()(train)[MAIN].adj_t.size() == (7, 5)


def test_other_relations_lose_what_is_held_out():
    data = impressions(30, num_users=8, num_items=9, seed=5)
    data[REVERSE].edge_index = data[MAIN].edge_index.flip(0)
    data[VIEWS].edge_index = torch.cat([data[MAIN].edge_index, torch.tensor([[0], [0]])], dim=1)
    data[VIEWS].time = torch.arange(31)
    splits = SplitImpressions()(data)
    held = {p for part in splits[1:] for p in pairs(part[MAIN].edge_label_index)}
    for part in splits:
        assert not held & set(pairs(part[VIEWS].edge_index))
        assert not held & set(pairs(part[REVERSE].edge_index.flip(0)))
        assert part[VIEWS].time.numel() == part[VIEWS].edge_index.size(1)
    kept = [p for p in pairs(data[VIEWS].edge_index) if p not in held]
    assert pairs(splits[0][VIEWS].edge_index) == kept
    dropped = splits[0].split_report["behaviours_dropped"]
    assert dropped[" ".join(VIEWS)] == 31 - len(kept) > 0
    assert data[VIEWS].edge_index.size(1) == 31


def test_kept_behaviours_are_whole():
    data = impressions(30, num_users=8, num_items=9, seed=5)
    data[REVERSE].edge_index = data[MAIN].edge_index.flip(0)
    data[VIEWS].edge_index = data[MAIN].edge_index.clone()
    data[VIEWS].time = torch.arange(30)
    dropped, kept = (SplitImpressions(behaviours=choice)(data) for choice in ("drop", "keep"))
    held = {p for part in kept[1:] for p in pairs(part[MAIN].edge_label_index)}
    for part in kept:
        assert torch.equal(part[VIEWS].edge_index, data[VIEWS].edge_index)
        assert torch.equal(part[VIEWS].time, data[VIEWS].time)
        assert not held & set(pairs(part[REVERSE].edge_index.flip(0)))  # the relation itself
    report = kept[0].split_report
    assert report["behaviours"] == "keep"
    views, reverse = (" ".join(edge_type) for edge_type in (VIEWS, REVERSE))
    number = sum(p in held for p in pairs(data[VIEWS].edge_index))
    assert report["behaviours_kept"] == {views: number}
    assert report["behaviours_dropped"] == {reverse: number}
    report = dropped[0].split_report
    assert report["behaviours_kept"] == {}
    assert report["behaviours_dropped"] == {views: number, reverse: number}


def test_given_parts():
    data = impressions(40)
    del data[MAIN].time
    data[MAIN].split = torch.arange(40).remainder(5).sub(2).clamp(min=0).to(torch.int8)
    before = data[MAIN].edge_index
    splits = SplitImpressions("given")(data)
    for number, part in enumerate(splits):
        own = data[MAIN].split == number
        assert torch.equal(part[MAIN].edge_label_index, before[:, own])
        assert "split" not in part[MAIN] and part.split_report["fractions"] is None
    assert [part[MAIN].edge_label.size(0) for part in splits] == [24, 8, 8]
    data[MAIN].split[3] = 3
    with pytest.raises(InputError, match=r"'split' of .* needs to be 0, 1 or 2"):
        SplitImpressions("given")(data)
    data[MAIN].split[:] = 2
    with pytest.raises(InputError, match=r"'given' split of .* leaves nothing for training"):
        SplitImpressions("given")(data)
    del data[MAIN].split
    with pytest.raises(InputError, match=r"'given' split needs 'split' \[40\]"):
        SplitImpressions("given")(data)


def test_random_parts_follow_the_seed():
    data = impressions(60)
    first, again, other = (SplitImpressions("random", seed=seed)(data) for seed in (1, 1, 2))
    for left, right in zip(first, again, strict=True):
        assert torch.equal(left[MAIN].edge_label_index, right[MAIN].edge_label_index)
    assert [part[MAIN].edge_label.size(0) for part in first] == [48, 6, 6]
    assert rows_of(first[2][MAIN], "edge_label_") != rows_of(other[2][MAIN], "edge_label_")
    del data[MAIN].time
    assert "time" not in SplitImpressions("random")(data)[0].split_report["train"]


def test_transforms_carry_columns_whose_names_are_as_many_as_rows():
    data = impressions(num_rows=12, num_users=2, num_items=3)  # 2 users, 2 columns; 3 targets
    data[MAIN].target_names = data[MAIN].target_names[:3]
    permuted = PermuteIds(1)(data)
    order = permuted["user"].raw_id
    assert torch.equal(permuted["user"].categorical, data["user"].categorical[order])
    assert permuted["user"].categorical_names == ["city", "job"]
    three = impressions(num_rows=3, num_users=3, num_items=3)
    assert SplitInteractions()(three)[0][MAIN].target_names == ["click", "buy", "amount"]
    assert KCore(1)(three)[MAIN].target_names == ["click", "buy", "amount"]


def test_real_slice(real_root):
    data = KuaiRandSlice(real_root("kuairand_slice"))[0]
    train, val, test = SplitImpressions()(data)
    assert [part[MAIN].edge_label.size(0) for part in (train, val, test)] == [33462, 4183, 4183]
    assert train[MAIN].edge_label_time.max() < val[MAIN].edge_label_time.min()
    assert val[MAIN].edge_label_time.max() < test[MAIN].edge_label_time.min()
    means = test.split_report["test"]["labels"]
    assert means["click"]["mean"] == pytest.approx(test[MAIN].edge_label[:, 0].mean().item())


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({}, {"strategy": "per-user"}, "'strategy' needs to be one of ('time', 'random', 'given')"),
        ({}, {"behaviours": "mask"}, "'behaviours' needs to be one of ('drop', 'keep')"),
        ({}, {"fractions": (0.8, 0.1, 0.2)}, "'fractions' needs to be three shares that sum to 1"),
        ({}, {"messages": "amount"}, "'messages' needs to be a binary target or 'all'"),
        ({"time": None}, {}, "'time' split needs 'time' [40]"),
        ({"target": None}, {}, "'SplitImpressions' needs 'target' and 'target_names'"),
        ({"target": torch.ones(40)}, {}, "'target' of"),
        ({"target": torch.ones(40, 3, dtype=torch.long)}, {}, "'target' of"),
        ({"target_names": ["a", "a", "b"]}, {}, "'target_names' of"),
        ({"target_names": ["a", "b c", "d"]}, {}, "'target_names' of"),
        ({"target_kinds": ["binary", "binary", "count"]}, {}, "'target_kinds' of"),
        ({"target_kinds": ["binary"]}, {}, "'target_kinds' of"),
        (
            {"edge_label_index": torch.ones(2, 1).long()},
            {},
            "('user', 'interacts', 'item') already has 'edge_label_index'",
        ),
        ({"time": torch.zeros(40, dtype=torch.long)}, {}, "split by 'time' needs at least 3"),
    ],
)
def test_bad_input(change, arguments, message):
    data = impressions(40)
    for name, value in change.items():
        if value is None:
            del data[MAIN][name]
        else:
            data[MAIN][name] = value
    with pytest.raises(InputError) as error:
        SplitImpressions(**arguments)(data)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 2.0, "target 'click' of .* needs to be 0, 1 or NaN \\(got 2 in row 4\\)"),
        (1, -1.0, "target 'buy' of .* needs to be 0, 1 or NaN \\(got -1 in row 4\\)"),
        (2, math.inf, "target 'amount' of .* needs to be a finite number or NaN \\(got inf in"),
    ],
)
def test_bad_labels(column, value, message):
    data = impressions(40)
    data[MAIN].target[4, column] = value
    with pytest.raises(InputError, match=message):
        SplitImpressions()(data)


def test_a_target_that_never_varies_in_training():
    data = impressions(40)
    late = data[MAIN].time > data[MAIN].time.median()
    data[MAIN].target[~late, 2] = 3.5
    with pytest.raises(InputError, match=r"target 'amount' is 3.5 in all .* labelled training"):
        SplitImpressions(fractions=(0.3, 0.3, 0.4))(data)
    data[MAIN].target[:, 0] = float("nan")
    with pytest.raises(InputError, match="target 'click' has no label in the training"):
        SplitImpressions()(data)


def test_repr():
    assert repr(SplitImpressions("random", seed=3)) == (
        "SplitImpressions(strategy='random', fractions=(0.8, 0.1, 0.1), seed=3, messages=None, "
        "behaviours='drop')"
    )
