import json
from collections import Counter

import pytest
import torch
from bank import MAIN, REVERSE, pairs
from behaviour_bank import NAMES, NUM_ITEMS, behaviours, logs
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Retailrocket
from pyg_mtrec.loader import BehaviourSequences, ImpressionLoader
from pyg_mtrec.transforms import DrawImpressions, SplitImpressions

TARGETS = {"carts": "cart", "buys": "buy"}


def rows_of(data):
    """Every impression as user, item, time, part and labels."""
    store = data[MAIN]
    columns = [*store.edge_index.tolist(), store.time.tolist(), store.split.tolist()]
    return list(zip(*columns, map(str, store.target.tolist()), strict=True))


def by_loop(log, at, fractions):
    """What happened: impressions with their part, and where the parts begin."""
    first = {}
    for user, item, time in (event for events in log.values() for event in events):
        first[user, item] = min(time, first.get((user, item), time))
    events = [event for name in TARGETS for event in log[name]]
    happened = sorted({(u, i, t if at == "every" else first[u, i]) for u, i, t in events})
    moments = sorted({time for _, _, time in happened})
    up_to = [sum(row[2] <= moment for row in happened) for moment in moments]

    def nearest(fraction, low, high):
        return min(range(low, high), key=lambda k: abs(up_to[k] - fraction * len(happened)))

    train = nearest(fractions[0], 0, len(moments) - 2)
    val = nearest(fractions[0] + fractions[1], train + 1, len(moments) - 1)
    ends = [moments[train + 1], moments[val + 1], float("inf")]
    parts = [0 if t <= moments[train] else 1 if t <= moments[val] else 2 for _, _, t in happened]
    return first, ends, list(zip(happened, parts, strict=True))


def label(log, user, item, time, end):
    return [
        float(any(e[:2] == (user, item) and time <= e[2] < end for e in log[name]))
        for name in TARGETS
    ]


@given(
    log=logs(min_size=3),
    at=st.sampled_from(["first", "every"]),
    num_negatives=st.integers(0, 3),
    seed=st.integers(0, 2**40),
)
def test_equals_a_plain_loop(log, at, num_negatives, seed):
    data = behaviours(log)
    draw = DrawImpressions(num_negatives=num_negatives, at=at, fractions=(0.5, 0.2, 0.3), seed=seed)
    try:
        out = draw(data)
    except InputError as error:
        assert "distinct times" in str(error)
        return
    first, ends, happened = by_loop(log, at, (0.5, 0.2, 0.3))
    want = Counter()
    late = full = 0
    for (user, item, time), part in happened:
        labels = label(log, user, item, time, ends[part])
        late += not any(labels)
        if any(labels):
            want[user, item, time, part, str(labels)] += 1

    touched_by_then = {
        row: first.get(row[:2], float("inf")) <= row[2] for row in (r[:3] for r in rows_of(out))
    }
    found = Counter(row for row in rows_of(out) if touched_by_then[row[:3]])
    assert found == want  # the drawn ones are all the others, for nothing touched is ever drawn
    drawn = [row for row in rows_of(out) if not touched_by_then[row[:3]]]
    for user, item, time, part, labels in drawn:
        assert labels == str(label(log, user, item, time, ends[part]))
    counts = Counter((user, time, part) for user, _, time, part, _ in drawn)
    per_moment = Counter((user, time, part) for user, _, time, part, _ in want.elements())
    for (user, time, part), number in per_moment.items():
        known = {i for (u, i), t in first.items() if u == user and t <= time}
        full += number * (len(known) == NUM_ITEMS)
        draws = num_negatives * number * (len(known) < NUM_ITEMS)
        assert counts[user, time, part] == draws
    rows = rows_of(out)
    assert rows == sorted(rows, key=lambda row: (row[2], row[0], row[1]))
    report = out.draw_report
    assert json.loads(json.dumps(report)) == report
    assert (report["labelled_after_their_part"], report["nothing_left_to_draw"]) == (late, full)
    sizes = Counter(row[3] for row in want.elements())
    for part, name in enumerate(("train", "val", "test")):
        assert report[name]["happened"] == sizes[part]
        assert report[name]["drawn"] == sum(row[3] == part for row in drawn)
        hits = sum(row[3] == part and "1.0" in row[4] for row in drawn)
        assert report[name]["drawn_and_positive"] == hits
    assert MAIN not in data.edge_types
    again = draw(data)
    assert rows_of(again) == rows and again.draw_report == report


