import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec.datasets._graph import Ids, is_first, links, published_split

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40)


def columns(rows):
    table = np.array(rows, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@given(pairs)
def test_links_and_first_rows_equal_a_loop(rows):
    seen, kept, loops, repeats = set(), [], 0, 0
    for row in rows:
        if row[0] == row[1]:
            loops += 1
        elif row in seen:
            repeats += 1
        else:
            seen.add(row)
            kept.append(list(row))
    edge_index, found_loops, found_repeats = links(*columns(rows))
    assert edge_index.t().tolist() == kept
    assert (found_loops, found_repeats) == (loops, repeats)
    assert is_first(*columns(rows)).tolist() == [
        row not in rows[:position] for position, row in enumerate(rows)
    ]


@given(pairs.filter(bool), pairs)
def test_published_split_equals_a_loop(train, test):
    first, split, report = published_split(*columns(train + test), len(train))
    kept_train = list(dict.fromkeys(train))
    kept_test = [pair for pair in dict.fromkeys(test) if pair not in train]
    rows = np.array(train + test)[first]
    assert rows.tolist() == [list(pair) for pair in kept_train + kept_test]
    assert split.tolist() == [0] * len(kept_train) + [2] * len(kept_test)
    assert report["rows_read"] == len(train) + len(test)
    repeats = len(train) - len(kept_train) + len(test) - len(set(test))
    assert report["duplicates_dropped"] == repeats
    assert report["test_pairs_in_training_dropped"] == len(set(test) & set(train))
    assert report["users_without_training"] == len({u for u, _ in test} - {u for u, _ in train})
    assert report["items_without_training"] == len({i for _, i in test} - {i for _, i in train})


def test_ids_are_contiguous_and_keep_the_raw_ones():
    ids = Ids(np.array([7, 3, 7]), np.array([[900, 3]]))
    assert ids.raw.tolist() == [3, 7, 900]
    assert ids(np.array([900, 3, 7])).tolist() == [2, 0, 1]
