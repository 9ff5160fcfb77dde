import io
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import from_tables
from pyg_mtrec.datasets._raw_ids import decode, lookup

MAIN = ("user", "interacts", "item")
FRAME = pd.DataFrame({"user": [3, 1, 3], "item": [10, 10, 30], "rating": [5, 1.5, 2]})


def triples(data, edge_type):
    """Edges as raw ids."""
    src, _, dst = edge_type
    edge_index = data[edge_type].edge_index
    return list(
        zip(decode(data, src, edge_index[0]), decode(data, dst, edge_index[1]), strict=True)
    )


def write(tmp_path, text, name="my.csv", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30),
    st.booleans(),
    st.booleans(),
)
def test_equals_a_plain_loop(pairs, strings, from_file):
    pairs = [(f"u{a}", f"é,{b}") if strings else (a * 7, b + 100) for a, b in pairs]
    frame = pd.DataFrame(pairs, columns=["user", "item"]).assign(time=range(len(pairs)))
    data = from_tables(frame) if not from_file else through_csv(frame)
    first = {}
    for time, pair in enumerate(pairs):
        first.setdefault(pair, time)
    assert triples(data, MAIN) == list(first)
    assert data[MAIN].time.tolist() == list(first.values())
    for place, node_type in enumerate(("user", "item")):
        raw = sorted({pair[place] for pair in pairs})
        assert decode(data, node_type, torch.arange(data[node_type].num_nodes)) == raw
        assert [lookup(data, node_type, str(value)) for value in raw] == list(range(len(raw)))
    assert data.report["interacts_rows_read"] == len(pairs)
    assert data.report["interacts_duplicates_dropped"] == len(pairs) - len(first)
    assert data.report["item_ids"] == ("strings" if strings else "integers")
    assert data.validate() and data[MAIN].edge_index.dtype == torch.int64


def through_csv(frame):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "my.csv")
        frame.to_csv(path, index=False)
        return from_tables(str(path))


def test_all_tables(tmp_path):
    social = write(tmp_path, "user,friend,since\n1,3,x\n3,3,x\n1,3,y\n8,1,x\n")
    groups = write(tmp_path, "item\tcategory\n10\tpens\n40\tink\n", "groups.TSV")
    views = pd.DataFrame({"user": [1, 9], "item": [30, 10], "time": [7, 8]})
    also = pd.DataFrame({"item": [10, 30, 30], "other": [30, 30, 10]})
    brands = pd.DataFrame({"brand": [2, 0], "item": [10, 30]})
    data = from_tables(
        FRAME,
        social,
        groups,
        relations={
            ("user", "views", "item"): views,
            ("item", "also_viewed", "item"): also,
            ("item", "by", "brand"): brands,
        },
    )
    assert data.edge_types[0] == MAIN and data.validate()
    assert triples(data, MAIN) == [(3, 10), (1, 10), (3, 30)]
    assert data[MAIN].rating.tolist() == [5.0, 1.5, 2.0] and "time" not in data[MAIN]
    assert data[MAIN].rating.dtype == torch.float32
    assert triples(data, ("user", "trusts", "user")) == [(1, 3), (8, 1)]
    assert triples(data, ("item", "in", "category")) == [(10, "pens"), (40, "ink")]
    assert triples(data, ("user", "views", "item")) == [(1, 30), (9, 10)]
    assert data["user", "views", "item"].time.tolist() == [7, 8]
    assert triples(data, ("item", "also_viewed", "item")) == [(10, 30), (30, 10)]
    assert triples(data, ("item", "by", "brand")) == [(10, 2), (30, 0)]
    assert data["user"].raw_id.tolist() == [1, 3, 8, 9]
    assert data["item"].raw_id.tolist() == [10, 30, 40]
    assert set(data.raw_id_tables) == {"category"}
    assert data.report == {
        "user_ids": "integers",
        "item_ids": "integers",
        "category_ids": "strings",
        "brand_ids": "integers",
        "interacts_rows_read": 3,
        "interacts_duplicates_dropped": 0,
        "trusts_rows_read": 4,
        "trusts_duplicates_dropped": 1,
        "trusts_self_loops_dropped": 1,
        "in_rows_read": 2,
        "in_duplicates_dropped": 0,
        "views_rows_read": 2,
        "views_duplicates_dropped": 0,
        "also_viewed_rows_read": 3,
        "also_viewed_duplicates_dropped": 0,
        "also_viewed_self_loops_dropped": 1,
        "by_rows_read": 2,
        "by_duplicates_dropped": 0,
        "users_without_interactions": 2,
        "items_without_interactions": 1,
    }