@given(logs(min_size=3), st.sampled_from(["first", "every"]), st.integers(-(10**9), 10**9))
def test_a_shift_of_all_times_changes_nothing(log, at, shift):
    draw = DrawImpressions(at=at, fractions=(0.5, 0.2, 0.3))
    shift += 1 << 60
    try:
        rows = rows_of(draw(behaviours(log)))
    except InputError:
        return
    moved = rows_of(draw(behaviours(log, shift=shift)))
    assert moved == [(u, i, t + shift, *rest) for u, i, t, *rest in rows]


@given(logs(min_size=3), st.integers(0, 3), st.integers(0, NUM_ITEMS - 1), st.data())
def test_later_events_change_nothing(log, user, item, data):
    at = data.draw(st.sampled_from(["first", "every"]))
    draw = DrawImpressions(at=at, fractions=(0.5, 0.2, 0.3))
    try:
        rows = rows_of(draw(behaviours(log)))
    except InputError:
        return
    late = max(event[2] for events in log.values() for event in events) + 1
    log["views"].append((user, item, late))
    assert rows_of(draw(behaviours(log))) == rows
    if at == "every":  # one more impression, which can move the cuts, but nothing that was drawn
        log["buys"].append((user, item, late))
        more = rows_of(draw(behaviours(log)))
        assert [row[:3] for row in more if row[2] < late] == [row[:3] for row in rows]


@given(logs(min_size=3))
def test_labels_of_training_know_nothing_of_later_parts(log):
    draw = DrawImpressions(at="every", fractions=(0.5, 0.2, 0.3))
    try:
        out = draw(behaviours(log, num_items=18))
    except InputError:
        return
    store = out[MAIN]
    begin = int(store.time[store.split > 0].min())
    for name in NAMES:  # whatever comes later is done to something else by somebody else
        log[name] = [(u, i, t) if t < begin else (3, 6 * u + i, t) for u, i, t in log[name]]
    other = draw(behaviours(log, num_items=18))
    early = [row for row in rows_of(out) if row[2] < begin]
    assert [row for row in rows_of(other) if row[2] < begin] == early


@pytest.mark.parametrize(("num_items", "num_touched"), [(12, 5), (400, 396)])
def test_draws_are_uniform_over_what_is_untouched(num_items, num_touched):
    # With 396 of 400 items touched, most rows are left to the exact draw after all the refusals.
    log = {
        "views": [(0, item, int(item == 0)) for item in range(num_touched)],  # one just then
        "carts": [(0, 1, time) for time in range(1, 4)],
    }
    data = behaviours(log, num_items)
    draw = DrawImpressions({"carts": "cart"}, 3_000, "every", fractions=(0.4, 0.3, 0.3))
    store = draw(data)[MAIN]
    drawn = store.edge_index[1][store.edge_index[1] >= num_touched] - num_touched
    assert drawn.numel() == 9_000 == store.time.numel() - 3
    counts = torch.bincount(drawn, minlength=num_items - num_touched)
    assert chisquare(counts.numpy()).pvalue > 1e-3
    for moment in (1, 2, 3):  # and independent of the moment
        mine = store.edge_index[1][(store.time == moment) & (store.edge_index[1] >= num_touched)]
        assert chisquare(torch.bincount(mine - num_touched).numpy()).pvalue > 1e-3
    other = DrawImpressions({"carts": "cart"}, 3_000, "every", fractions=(0.4, 0.3, 0.3), seed=1)
    assert not torch.equal(other(data)[MAIN].edge_index, store.edge_index)


