import time
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets import Steam
from pyg_mtrec.datasets._download import RawFile
from pyg_mtrec.tasks._resolve import task_names

INTERACTS, BEFRIENDS = ("user", "interacts", "item"), ("user", "befriends", "user")
IN_GROUP, IN_CATEGORY, IN_RATING = (
    ("user", "in", "group"),
    ("item", "in", "category"),
    ("item", "in", "rating"),
)
FILES = {
    "train.txt": "0 5\n2 7\n9 5 5\n",
    # (0, 5) and (9, 5) are in training, the latter is all that user 9 has; item 8 is not
    "test.txt": "0 5 8\n2 8 8\n9 5\n",
    # a self loop, a repetition, a head of two lines, a set of two lines; user 4 is nowhere else
    "user_friend.txt": "0 2 9 2\n2 0\n9 9\n4 0\n9 2 0\n",
    "user_groups.txt": "0 3 1 3\n11 1\n",
    "item_category.txt": "5 0 2\n7 2\n6 0\n",
    "item_rating.txt": "8 40 40\n5 40 12\n",
}


def raw_edges(data, edge_type):
    src, dst = data[edge_type].edge_index
    ids = data[edge_type[0]].raw_id[src], data[edge_type[2]].raw_id[dst]
    return [tuple(pair) for pair in torch.stack(ids, dim=1).tolist()]


def test_small_files(raw_root):
    dataset = Steam(raw_root(FILES))
    data = dataset[0]
    raw_ids = {node_type: data[node_type].raw_id.tolist() for node_type in data.node_types}
    assert raw_ids == {
        "user": [0, 2, 4, 9, 11],
        "item": [5, 6, 7, 8],
        "group": [1, 3],
        "category": [0, 2],
        "rating": [12, 40],
    }
    assert all(data[name].num_nodes == len(ids) for name, ids in raw_ids.items())
    assert raw_edges(data, INTERACTS) == [(0, 5), (2, 7), (9, 5), (0, 8), (2, 8)]
    assert data[INTERACTS].split.tolist() == [0, 0, 0, 2, 2]
    assert data[INTERACTS].split.dtype == torch.int8
    assert raw_edges(data, BEFRIENDS) == [(0, 2), (0, 9), (2, 0), (4, 0), (9, 2), (9, 0)]
    assert raw_edges(data, IN_GROUP) == [(0, 3), (0, 1), (11, 1)]
    assert raw_edges(data, IN_CATEGORY) == [(5, 0), (5, 2), (7, 2), (6, 0)]
    assert raw_edges(data, IN_RATING) == [(8, 40), (5, 40), (5, 12)]
    assert all(data[edge_type].edge_index.dtype == torch.int64 for edge_type in data.edge_types)
    assert "value" not in data["rating"]  # labels, not grades
    assert dataset.report == {
        "layout": "split",
        "rows_read": 9,
        "duplicates_dropped": 2,
        "test_pairs_in_training_dropped": 2,
        "users_without_training": 0,
        "items_without_training": 1,
        "test_users": 3,
        "test_users_with_training_items_only": 1,
        "test_rows_in_training": 2,
        "test_duplicates_dropped": 1,
        "test_rows_of_items_without_training": 3,
        "users_without_interactions": 2,
        "items_without_interactions": 1,
        "befriends_lines_read": 5,
        "befriends_repeated_heads": 1,
        "befriends_duplicate_sets": 1,
        "befriends_pairs_read": 8,
        "befriends_self_loops_dropped": 1,
        "befriends_duplicates_dropped": 1,
        "befriends_one_way_pairs": 2,
        "group_pairs_read": 4,
        "group_duplicates_dropped": 1,
        "users_without_group": 3,
        "users_with_several_groups": 1,
        "category_pairs_read": 4,
        "category_duplicates_dropped": 0,
        "items_without_category": 1,
        "items_with_several_categories": 1,
        "rating_pairs_read": 4,
        "rating_duplicates_dropped": 1,
        "items_without_rating": 2,
        "items_with_several_ratings": 1,
        "empty_relations": "none",
    }
    assert not dataset.known
    assert set(Steam.default_tasks) <= set(task_names(data))
    assert data.validate()


