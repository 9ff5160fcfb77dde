import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._raw_ids import decode, encode_strings, lookup


def named(strings, rows=None):
    data = HeteroData()
    data["user"].raw_id = (
        torch.arange(len(strings)) if rows is None else torch.tensor(rows, dtype=torch.int64)
    )
    data["user"].num_nodes = data["user"].raw_id.numel()
    data.raw_id_tables = {"user": encode_strings(strings)}
    return data


def numbered(raw):
    data = HeteroData()
    data["item"].raw_id = torch.tensor(raw)
    return data


def test_table_is_bytes_and_offsets():
    table = encode_strings(["ab", "", "é"])
    assert table["bytes"].tolist() == [97, 98, 0xC3, 0xA9]
    assert table["bytes"].dtype == torch.uint8 and table["offsets"].tolist() == [0, 2, 2, 4]
    empty = encode_strings([])
    assert empty["bytes"].numel() == 0 and empty["offsets"].tolist() == [0]


@given(st.lists(st.text(st.characters(codec="utf-8")), unique=True, max_size=8), st.randoms())
def test_strings_come_back(strings, random):
    order = list(range(len(strings)))
    random.shuffle(order)
    data = named(strings, order)
    ids = torch.arange(len(order)).flip(0)
    assert decode(data, "user", ids) == [strings[order[i]] for i in ids.tolist()]
    for node, row in enumerate(order):
        assert lookup(data, "user", strings[row]) == node


@given(st.lists(st.integers(0, 2**63 - 1), unique=True, min_size=1, max_size=8))
def test_integers_come_back(raw):
    data = numbered(raw)
    assert decode(data, "item", torch.arange(len(raw))) == raw
    assert [lookup(data, "item", f" {value} ") for value in raw] == list(range(len(raw)))


def test_a_string_that_left_the_graph_is_unknown():
    data = named(["ann", "bob", "cleo"], rows=[2, 0])
    assert lookup(data, "user", "cleo") == 0
    with pytest.raises(InputError, match=r"^there is no user 'bob' \(nearest: none\)$"):
        lookup(data, "user", "bob")


@pytest.mark.parametrize(
    ("data", "node_type", "raw", "message"),
    [
        (numbered([1, 40, 50, 90]), "item", "47", "there is no item '47' (nearest: 50, 40, 90)"),
        (numbered([1]), "item", "9" * 30, f"there is no item '{'9' * 30}' (nearest: 1)"),
        (numbered([1]), "item", "-3", "there is no item '-3' (nearest: 1)"),
        (numbered([1]), "item", "abc", "ids of 'item' are integers (got 'abc')"),
        (named(["anna", "bob"]), "user", "ann", "there is no user 'ann' (nearest: 'anna')"),
    ],
)
def test_unknown_ids_name_the_nearest(data, node_type, raw, message):
    with pytest.raises(InputError) as error:
        lookup(data, node_type, raw)
    assert str(error.value) == message


def test_nearest_of_many_strings():
    data = named([f"user-{i}" for i in range(20_000)])
    with pytest.raises(
        InputError, match=r"^there is no user 'user-1234x' \(nearest: 'user-1234', "
    ):
        lookup(data, "user", "user-1234x")
