import pytest
import torch
from bank import MAIN
from behaviour_bank import NAMES, NUM_USERS, behaviours, logs
from hypothesis import given
from hypothesis import strategies as st
from impression_bank import impressions
from no_sync import NoSync

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import KuaiRandSlice, Retailrocket
from pyg_mtrec.loader import BehaviourSequences, ImpressionLoader
from pyg_mtrec.transforms import AddBehaviours, PermuteIds, SplitImpressions

# Rows of users and moments, some before and some after everything.
ROWS = st.lists(st.tuples(st.integers(0, NUM_USERS - 1), st.integers(-5, 10)), max_size=12)


def columns(rows):
    return torch.tensor(rows, dtype=torch.long).view(-1, 2).unbind(1)


def by_loop(events, rows, max_len, trim=True):
    """The last items before each moment, sorted stably by time, from the definition."""
    found = []
    for user, time in rows:
        past = [e for e in events if e[0] == user and (time is None or e[2] < time)]
        found.append([item for _, item, _ in sorted(past, key=lambda e: e[2])][-max_len:])
    length = max([1, *map(len, found)]) if trim else max_len
    return [[-1] * (length - len(items)) + items for items in found]


@given(logs(), ROWS, st.integers(1, 5), st.booleans())
def test_equals_a_plain_loop(log, rows, max_len, trim):
    sequences = BehaviourSequences(behaviours(log), NAMES, max_len, trim)
    user, time = columns(rows)
    found, everything = sequences(user, time), sequences(user)
    assert list(found) == list(everything) == sequences.behaviours == list(NAMES)
    for name, events in log.items():
        assert found[name].tolist() == by_loop(events, rows, max_len, trim)
        untimed = [(user, None) for user, _ in rows]
        assert everything[name].tolist() == by_loop(events, untimed, max_len, trim)
        assert found[name].dtype == torch.int64 and found[name].size(1) >= 1


@given(logs(), ROWS)
def test_nothing_at_or_after_the_moment_is_ever_shown(log, rows):
    for events in log.values():  # every event has an item of its own, which tells who it is
        events[:] = [(user, place, time) for place, (user, _, time) in enumerate(events)]
    found = BehaviourSequences(behaviours(log, num_items=15), NAMES)(*columns(rows))
    for name, items in found.items():
        for (user, time), row in zip(rows, items.tolist(), strict=True):
            shown = [log[name][item] for item in row if item >= 0]
            assert all(event[0] == user and event[2] < time for event in shown)


@given(logs(), ROWS, st.integers(-(10**9), 10**9))
def test_a_shift_of_all_times_changes_nothing(log, rows, shift):
    user, time = columns(rows)
    shift += 1 << 60  # so large that no float could tell the times apart
    moved = BehaviourSequences(behaviours(log, shift=shift), NAMES, 3)(user, time + shift)
    found = BehaviourSequences(behaviours(log), NAMES, 3)(user, time)
    assert all(torch.equal(moved[name], items) for name, items in found.items())


@given(logs(), ROWS, logs())
def test_later_events_change_nothing(log, rows, later):
    user, time = columns(rows)
    found = BehaviourSequences(behaviours(log), NAMES, 3)(user, time)
    last = int(time.max()) if rows else 0
    for name, events in later.items():  # from the very moment on
        log[name] = [(u, i, last + t + 3) for u, i, t in events] + log[name]
    again = BehaviourSequences(behaviours(log), NAMES, 3)(user, time)
    assert all(torch.equal(again[name], items) for name, items in found.items())


def test_a_look_up_never_waits_for_the_device():
    log = {name: [(0, 1, 5), (1, 2, 3), (0, 0, 4)] for name in NAMES}
    sequences = BehaviourSequences(behaviours(log), NAMES, max_len=4, trim=False)
    user, time = torch.tensor([0, 3, 1]), torch.tensor([5, 5, 5])
    with NoSync():
        found, everything = sequences(user, time), sequences(user)
    assert found["views"].tolist() == [[-1, -1, -1, 0], [-1] * 4, [-1, -1, -1, 2]]
    assert everything["buys"].tolist() == [[-1, -1, 0, 1], [-1] * 4, [-1, -1, -1, 2]]


def logged(strategy="time"):
    data = AddBehaviours()(impressions(60, seed=2))
    return SplitImpressions(strategy, (0.6, 0.2, 0.2), behaviours="keep")(data)