def test_other_files_of_the_folder_are_not_read(raw_root):
    expected = Steam(raw_root(FILES))
    dataset = Steam(raw_root({**FILES, "user_item_all.txt": "77 88\n"}), force_reload=True)
    assert dataset.raw_sha256 == expected.raw_sha256
    assert set(dataset.raw_sha256) == set(FILES)
    assert 77 not in dataset[0]["user"].raw_id


id_lists = st.lists(
    st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=8
).filter(lambda lines: any(len(line) > 1 for line in lines))


@settings(max_examples=25)
@given(st.fixed_dictionaries({name: id_lists for name in FILES}), st.sampled_from(["\n", "\r\n"]))
def test_any_lists_equal_a_loop(tmp_path_factory, lists, end):
    raw = tmp_path_factory.mktemp("steam") / "raw"
    raw.mkdir()
    for name, lines in lists.items():
        text = end.join(" ".join(map(str, line)) for line in lines)
        (raw / name).write_bytes(text.encode())
    dataset = Steam(raw.parent)
    data = dataset[0]
    pairs = {n: [(line[0], x) for line in lines for x in line[1:]] for n, lines in lists.items()}
    train, test = pairs["train.txt"], pairs["test.txt"]
    kept = [*dict.fromkeys(train)], [pair for pair in dict.fromkeys(test) if pair not in train]
    assert raw_edges(data, INTERACTS) == kept[0] + kept[1]
    assert data[INTERACTS].split.tolist() == [0] * len(kept[0]) + [2] * len(kept[1])
    friends = [*dict.fromkeys(pair for pair in pairs["user_friend.txt"] if pair[0] != pair[1])]
    assert raw_edges(data, BEFRIENDS) == friends
    for edge_type, name in ((IN_GROUP, "user_groups.txt"), (IN_CATEGORY, "item_category.txt")):
        assert raw_edges(data, edge_type) == [*dict.fromkeys(pairs[name])]
    users = {user for user, _ in train + test + pairs["user_groups.txt"]}
    users |= {user for pair in pairs["user_friend.txt"] for user in pair}
    assert data["user"].raw_id.tolist() == sorted(users)
    tests = {user: {item for u, item in test if u == user} for user, _ in test}
    trained = {user: {item for u, item in train if u == user} for user in tests}
    found = [
        dataset.report[name]
        for name in (
            "test_users",
            "test_users_with_training_items_only",
            "test_rows_in_training",
            "test_rows_of_items_without_training",
            "test_duplicates_dropped",
            "befriends_duplicate_sets",
            "befriends_one_way_pairs",
        )
    ]
    lines = lists["user_friend.txt"]
    assert found == [
        len(tests),
        sum(items <= trained[user] for user, items in tests.items()),
        sum(pair in train for pair in test),
        sum(item not in {i for _, i in train} for _, item in test),
        len(test) - len(set(test)),
        len(lines) - len({frozenset(line) for line in lines}),
        sum((dst, src) not in friends for src, dst in friends),
    ]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("0 1\n2 -3\n", r"line 2: needs ids >= 0 only \(got '2 -3'\)"),
        ("0 1\n2 3\n4 x\n", "line 3: needs ids >= 0 only"),
        ("0 1.5\n", "line 1: needs ids >= 0 only"),
        ("0 1\n\n2 3\n", "line 2: needs a user and items .got an empty line"),
        ("0 12345678901234567\n", "line 1: needs ids below"),
        (b"0 1\n\xff\xfe\n", "line 2: needs ids >= 0 only"),
        ("", "has no rows"),
        ("0\n", "has no rows"),
    ],
)
def test_bad_files(raw_root, name, text, match):
    root = raw_root({**FILES, name: text})
    with pytest.raises(InputError, match=rf"{name}'.*{match}") as info:
        Steam(root)
    assert "\n" not in str(info.value)
    assert not (root / "processed").exists()


