"""The two markets of XMarket: one format, one reader, one set of tests."""

import time
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Steam, XMRecCN, XMRecMX
from pyg_mtrec.datasets._xmarket import _read_half_stars
from pyg_mtrec.tasks._resolve import task_names
from pyg_mtrec.transforms import PermuteIds, SplitInteractions

INTERACTS, IN_CATEGORY, IN_RATING = (
    ("user", "interacts", "item"),
    ("item", "in", "category"),
    ("item", "in", "rating"),
)
BOUGHT, COMPARED = ("item", "bought_together", "item"), ("item", "compared_together", "item")
MARKETS = pytest.mark.parametrize("cls", [XMRecCN, XMRecMX])
FILES = {
    "train.txt": "0 5\n2 7\n9 5\n",
    # (0, 5) and (9, 5) are in training, the latter is all that user 9 has; item 8 is not
    "test.txt": "0 5 8\n2 8 8\n9 5\n",
    # a self loop, a repetition, a head of two lines, sets of two lines; item 6 is nowhere else
    "boughtTogether.txt": "5 7\n7 5\n5 6 7\n8 8\n",
    "comparedTogether.txt": "7 8\n",
    "item_category.txt": "5 0\n7 3\n8 3\n8 0\n",
    "item_rating.txt": "5 4.5\n7 1.0\n8 5\n",
}


def raw_edges(data, edge_type):
    src, dst = data[edge_type].edge_index
    ids = data[edge_type[0]].raw_id[src], data[edge_type[2]].raw_id[dst]
    return [tuple(pair) for pair in torch.stack(ids, dim=1).tolist()]


@MARKETS
def test_small_files(cls, raw_root):
    dataset = cls(raw_root(FILES))
    data = dataset[0]
    raw_ids = {node_type: data[node_type].raw_id.tolist() for node_type in data.node_types}
    assert raw_ids == {
        "user": [0, 2, 9],
        "item": [5, 6, 7, 8],
        "category": [0, 3],
        "rating": [0, 7, 8],
    }
    assert all(data[name].num_nodes == len(ids) for name, ids in raw_ids.items())
    assert data["rating"].value.tolist() == [1.0, 4.5, 5.0]
    assert data["rating"].value.dtype == torch.float32
    assert raw_edges(data, INTERACTS) == [(0, 5), (2, 7), (9, 5), (0, 8), (2, 8)]
    assert data[INTERACTS].split.tolist() == [0, 0, 0, 2, 2]
    assert data[INTERACTS].split.dtype == torch.int8
    assert raw_edges(data, BOUGHT) == [(5, 7), (7, 5), (5, 6)]
    assert raw_edges(data, COMPARED) == [(7, 8)]
    assert raw_edges(data, IN_CATEGORY) == [(5, 0), (7, 3), (8, 3), (8, 0)]
    assert raw_edges(data, IN_RATING) == [(5, 7), (7, 0), (8, 8)]
    assert all(data[edge_type].edge_index.dtype == torch.int64 for edge_type in data.edge_types)
    assert dataset.report == {
        "layout": "split",
        "rows_read": 8,
        "duplicates_dropped": 1,
        "test_pairs_in_training_dropped": 2,
        "users_without_training": 0,
        "items_without_training": 1,
        "test_users": 3,
        "test_users_with_training_items_only": 1,
        "test_rows_in_training": 2,
        "test_duplicates_dropped": 1,
        "test_rows_of_items_without_training": 3,
        "users_without_interactions": 0,
        "items_without_interactions": 1,
        "bought_together_lines_read": 4,
        "bought_together_repeated_heads": 1,
        "bought_together_duplicate_sets": 1,
        "bought_together_pairs_read": 5,
        "bought_together_self_loops_dropped": 1,
        "bought_together_duplicates_dropped": 1,
        "bought_together_one_way_pairs": 1,
        "compared_together_lines_read": 1,
        "compared_together_repeated_heads": 0,
        "compared_together_duplicate_sets": 0,
        "compared_together_pairs_read": 1,
        "compared_together_self_loops_dropped": 0,
        "compared_together_duplicates_dropped": 0,
        "compared_together_one_way_pairs": 1,
        "category_pairs_read": 4,
        "category_duplicates_dropped": 0,
        "items_without_category": 1,
        "items_with_several_categories": 1,
        "rating_pairs_read": 3,
        "rating_duplicates_dropped": 0,
        "items_without_rating": 1,
        "items_with_several_ratings": 0,
        "empty_relations": "none",
    }
    assert not dataset.known
    assert set(cls.default_tasks) <= set(task_names(data))
    assert data.validate()