def test_the_loader_attaches_what_came_before():
    data = AddBehaviours()(impressions(60, seed=2))
    events = {
        name: list(zip(*store.edge_index.tolist(), store.time.tolist(), strict=True))
        for name in ("clicks", "buys")
        for store in [data["user", name, "item"]]
    }
    for part in logged():
        sequences = BehaviourSequences(part, ["clicks", "buys"], max_len=3)
        loader = ImpressionLoader(part, batch_size=7, sequences=sequences)
        batches = [*loader, loader.whole(), loader.whole(2, 5), loader.whole(3, 3)]
        assert sum(batch.size for batch in batches[:-3]) == loader.num_impressions
        for batch in batches:
            rows = list(zip(batch.user.tolist(), batch.time.tolist(), strict=True))
            for name, items in batch.sequences.items():
                assert items.tolist() == by_loop(events[name], rows, 3)
        pairs = loader.pairs(torch.tensor([0, 4]), torch.tensor([1, 1]))
        for name, items in pairs.sequences.items():
            assert items.tolist() == by_loop(events[name], [(0, None), (4, None)], 3)


def test_a_loader_without_sequences_has_none():
    part = logged("random")[0]
    assert next(iter(ImpressionLoader(part))).sequences is None
    sequences = BehaviourSequences(part, ["clicks"])
    del part[MAIN].edge_label_time
    assert ImpressionLoader(part).pairs(torch.tensor([0]), torch.tensor([0])).sequences is None
    with pytest.raises(InputError, match="has no 'edge_label_time'"):
        ImpressionLoader(part, sequences=sequences)


def test_real_retailrocket(real_root):
    data = Retailrocket(real_root("retailrocket"))[0]
    sequences = BehaviourSequences(data, Retailrocket.behaviours, max_len=10_000)
    found = sequences(torch.arange(2_174))
    sizes = {name: (items >= 0).sum(1) for name, items in found.items()}
    assert tuple(sizes) == Retailrocket.behaviours
    assert [int(size.median()) for size in sizes.values()] == [5, 2, 1]  # of all users
    assert [int((size == 0).sum()) for size in sizes.values()] == [91, 113, 0]
    assert found["views"].size(1) == 3_808


def test_real_slice(real_root):
    targets = ("click", "long_view", "like", "hate", "watch_time")
    data = KuaiRandSlice(real_root("kuairand_slice"), targets=targets)[0]
    graph = AddBehaviours({"click": "clicks", "like": "likes", "hate": "hates"})(data)
    counts = [graph["user", name, "item"].num_edges for name in ("clicks", "likes", "hates")]
    assert counts == [27_484, 33_745, 8_083]
    test = SplitImpressions(behaviours="keep")(PermuteIds(3)(graph))[2]
    sequences = BehaviourSequences(test, ["clicks", "hates"], max_len=20)
    batch = ImpressionLoader(test, sequences=sequences).whole(0, 300)
    for name, items in batch.sequences.items():
        store = test["user", name, "item"]
        events = list(zip(*store.edge_index.tolist(), store.time.tolist(), strict=True))
        rows = list(zip(batch.user.tolist(), batch.time.tolist(), strict=True))
        assert items.tolist() == by_loop(events, rows, 20)


@pytest.mark.parametrize(
    ("arguments", "change", "message"),
    [
        ({"behaviours": []}, None, "'behaviours' needs distinct names of relations"),
        ({"behaviours": "views"}, None, "'behaviours' needs distinct names of relations"),
        ({"behaviours": ["views", "views"]}, None, "'behaviours' needs distinct names"),
        ({"behaviours": ["likes"]}, None, r"needs the relation \('user', 'likes', 'item'\)"),
        ({"max_len": 0}, None, r"'max_len' needs to be positive .* \(got 0\)"),
        ({}, {"time": None}, r"needs an integer 'time' of shape \[2\] .* \(found None\)"),
        ({}, {"time": torch.ones(2)}, r"needs an integer 'time' .* \(found torch.float32 \[2\]\)"),
        ({}, {"time": torch.ones(3).long()}, r"needs an integer 'time' of shape \[2\]"),
        ({}, {"edge_index": torch.tensor([[0, 1], [2, 6]])}, r"item ids in 2..6, outside 0..5"),
        ({}, {"edge_index": torch.tensor([[0, -1], [2, 3]])}, r"user ids in -1..0, outside 0..3"),
    ],
)
def test_bad_input(arguments, change, message):
    data = behaviours({"views": [(0, 1, 2), (1, 3, 4)]})
    for name, value in (change or {}).items():
        data["user", "views", "item"][name] = value
        if value is None:
            del data["user", "views", "item"][name]
    with pytest.raises(InputError, match=message) as error:
        BehaviourSequences(data, **{"behaviours": ["views"], **arguments})
    assert "\n" not in str(error.value)


def test_repr():
    data = behaviours({"views": []})
    assert repr(BehaviourSequences(data, ["views"])) == "BehaviourSequences(['views'], max_len=50)"
    assert BehaviourSequences(data, ["views"]).num_items == 6