def test_one_string_makes_all_ids_of_the_type_strings():
    social = pd.DataFrame({"user": ["3"], "friend": ["007"]})
    data = from_tables(FRAME, social)
    assert triples(data, MAIN) == [("3", 10), ("1", 10), ("3", 30)]
    assert triples(data, ("user", "trusts", "user")) == [("3", "007")]


def test_own_column_names_and_separator(tmp_path):
    text = "\ufeffwhen; who ;what;stars\n5;b;x;1\n\n4;a; x;2\n"
    path = write(tmp_path, text.replace(" ;", ";"), "my.data")
    data = from_tables(path, user="who", item="what", rating="stars", time="when", sep=";")
    assert triples(data, MAIN) == [("b", "x"), ("a", "x")]
    assert data[MAIN].rating.tolist() == [1.0, 2.0] and data[MAIN].time.tolist() == [5, 4]


@pytest.mark.parametrize(
    "users",
    [
        np.array([2, 0], np.uint8),
        np.array([2.0, 0.0]),
        np.array([2, 0], dtype=object),
        ["2", "0"],
        ["2.0", "0"],
        pd.array([2, 0], dtype="Int64"),
        pd.Categorical(["2", "0"]),
    ],
)
def test_integer_ids_of_any_type(users):
    data = from_tables(pd.DataFrame({"user": users, "item": [1, 1]}, index=[5, 5]))
    assert triples(data, MAIN) == [(2, 1), (0, 1)] and data.report["user_ids"] == "integers"


def test_large_ids_stay_exact(tmp_path):
    path = write(tmp_path, f"user,item,time\n{10**18 - 1},{10**30},{2**60 + 1}\n")
    data = from_tables(path)
    assert triples(data, MAIN) == [(10**18 - 1, str(10**30))]
    assert data[MAIN].time.tolist() == [2**60 + 1]


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["2020-01-01", "1969-12-31T23:59:58Z"], [1577836800, -2]),
        (["2020-01-01 00:00:01.75", "2020-01-01T01:00:00+01:00"], [1577836801, 1577836800]),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]), [1577836800, 1577923200]),
        (pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("CET"), [1577833200, 1577919600]),
        ([1.75, -3.0], [1, -3]),
        (["12", "0"], [12, 0]),
    ],
)
def test_times(times, seconds):
    data = from_tables(pd.DataFrame({"user": [0, 1], "item": [0, 1], "time": times}))
    assert data[MAIN].time.tolist() == seconds and data[MAIN].time.dtype == torch.int64


def test_given_sizes_keep_ids_as_rows():
    data = from_tables(FRAME, num_users=5, num_items=31)
    assert data[MAIN].edge_index.tolist() == [[3, 1, 3], [10, 10, 30]]
    assert (data["user"].num_nodes, data["item"].num_nodes) == (5, 31)
    assert torch.equal(data["item"].raw_id, torch.arange(31))
    assert data.report["items_without_interactions"] == 29


def test_graph_survives_subgraph_to_and_weights_only():
    frame = pd.DataFrame({"user": ["a", "b", "c"], "item": [0, 1, 1]})
    data = from_tables(frame).to("cpu")
    part = data.subgraph({"user": torch.tensor([1, 2])})
    assert triples(part, MAIN) == [("b", 1), ("c", 1)]
    buffer = io.BytesIO()
    torch.save(part.to_dict(), buffer)
    buffer.seek(0)
    back = HeteroData.from_dict(torch.load(buffer, weights_only=True))
    assert triples(back, MAIN) == [("b", 1), ("c", 1)] and back.report == data.report