@pytest.mark.parametrize("text", ["", "\n", "\r\n \n"])
def test_the_relation_that_may_be_empty(raw_root, text):
    dataset = XMRecCN(raw_root({**FILES, "comparedTogether.txt": text}))
    data = dataset[0]
    assert data[COMPARED].edge_index.shape == (2, 0)
    assert data[COMPARED].edge_index.dtype == torch.int64
    assert dataset.report["empty_relations"] == "compared_together"
    zeros = [value for key, value in dataset.report.items() if key.startswith("compared_together")]
    assert zeros == [0] * 7
    train, _, _ = SplitInteractions("given")(PermuteIds()(data))
    assert train[COMPARED].edge_index.shape == (2, 0)

    with pytest.raises(InputError, match=r"comparedTogether.txt' has no rows"):
        XMRecMX(raw_root({**FILES, "comparedTogether.txt": text}))


def test_the_stars_of_a_rating_move_with_it(raw_root):
    data = PermuteIds(seed=3)(XMRecCN(raw_root(FILES))[0])
    assert data["rating"].raw_id.tolist() != [0, 7, 8]
    assert torch.equal(data["rating"].value, data["rating"].raw_id / 2 + 1)
    assert set(raw_edges(data, IN_RATING)) == {(5, 7), (7, 0), (8, 8)}


@MARKETS
def test_files_that_hold_the_test_rows_are_not_read(cls, raw_root):
    expected = cls(raw_root(FILES))
    more = {"user_item.txt": "77 88\n", "all.txt": "77 B0 5 2020 x\n"}
    dataset = cls(raw_root({**FILES, **more}), force_reload=True)
    assert dataset.raw_sha256 == expected.raw_sha256
    assert set(dataset.raw_sha256) == set(FILES)
    assert 77 not in dataset[0]["user"].raw_id


@given(
    st.lists(st.tuples(st.integers(0, 10**15 - 1), st.integers(0, 8)), min_size=1, max_size=20),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["{}", "{:.1f}", "{:.3f}"]),
    st.sampled_from([" ", "  "]),
)
def test_half_stars_come_back(tmp_path_factory, rows, end, form, space):
    path = tmp_path_factory.mktemp("stars") / "item_rating.txt"
    text = end.join(f"{item}{space}{form.format(1 + place / 2)}" for item, place in rows)
    path.write_bytes(f"{text}{end}".encode())
    item, place = _read_half_stars(path)
    assert list(zip(item.tolist(), place.tolist(), strict=True)) == rows