def with_published(log, test):
    data = behaviours(log)
    bought = torch.tensor([event[:2] for event in log["buys"]]).view(-1, 2).unique(dim=0)
    held = torch.tensor(test)
    data[MAIN].edge_index = torch.cat([bought, held]).t().contiguous()
    data[MAIN].split = torch.tensor([0] * len(bought) + [2] * len(held), dtype=torch.int8)
    data[REVERSE].edge_index = data[MAIN].edge_index.flip(0)
    return data


def test_published_rows_are_the_test_part():
    log = {
        "views": [(0, 0, 5), (0, 1, 9), (1, 2, 5), (2, 3, 40)],
        "carts": [(0, 0, 6), (1, 2, 7)],
        "buys": [(0, 1, 12), (1, 2, 20), (2, 3, 41)],
    }
    data = with_published(log, [(0, 4), (1, 5), (1, 0)])
    out = DrawImpressions(num_negatives=20, published="buys", fractions=(0.5, 0.5, 0.0))(data)
    assert REVERSE not in out.edge_types and REVERSE in data.edge_types
    store = out[MAIN]
    test = store.split == 2
    assert store.time[test].tolist() == [42] * 63
    assert store.target[test, 0].isnan().all()
    happened = store.edge_index[:, test & (store.target[:, 1] == 1)]
    assert pairs(happened) == [(0, 4), (1, 0), (1, 5)]
    drawn = set(pairs(store.edge_index[:, test & (store.target[:, 1] == 0)]))
    # never what the user has touched, nor another test item of the same user
    assert drawn == {(0, 2), (0, 3), (0, 5), (1, 1), (1, 3), (1, 4)}
    early = set(pairs(store.edge_index[:, ~test]))
    assert {(0, 0), (0, 1), (1, 2), (2, 3)} <= early and (2, 5) in early
    # the other parts know nothing of it
    del data[MAIN], data[REVERSE]
    alone = DrawImpressions(num_negatives=20, fractions=(0.5, 0.5, 0.0))(data)
    assert rows_of(alone) == [row for row in rows_of(out) if row[3] < 2]
    assert alone.draw_report["test"] == {"happened": 0, "drawn": 0, "drawn_and_positive": 0}


def test_the_split_takes_the_parts_as_they_were_drawn():
    generator = torch.Generator().manual_seed(0)
    log = {
        name: torch.stack(
            [torch.randint(high, (40,), generator=generator) for high in (4, 30, 25)], dim=1
        ).tolist()
        for name in NAMES
    }
    data = DrawImpressions(num_negatives=2)(behaviours(log, num_items=30))
    store = data[MAIN]
    with pytest.raises(InputError, match=r"split .* by 'given' \(got 'time'\)"):
        SplitImpressions()(data)
    splits = SplitImpressions("given", behaviours="keep")(data)
    sequences = BehaviourSequences(splits[0], NAMES)
    for number, part in enumerate(splits):
        own = store.split == number
        assert torch.equal(part[MAIN].edge_label_index, store.edge_index[:, own])
        assert torch.equal(part[MAIN].edge_label, store.target[own])
        assert torch.equal(part[MAIN].edge_label_time, store.time[own])
        assert part.split_report["drawn"] == data.draw_report
        assert part.split_report["fractions"] is None
        assert "split" not in part[MAIN]
        for name in NAMES:
            kept = part["user", name, "item"].edge_index
            assert torch.equal(kept, data["user", name, "item"].edge_index)
        batch = ImpressionLoader(part, sequences=sequences).whole()
        for items in batch.sequences.values():  # an item is new to its user, drawn or not
            assert not (items == batch.item[:, None]).any()
    del data[MAIN].split
    with pytest.raises(InputError, match="'given' split needs 'split'"):
        SplitImpressions("given")(data)