def test_the_frame_is_left_alone():
    before = FRAME.copy()
    from_tables(FRAME)
    pd.testing.assert_frame_equal(FRAME, before)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'{}' is empty: it needs a line of column names"),
        ("user,item\n", "'{}' has no rows: give at least one, or leave it out"),
        ("user,itm\n1,2\n", "'{}' needs a column 'item' (found user, itm; did you mean 'itm'?)"),
        ("1,2\n1,2\n", "'{}' needs a column 'user' (found 1, 2)"),
        ("user,item\n1,2\n1,\n", "'{}', row 2: 'item' is missing"),
        ("user,item\n1,2\n7\n", "'{}', row 2: 'item' is missing"),
        ("user,item\n1,2\nNaN,4\n", "'{}', row 2: 'user' is missing"),
        ("user,item\n1,2\n3,4\n-5,4\n", "'{}', row 3: 'user' is negative (got -5)"),
        ("user,item,rating\n1,2,3\n1,4,\n", "'{}', row 2: 'rating' needs to be a number (got nan)"),
        ("user,item,rating\n1,2,good\n", "'{}', row 1: 'rating' needs to be a number (got good)"),
        ("user,item,rating\n1,2,inf\n", "'{}', row 1: 'rating' needs to be a number (got inf)"),
        (
            "user,item,time\n1,2,2020-01-01\n1,3,yesterday\n",
            "'{}', row 2: 'time' needs to be a number or an ISO 8601 date (got yesterday)",
        ),
        ("user,item,time\n1,2,5\n1,3,\n", "'{}', row 2: 'time' needs to be a number (got nan)"),
        ("user,item,time\n1,2,\n", "'{}', row 1: 'time' needs to be a number or an ISO 8601 date"),
        ("user,item\n1,2,3\n", "'{}' has lines of unequal length"),
        ("user,item\n1,2\n1,2,3\n", "'{}' has lines of unequal length"),
    ],
)
def test_bad_files(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        from_tables(path)
    assert str(error.value).startswith(message.format(path)) and "\n" not in str(error.value)


def test_unreadable_paths(tmp_path):
    for path, message in (
        (tmp_path / "no.csv", "does not exist: 'interactions' needs a CSV or TSV file"),
        (tmp_path, "is a folder: 'interactions' needs a CSV or TSV file"),
        (write(tmp_path, "user,item\nä,1\n", encoding="latin-1"), "cannot be read as text"),
        (write(tmp_path, "no gzip", "my.csv.gz"), "cannot be read as text"),
    ):
        with pytest.raises(InputError) as error:
            from_tables(path)
        assert str(error.value).startswith(f"'{path}' {message}") and "\n" not in str(error.value)


IDS = {"user": [0, 1], "item": [0, 1]}


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        (IDS | {"user": [0.5, 1]}, {}, "table 'interactions', row 1: 'user' is no integer"),
        (IDS | {"user": [0, math.nan]}, {}, "table 'interactions', row 2: 'user' is missing"),
        (
            IDS | {"user": ["a\n" * 99, -1]},
            {"num_users": 9},
            "'num_users' needs integer ids (got str",
        ),
        (
            IDS | {"rating": [1, "a\nb"]},
            {},
            "table 'interactions', row 2: 'rating' needs to be a num",
        ),
        (
            IDS | {"time": [math.inf, 1]},
            {},
            "table 'interactions', row 1: 'time' needs to be a num",
        ),
        (IDS | {"user": ["a", " "]}, {}, "table 'interactions', row 2: 'user' is missing"),
        (IDS, {"num_items": 1}, "table 'interactions', row 2: 'item' needs to be below 1 (got 1)"),
        (IDS, {"num_users": 0}, "'num_users' needs to be positive in 'from_tables' (got 0)"),
        (IDS | {"item": ["a", "b"]}, {"num_items": 3}, "'num_items' needs integer ids (got str"),
        (IDS, {"rating": "stars"}, "table 'interactions' needs a column 'stars' (found user, item"),
        (IDS, {"item": "user"}, "table 'interactions' needs one column 'user' for one purpose"),
        (
            IDS,
            {"social": pd.DataFrame({"user": ["x"], "friend": ["y"]})},
            "table 'social' shares no user with table 'interactions' (e.g. 'x' against '0')",
        ),
        (
            IDS,
            {"social": pd.DataFrame({"user": [1, 0], "friend": [0, -1]})},
            "table 'social', row 2: 'friend' is negative (got -1)",
        ),
        (
            IDS,
            {"item_groups": pd.DataFrame({"item": [1, 0], "group": [0, 0]})},
            "table 'item_groups' needs a column 'category' (found item, group)",
        ),
        (IDS, {"relations": {"views": None}}, "keys of 'relations' need to be edge types"),
        (IDS, {"relations": {("user", "a:b", "item"): None}}, "keys of 'relations' need to be"),
        (IDS, {"relations": {MAIN: None}}, "the relation 'interacts' is given twice"),
        (IDS, {"social": [1]}, "'social' needs to be a DataFrame or the path of a CSV or TSV file"),
    ],
)
def test_bad_tables(columns, arguments, message):
    with pytest.raises(InputError) as error:
        from_tables(pd.DataFrame(columns), **arguments)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