LISTS = [
    ("0 1\n2 -3\n", r"line 2: needs ids >= 0 only \(got '2 -3'\)"),
    ("0 1\n2 x\n", "line 2: needs ids >= 0 only"),
    ("0 1\n\n2 3\n", "line 2: needs a user and items .got an empty line"),
    (b"0 1\n\xff\xfe\n", "line 2: needs ids >= 0 only"),
    ("", "has no rows"),
]
STARS = [
    ("5 4.5\n7 0.5\n", r"line 2: 'rating' needs to be 1 to 5 in steps of 0.5 \(got 0.5\)"),
    ("5 5.5\n", r"line 1: 'rating' needs to be .* \(got 5.5\)"),
    ("5 4.5\n7 4.4\n", r"line 2: 'rating' needs to be .* \(got 4.4\)"),
    ("5 4.5\n7 99999999999999999999999\n", "line 2: 'rating' needs to be"),
    ("5 4.5\n7 nan\n", r"line 2: needs an item id >= 0 and its rating \(got '7 nan'\)"),
    ("5 4.5\n7 -1.0\n", r"line 2: needs an item id >= 0 and its rating \(got '7 -1.0'\)"),
    ("-5 4.5\n", "line 1: needs an item id >= 0"),
    ("5.0 4.5\n", "line 1: needs an item id >= 0"),
    ("x 4.5\n", "line 1: needs an item id >= 0"),
    ("1234567890123456 4.5\n", "line 1: needs an item id >= 0"),
    ("5\n", r"line 1: needs an item id >= 0 and its rating \(got '5'\)"),
    ("5 4.5 3.0\n", "line 1: needs an item id >= 0 and its rating"),
    ("5\t4.5\n", "line 1: needs an item id >= 0"),
    ("5 4.5\n\n7 3.0\n", r"line 2: needs an item id >= 0 and its rating \(got ''\)"),
    (b"5 4.5\n\xff\xfe\n", "line 2: needs an item id >= 0"),
    (b"5 4.5\n7 3.0\r7 4.0\n", "line 2: needs an item id >= 0"),
    ("", "has no rows"),
    ("\n\n", "has no rows"),
]


@MARKETS
@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        (name, *case)
        for name in FILES
        for case in (STARS if name == "item_rating.txt" else LISTS)
        if (name, case[0]) != ("comparedTogether.txt", "")
    ],
)
def test_bad_files(cls, raw_root, name, text, match):
    root = raw_root({**FILES, name: text})
    with pytest.raises(InputError, match=rf"{name}'.*{match}") as info:
        cls(root)
    assert "\n" not in str(info.value) and "\r" not in str(info.value)
    assert not (root / "processed").exists()


@pytest.mark.parametrize("cls", [Steam, XMRecCN, XMRecMX])
def test_every_file_has_a_pinned_address(cls):
    assert list(cls.layouts) == ["split"]
    for file in cls.layouts["split"]:
        host, owner, repository, commit, *path = file.source.removeprefix("https://").split("/")
        assert host == "raw.githubusercontent.com"
        assert (owner, repository, len(commit)) == ("mdyfrank", "UPRTH", 40)
        assert path == ["Data", cls.name, file.name]
        assert [len(digest) for digest in file.sha256] == [64]


def read_lists(path, kind=int):
    return [[kind(entry) for entry in line.split()] for line in path.read_text().splitlines()]


REAL = {
    XMRecCN: {
        "users": 18_806,
        "items": 5_937,
        "test": (4_259, 2_570, 22),
        "items without training": (524, 782),
        "test in training": (103, 84),
        "duplicates": 40,
        "largest": 10,
        "categories": 12,
        BOUGHT: (155, 318, 20),
        COMPARED: (0, 0, 0),
        "near": 2.9,
    },
    XMRecMX: {
        "users": 221_890,
        "items": 35_235,
        "test": (83_679, 64_923, 2),
        "items without training": (4_013, 4_948),
        "test in training": (3_208, 2_504),
        "duplicates": 666,
        "largest": 3_492,
        "categories": 14,
        BOUGHT: (4_221, 9_043, 531),
        COMPARED: (2_309, 5_699, 191),
        "near": 19.6,
    },
}