def test_real_retailrocket(real_root):
    data = Retailrocket(real_root("retailrocket"))[0]
    out = DrawImpressions()(data)
    report = out.draw_report
    assert report["behaviours"] == ["views", "carts", "buys"]
    # 12,456 carts and the 772 purchases without one are 13,228 pairs
    happened = [report[name]["happened"] for name in ("train", "val", "test")]
    assert sum(happened) + report["labelled_after_their_part"] == 12_456 + 772
    assert [round(10 * n / sum(happened)) for n in happened] == [8, 1, 1]
    assert report["nothing_left_to_draw"] == 0
    store = out[MAIN]
    assert store.target.shape == (5 * sum(happened), 2)
    published = DrawImpressions(published="buys")(data)
    store = published[MAIN]
    test = store.split == 2
    assert int(test.sum()) == 5 * 2_174 and int(store.target[test, 1].sum()) == 2_174
    every = DrawImpressions(at="every", num_negatives=0)(data)
    # 12,456 + 9,551 events, none at the same second as another one of its pair
    assert every[MAIN].time.numel() == 22_007


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": "last"}, "'at' needs to be one of"),
        ({"targets": {}}, "'targets' needs behaviours with distinct identifiers"),
        ({"targets": {"carts": "a", "buys": "a"}}, "'targets' needs behaviours with distinct"),
        ({"targets": {"carts": "a b"}}, "'targets' needs behaviours with distinct identifiers"),
        ({"targets": {"likes": "like"}}, r"needs the relation \('user', 'likes', 'item'\)"),
        ({"num_negatives": -1}, r"'num_negatives' needs to be at least 0 .* \(got -1\)"),
        ({"published": "views"}, r"'published' needs to be a behaviour of 'targets'"),
        ({"published": "buys", "fractions": (0.8, 0.1, 0.1)}, "nothing else is for testing"),
        ({"published": "buys"}, r"needs the relation \('user', 'interacts', 'item'\)"),
        ({"fractions": (0.8, 0.1)}, "'fractions' needs to be three shares"),
        ({"behaviours": ["clicks"]}, r"needs the relation \('user', 'clicks', 'item'\)"),
    ],
)
def test_bad_input(arguments, message):
    log = {name: [(0, 1, 2), (0, 2, 3), (1, 2, 4), (1, 3, 5)] for name in NAMES}
    with pytest.raises(InputError, match=message) as error:
        DrawImpressions(**arguments)(behaviours(log))
    assert "\n" not in str(error.value)


def test_bad_graphs():
    log = {"views": [(0, 1, 1)], "carts": [], "buys": []}
    with pytest.raises(InputError, match="found no event of carts, buys"):
        DrawImpressions()(behaviours(log))
    log["carts"] = [(0, 1, 1), (1, 1, 1)]
    with pytest.raises(InputError, match="needs at least 3 distinct times"):
        DrawImpressions()(behaviours(log))
    log["carts"] = [(0, 1, time) for time in range(5)]
    data = behaviours(log)
    data["user", "carts", "item"].time = torch.ones(5)
    with pytest.raises(InputError, match=r"needs an integer 'time' \[5\] on .*carts"):
        DrawImpressions()(data)
    data = DrawImpressions(at="every")(behaviours(log))
    with pytest.raises(InputError, match="holds drawn impressions already"):
        DrawImpressions()(data)
    data = with_published({**log, "buys": [(0, 1, 3)]}, [(0, 4)])
    data[MAIN].split.zero_()
    with pytest.raises(InputError, match="has no row with 'split' 2"):
        DrawImpressions(published="buys")(data)


def test_repr():
    assert repr(DrawImpressions(seed=3)) == (
        "DrawImpressions(targets={'carts': 'cart', 'buys': 'buy'}, num_negatives=4, at='first',"
        " published=None, seed=3)"
    )
