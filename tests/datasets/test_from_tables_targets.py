"""Targets and features of `from_tables`."""

import io
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import from_tables
from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.transforms import SplitImpressions

MAIN = ("user", "interacts", "item")
CHAIN = {"click": "binary", "amount": "continuous"}
CSV = """user,item,click,amount,device,age,time
3,a,1,2.5,tv,31,5
1,a,0,,phone,,6
3,a,1,0,,20,7
1,b,,-4,tv,1e3,8
"""


def write(tmp_path, text, name="my.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def same(left, right):
    return str(left) == str(right)  # NaN is NaN


def test_impressions_from_a_file(tmp_path):
    people = write(tmp_path, "user,plan,score\n3,gold,1.5\n8,,\n", "people.csv")
    items = pd.DataFrame({"item": ["b", "a"], "colour": ["red", "blue"], "new": [True, False]})
    data = from_tables(
        write(tmp_path, CSV),
        targets=CHAIN,
        categorical=["device"],
        numeric=["age"],
        user_features=people,
        item_features=items,
    )
    store = data[MAIN]
    assert store.edge_index.tolist() == [[1, 0, 1, 0], [0, 0, 0, 1]]  # (3, a) twice
    assert same(store.target.tolist(), [[1.0, 2.5], [0.0, math.nan], [1.0, 0.0], [math.nan, -4.0]])
    assert store.target.dtype == torch.float32
    assert (store.target_names, store.target_kinds) == (list(CHAIN), list(CHAIN.values()))
    assert store.categorical.tolist() == [[1], [0], [-1], [1]]
    assert store.categorical_names == ["device"]
    assert store.categorical_levels == {"device": ["phone", "tv"]}
    assert same(store.numeric.tolist(), [[31.0], [math.nan], [20.0], [1000.0]])
    assert store.time.tolist() == [5, 6, 7, 8]
    assert data["user"].raw_id.tolist() == [1, 3, 8]
    assert data["user"].categorical.tolist() == [[-1], [0], [-1]]
    assert data["user"].categorical_levels == {"plan": ["gold"]}
    assert same(data["user"].numeric.tolist(), [[math.nan], [1.5], [math.nan]])
    assert data["item"].categorical.tolist() == [[0, 0], [1, 1]]
    assert data["item"].categorical_names == ["colour", "new"]
    assert data["item"].categorical_levels == {"colour": ["blue", "red"], "new": ["False", "True"]}
    assert "numeric" not in data["item"] and data.validate()
    report = {
        "interacts_rows_read": 4,
        "interacts_repeated_pairs": 1,
        "user_features_rows_read": 2,
        "users_without_features": 1,
        "users_without_interactions": 1,
        "item_features_rows_read": 2,
        "items_without_features": 0,
    }
    assert report.items() <= data.report.items()
    assert "interacts_duplicates_dropped" not in data.report
    buffer = io.BytesIO()
    torch.save(data.to_dict(), buffer)
    buffer.seek(0)
    back = HeteroData.from_dict(torch.load(buffer, weights_only=True))
    assert same(back.to_dict(), data.to_dict())


def test_without_targets_pairs_are_kept_once_with_their_features(tmp_path):
    data = from_tables(write(tmp_path, CSV), categorical=["device"], numeric=["age"])
    assert data[MAIN].edge_index.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert data[MAIN].categorical.tolist() == [[1], [0], [1]]
    assert same(data[MAIN].numeric.tolist(), [[31.0], [math.nan], [1000.0]])
    assert "target" not in data[MAIN] and data.report["interacts_duplicates_dropped"] == 1


cells = st.one_of(st.none(), st.floats(-(2.0**90), 2.0**90, width=32))


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 3),
            st.sampled_from([0, 1, None]),
            cells,
            st.sampled_from(["b", "a", "", None]),
            st.sampled_from([10, 9, None]),
        ),
        min_size=2,
        max_size=25,
    )
)
def test_equals_a_plain_loop(rows):
    names = ["user", "item", "click", "amount", "word", "count"]
    frame = pd.DataFrame(rows, columns=names)
    varied = all(
        len({row[place] for row in rows if row[place] is not None}) > 1 for place in (2, 3)
    )
    arguments = {"targets": CHAIN, "categorical": ["word", "count"]}
    if not varied:
        with pytest.raises(InputError, match=r"the target '(click|amount)' is"):
            from_tables(frame, **arguments)
        return
    data = from_tables(frame, **arguments)
    store = data[MAIN]
    words, counts = store.categorical_levels["word"], store.categorical_levels["count"]
    assert words == sorted({row[4] for row in rows if row[4]})
    assert counts == [str(n) for n in sorted({row[5] for row in rows if row[5] is not None})]
    for place, (user, item, click, amount, word, count) in enumerate(rows):
        src, dst = store.edge_index[:, place]
        assert (data["user"].raw_id[src], data["item"].raw_id[dst]) == (user, item)
        want = [math.nan if x is None else float(np.float32(x)) for x in (click, amount)]
        assert same(store.target[place].tolist(), want)
        codes = [words.index(word) if word else -1]
        codes += [-1 if count is None else counts.index(str(count))]
        assert store.categorical[place].tolist() == codes


