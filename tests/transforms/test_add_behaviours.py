import pytest
import torch
from bank import MAIN, VIEWS
from hypothesis import given
from hypothesis import strategies as st
from impression_bank import impressions

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import AddBehaviours, KCore, SplitImpressions


@given(num_rows=st.integers(1, 40), seed=st.integers(0, 10**6))
def test_equals_a_plain_loop(num_rows, seed):
    data = impressions(num_rows, seed=seed)
    before = set(data.edge_types)
    out = AddBehaviours()(data)
    assert set(data.edge_types) == before  # the input stays
    assert set(out.edge_types) - before == {("user", name, "item") for name in ("clicks", "buys")}
    rows = zip(
        *data[MAIN].edge_index.tolist(),
        data[MAIN].time.tolist(),
        data[MAIN].target.tolist(),
        strict=True,
    )
    rows = list(rows)
    for column, name in enumerate(("clicks", "buys")):
        store = out["user", name, "item"]
        found = list(zip(*store.edge_index.tolist(), store.time.tolist(), strict=True))
        assert found == [(u, i, t) for u, i, t, label in rows if label[column] == 1]
        assert sorted(store.keys()) == ["edge_index", "time"]


def test_names():
    data = impressions(30)
    assert ("user", "purchases", "item") in AddBehaviours({"buy": "purchases"})(data).edge_types
    out = AddBehaviours(["buy"])(data)
    assert ("user", "buys", "item") in out.edge_types
    assert ("user", "clicks", "item") not in out.edge_types


def test_a_target_that_is_never_positive_is_an_empty_behaviour():
    data = impressions(30)
    data[MAIN].target[:, 1] = 0
    store = AddBehaviours()(data)["user", "buys", "item"]
    assert store.edge_index.shape == (2, 0) and store.time.shape == (0,)


def test_filters_and_splits_carry_what_was_added():
    data = AddBehaviours()(impressions(60))
    core = KCore(2)(data)
    assert core["user", "clicks", "item"].time.numel() == core["user", "clicks", "item"].num_edges
    kept = SplitImpressions(behaviours="keep")(data)
    for part in kept:
        for name in ("clicks", "buys"):
            store = part["user", name, "item"]
            assert torch.equal(store.time, data["user", name, "item"].time)
    dropped = SplitImpressions()(data)[0]
    assert dropped["user", "clicks", "item"].num_edges < data["user", "clicks", "item"].num_edges


@pytest.mark.parametrize(
    ("targets", "change", "message"),
    [
        (["like"], None, r"'targets' needs binary targets .*, of click, buy \(got 'like'\)"),
        (["amount"], None, r"'targets' needs binary targets .* \(got 'amount'\)"),
        ([], None, "needs at least one binary target"),
        ({"click": "a", "buy": "a"}, None, "needs at least one binary target, and distinct names"),
        ({"click": "a b"}, None, r"needs an identifier as its name \(got 'a b'\)"),
        ({"click": "views"}, "views", r"already has \('user', 'views', 'item'\)"),
        ({"click": "interacts"}, None, r"already has \('user', 'interacts', 'item'\)"),
        (None, "kinds", "needs at least one binary target"),
        (None, "time", r"needs an integer 'time' \[30\] on .* \(found None\)"),
        (None, "floats", r"needs an integer 'time' \[30\] on .* \(found torch.float32 \[30\]\)"),
        (None, "target", "needs 'target' and 'target_names'"),
        (None, "split", "already has 'edge_label_index'"),
    ],
)
def test_bad_input(targets, change, message):
    data = impressions(30)
    if change == "views":
        data[VIEWS].edge_index = torch.zeros(2, 1, dtype=torch.long)
    elif change == "kinds":
        data[MAIN].target_kinds = ["continuous"] * 3
    elif change == "floats":
        data[MAIN].time = data[MAIN].time.float()
    elif change == "split":
        data = SplitImpressions()(data)[0]
    elif change:
        del data[MAIN][change]
    with pytest.raises(InputError, match=message) as error:
        AddBehaviours(targets)(data)
    assert "\n" not in str(error.value)


def test_repr():
    assert repr(AddBehaviours(["click"])) == "AddBehaviours(targets={'click': 'clicks'})"