@MARKETS
def test_real_files(cls, real_root):
    root, real = real_root(cls.name), REAL[cls]
    start = time.process_time()
    dataset = cls(root, force_reload=True)
    assert time.process_time() - start < 10
    assert dataset.known
    data, report = dataset[0], dataset.report
    sizes = {node_type: data[node_type].num_nodes for node_type in data.node_types}
    items, categories = real["items"], real["categories"]
    assert sizes == {
        "user": real["users"],
        "item": items,
        "category": categories,
        "rating": 9,
    }
    assert all(data[name].raw_id.tolist() == list(range(size)) for name, size in sizes.items())
    assert data["rating"].value.tolist() == [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]

    # every count once more, by loops over the lines
    train, test = (read_lists(root / "raw" / name) for name in ("train.txt", "test.txt"))
    trained = dict(train)  # one item a line, one line a user
    rows = [(line[0], item) for line in test for item in line[1:]]
    kept = [pair for pair in dict.fromkeys(rows) if trained[pair[0]] != pair[1]]
    assert len(trained) == len(train) == real["users"]
    assert (len(rows), len(test), max(len(line) - 1 for line in test)) == real["test"]
    assert raw_edges(data, INTERACTS) == [*trained.items(), *kept]
    assert data[INTERACTS].split.tolist() == [0] * len(trained) + [2] * len(kept)
    known, repeats = set(trained.values()), len(rows) - len(set(rows))
    assert repeats == real["duplicates"]
    assert max(Counter(trained.values()).values()) == real["largest"]
    in_training = sum(trained[user] == item for user, item in rows)
    all_in_training = sum(set(line[1:]) == {trained[line[0]]} for line in test)
    assert (in_training, all_in_training) == real["test in training"]
    untrained = sum(item not in known for _, item in rows)
    assert (items - len(known), untrained) == real["items without training"]
    expected = {
        "rows_read": len(train) + len(rows),
        "duplicates_dropped": repeats,
        "test_pairs_in_training_dropped": len(rows) - len(kept) - repeats,
        "users_without_training": 0,
        "items_without_training": items - len(known),
        "test_users": len(test),
        "test_users_with_training_items_only": all_in_training,
        "test_rows_in_training": in_training,
        "test_duplicates_dropped": repeats,
        "test_rows_of_items_without_training": untrained,
        "users_without_interactions": 0,
        "items_without_interactions": 0,
        "items_without_category": 0,
        "items_with_several_categories": 0,
        "items_without_rating": 0,
        "items_with_several_ratings": 0,
        "empty_relations": "compared_together" if cls is XMRecCN else "none",
    }
    for edge_type, name in ((BOUGHT, "boughtTogether.txt"), (COMPARED, "comparedTogether.txt")):
        lines = read_lists(root / "raw" / name)
        pairs = [(line[0], item) for line in lines for item in line[1:]]
        sets = len(lines) - len({frozenset(line) for line in lines})
        assert (len(lines), sum(map(len, lines)), sets) == real[edge_type]
        assert raw_edges(data, edge_type) == pairs
        expected |= {
            f"{edge_type[1]}_lines_read": len(lines),
            f"{edge_type[1]}_repeated_heads": 0,
            f"{edge_type[1]}_duplicate_sets": sets,
            f"{edge_type[1]}_self_loops_dropped": 0,
            f"{edge_type[1]}_duplicates_dropped": 0,
            f"{edge_type[1]}_one_way_pairs": len(set(pairs) - {pair[::-1] for pair in pairs}),
        }
    assert expected.items() <= report.items()
    assert raw_edges(data, IN_CATEGORY) == list(
        map(tuple, read_lists(root / "raw" / "item_category.txt"))
    )
    stars = read_lists(root / "raw" / "item_rating.txt", float)
    item, place = data[IN_RATING].edge_index
    found = torch.stack([item.float(), data["rating"].value[place]], dim=1)
    assert found.tolist() == stars


@MARKETS
def test_the_warning_about_ids_holds_of_the_real_files(cls, real_root):
    raw = real_root(cls.name) / "raw"
    trained = dict(read_lists(raw / "train.txt"))
    test = {line[0]: line[1:] for line in read_lists(raw / "test.txt")}
    rows = [(user, item) for user, items in test.items() for item in items]
    near = sum(0 < abs(item - trained[user]) <= 10 for user, item in rows)
    assert round(100 * near / len(rows), 1) == REAL[cls]["near"]
    order = [item for user in sorted(trained) for item in (trained[user], *test.get(user, ()))]
    by_appearance = list(dict.fromkeys(order)) == list(range(REAL[cls]["items"]))
    assert by_appearance == (cls is XMRecMX)