def test_a_table_that_recommends_nothing():
    # a census: one user for all rows, the occupation as the item
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "user": 0,
            "item": generator.choice(["clerk", "nurse", "none"], 200),
            "married": generator.integers(0, 2, 200),
            "income": generator.lognormal(10, 1, 200),
            "sex": generator.choice(["f", "m"], 200),
            "hours per week": generator.integers(0, 60, 200),
        }
    )
    data = from_tables(
        frame,
        targets={"married": "binary", "income": "continuous"},
        categorical=["sex"],
        numeric=["hours per week"],
    )
    assert (data["user"].num_nodes, data["item"].num_nodes) == (1, 3)
    train, _, test = SplitImpressions("random", (0.7, 0.1, 0.2))(data)
    assert train[MAIN].edge_index.size(1) <= 3
    loader = ImpressionLoader(test, 16, shuffle=False)
    assert loader.categorical_names == ["sex"] and loader.numeric_names == ["hours per week"]
    incomes = torch.cat([batch.label[:, 1] for batch in loader])
    assert set(incomes.tolist()) <= set(frame["income"].astype("f4").tolist())
    assert sum(batch.size for batch in loader) == 40


@pytest.mark.parametrize(
    "click",
    [
        [True, False, None],
        ["1", "0", ""],
        ["True", "False", None],
        pd.array([1, 0, None], dtype="Int8"),
        pd.array([True, False, None], dtype="boolean"),
        pd.Categorical([1, 0, None]),
        [1.0, 0.0, math.nan],
    ],
)
def test_truth_values_of_any_type(click):
    frame = pd.DataFrame({"user": [0, 1, 2], "item": 0, "click": click})
    if click[0] == "True":
        with pytest.raises(InputError, match="row 1: 'click' needs to be 0 or 1, or empty"):
            from_tables(frame, targets={"click": "binary"})
        return
    store = from_tables(frame, targets={"click": "binary"})[MAIN]
    assert same(store.target[:, 0].tolist(), [1.0, 0.0, math.nan])


def test_a_target_is_no_rating_of_a_message():
    frame = pd.DataFrame({"user": [0, 1], "item": [0, 1], "rating": [1.0, 5.0]})
    store = from_tables(frame, targets={"rating": "continuous"})[MAIN]
    assert "rating" not in store and store.target.tolist() == [[1.0], [5.0]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1,2.5", "2,2.5", "'{}', row 1: 'click' needs to be 0 or 1, or empty (got 2.0)"),
        ("1,2.5", "yes,2.5", "'{}', row 1: 'click' needs to be 0 or 1, or empty (got yes)"),
        ("-4", "inf", "'{}', row 4: 'amount' needs to be a finite number, or empty (got inf)"),
        ("-4", "1e39", "'{}', row 4: 'amount' needs to be a finite number, or empty (got 1e+39)"),
        ("-4", "lots", "'{}', row 4: 'amount' needs to be a finite number, or empty (got lots)"),
        ("tv,31", "tv,old", "'{}', row 1: 'age' needs to be a number or empty (got old)"),
        ("tv,31", "tv,-inf", "'{}', row 1: 'age' needs to be a number or empty (got -inf)"),
        ("a,0,,", "a,1,,", "'{}': the target 'click' is 1 in every labelled row: leave it out"),
        ("device", "gadget", "'{}' needs a column 'device' (found "),
        ("click", "clicks", "'{}' needs a column 'click' (found user, item, clicks, amount,"),
    ],
)
def test_bad_cells(tmp_path, old, new, message):
    path = write(tmp_path, CSV.replace(old, new, 1))
    with pytest.raises(InputError) as error:
        from_tables(path, targets=CHAIN, categorical=["device"], numeric=["age"])
    assert str(error.value).startswith(message.format(path)) and "\n" not in str(error.value)


FRAME = pd.DataFrame({"user": [0, 1], "item": [0, 1], "click": [0, 1], "empty": [None, None]})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"targets": {"click": "ordinal"}}, "the target 'click' needs to be one of ('binary', "),
        ({"targets": {"a b": "binary"}}, "a target needs a column whose name is an identifier"),
        ({"targets": {"empty": "binary"}}, "table 'interactions': the target 'empty' is empty"),
        (
            {"targets": {"click": "binary"}, "numeric": ["click"]},
            "table 'interactions' needs one column 'click' for one purpose",
        ),
        (
            {"user_features": pd.DataFrame({"user": [0, 0], "age": [1, 2]})},
            "table 'user_features', row 2: 'user' is there twice (got 0): keep one row each",
        ),
        (
            {"item_features": pd.DataFrame({"item": [7, 8], "age": [1, 2]})},
            "table 'item_features' shares no item with table 'interactions' (e.g. 7 against 0)",
        ),
        (
            {"item_features": pd.DataFrame({"item": [0], "age": [math.inf]})},
            "table 'item_features', row 1: 'age' needs to be a number or empty (got inf)",
        ),
        (
            {"user_features": pd.DataFrame({"id": [0]})},
            "table 'user_features' needs a column 'user' (found id)",
        ),
        ({"user_features": "no.csv"}, "'no.csv' does not exist: 'user_features' needs a CSV or"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError) as error:
        from_tables(FRAME, **arguments)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