def test_a_missing_file(raw_root, monkeypatch):
    unreachable = tuple(RawFile(name, f"http://127.0.0.1:9/{name}", ("0" * 64,)) for name in FILES)
    monkeypatch.setattr(Steam, "layouts", {"split": unreachable})
    root = raw_root({name: text for name, text in FILES.items() if name != "user_groups.txt"})
    with pytest.raises(InputError, match=r"user_groups.txt' is missing and the download from"):
        Steam(root)


def read_lists(path):
    return [[int(entry) for entry in line.split()] for line in path.read_text().splitlines()]


def test_real_files(real_root):
    root = real_root("steam")
    start = time.process_time()
    dataset = Steam(root, force_reload=True)
    assert time.process_time() - start < 5
    assert dataset.known
    data, report = dataset[0], dataset.report
    sizes = {node_type: data[node_type].num_nodes for node_type in data.node_types}
    assert sizes == {"user": 50_292, "item": 1_809, "group": 11_198, "category": 20, "rating": 486}
    assert all(data[name].raw_id.tolist() == list(range(size)) for name, size in sizes.items())

    lists = {name: read_lists(root / "raw" / name) for name in FILES}
    pairs = {n: [(line[0], x) for line in lines for x in line[1:]] for n, lines in lists.items()}
    assert len(pairs["train.txt"]) == 50_292
    assert len(pairs["test.txt"]) == 15_087
    assert raw_edges(data, INTERACTS) == pairs["train.txt"] + pairs["test.txt"]
    assert torch.bincount(data[INTERACTS].split.long()).tolist() == [50_292, 0, 15_087]
    for edge_type, name, size in (
        (BEFRIENDS, "user_friend.txt", 6_398),
        (IN_GROUP, "user_groups.txt", 206_329),
        (IN_CATEGORY, "item_category.txt", 2_558),
        (IN_RATING, "item_rating.txt", 1_678),
    ):
        assert raw_edges(data, edge_type) == pairs[name]
        assert len(pairs[name]) == size

    degree = Counter(item for _, item in pairs["train.txt"])
    assert max(degree.values()) == 1_193
    friends = lists["user_friend.txt"]
    assert sum(map(len, friends)) == 11_584
    assert len({frozenset(pair) for pair in pairs["user_friend.txt"]}) == 3_199
    assert max(Counter(group for _, group in pairs["user_groups.txt"]).values()) == 6_343
    expected = {
        "rows_read": 65_379,
        "duplicates_dropped": 0,
        "test_pairs_in_training_dropped": 0,
        "users_without_training": 0,
        "items_without_training": 83,
        "test_users": 15_087,
        "test_users_with_training_items_only": 0,
        "test_rows_of_items_without_training": 96,
        "users_without_interactions": 0,
        "items_without_interactions": 0,
        "befriends_lines_read": 5_186,
        "befriends_repeated_heads": 0,
        "befriends_duplicate_sets": len(friends) - len({frozenset(line) for line in friends}),
        "befriends_self_loops_dropped": 0,
        "befriends_duplicates_dropped": 0,
        "befriends_one_way_pairs": 0,
        "users_without_group": 50_292 - 27_265,
        "items_without_category": 1_809 - 1_432,
        "items_with_several_categories": 766,
        "items_without_rating": 1_809 - 1_583,
        "items_with_several_ratings": 94,
        "empty_relations": "none",
    }
    assert expected.items() <= report.items()


def test_the_warnings_hold_of_the_real_files(real_root):
    raw = real_root("steam") / "raw"
    train, test = (dict(read_lists(raw / name)) for name in ("train.txt", "test.txt"))
    assert len(train) == 50_292  # one item a line, one line a user
    assert set(test) == {user for user in train if user % 10 in (6, 7, 8)}
    order = [item for user in train for item in (train[user], test.get(user)) if item is not None]
    assert list(dict.fromkeys(order)) == list(range(1_809))
    near = sum(0 < abs(item - train[user]) <= 10 for user, item in test.items())
    assert round(100 * near / len(test), 1) == 5.9
