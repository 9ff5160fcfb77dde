from collections import Counter

import pytest
import torch
from bank import ALSO_VIEWED, IN_CATEGORY, MAIN, TRUSTS, graphs, no_interactions, pairs
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import KCore


def reference(edges: list[tuple[int, int]], k: int) -> set[tuple[int, int]]:
    """Removes one node at a time, whichever comes first."""
    left = set(edges)
    while True:
        users, items = Counter(u for u, _ in left), Counter(i for _, i in left)
        few = next(((0, u) for u in sorted(users) if users[u] < k), None) or next(
            ((1, i) for i in sorted(items) if items[i] < k), None
        )
        if few is None:
            return left
        side, node = few
        left = {pair for pair in left if pair[side] != node}


def raw(data: HeteroData, edge_type: tuple[str, str, str]) -> list[tuple[int, ...]]:
    """Edges as raw ids, with everything that is stored beside them."""
    store, (src, dst) = data[edge_type], data[edge_type].edge_index
    columns = [data[edge_type[0]].raw_id[src], data[edge_type[2]].raw_id[dst]]
    columns += [store[key] for key in ("rating", "time") if key in store]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def with_raw_ids(data: HeteroData) -> HeteroData:
    for node_type in data.node_types:
        if "raw_id" not in data[node_type]:
            data[node_type].raw_id = torch.arange(data[node_type].num_nodes)
    return data


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("name", graphs())
def test_equals_removal_one_by_one(name: str, k: int) -> None:
    data = with_raw_ids(graphs()[name])
    want = reference(pairs(data[MAIN].edge_index), k)
    if not want:
        with pytest.raises(InputError, match=f"no {k}-core"):
            KCore(k)(data)
        return
    core = KCore(k)(data)
    users, items = sorted({u for u, _ in want}), sorted({i for _, i in want})
    assert core["user"].raw_id.tolist() == data["user"].raw_id[users].tolist()
    assert core["item"].raw_id.tolist() == data["item"].raw_id[items].tolist()
    assert (core["user"].num_nodes, core["item"].num_nodes) == (len(users), len(items))
    # Repeated rows of a pair that stays all stay, in their order, with their attributes.
    kept = [pair in want for pair in pairs(data[MAIN].edge_index)]
    assert raw(core, MAIN) == [row for row, keep in zip(raw(data, MAIN), kept, strict=True) if keep]
    for edge_type in data.edge_types:
        ends = {"user": set(users), "item": set(items)}
        alive = [
            u in ends.get(edge_type[0], {u}) and i in ends.get(edge_type[2], {i})
            for u, i in pairs(data[edge_type].edge_index)
        ]
        rows = raw(data, edge_type)
        assert raw(core, edge_type) == [r for r, keep in zip(rows, alive, strict=True) if keep]
    core.validate()


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 6)), min_size=1, max_size=40),
    st.integers(1, 4),
)
def test_any_graph(edges: list[tuple[int, int]], k: int) -> None:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 8, 7
    data[MAIN].edge_index = torch.tensor(edges).t().contiguous()
    want = reference(edges, k)
    if not want:
        with pytest.raises(InputError):
            KCore(k)(data)
        return
    assert set(raw(KCore(k)(data), MAIN)) == want


def test_repeats_are_one_partner() -> None:
    data = graphs()["single_edge"]
    data[MAIN].edge_index = torch.zeros(2, 5, dtype=torch.long)
    with pytest.raises(InputError, match=r"no 2-core"):
        KCore(2)(data)
    assert KCore(1)(data)[MAIN].edge_index.shape == (2, 5)


def test_another_relation_counts_and_other_node_types_stay() -> None:
    data = graphs()["plain"]
    data["item"].x, data["category"].x = torch.arange(10.0), torch.arange(6.0).view(3, 2)
    complete = KCore(2)(data)
    assert torch.equal(complete["category"].x, data["category"].x)
    # Items 4 and 7 are in both categories 1 and 0; nothing else is in two that are.
    data[IN_CATEGORY].edge_index = torch.tensor([[4, 4, 7, 7, 0, 1, 9], [1, 0, 0, 1, 2, 2, 0]])
    core = KCore(2, edge_type=IN_CATEGORY)(data)
    assert core["item"].x.tolist() == [4, 7]
    assert core["category"].x.tolist() == [[0, 1], [2, 3]]
    assert core["user"].num_nodes == 8
    assert pairs(core[IN_CATEGORY].edge_index) == [(0, 1), (0, 0), (1, 0), (1, 1)]
    want = [row for row in raw(data, MAIN) if row[1] in data["item"].raw_id[[4, 7]].tolist()]
    assert raw(core, MAIN) == want


def test_core_is_a_fixed_point() -> None:
    core = KCore(3)(graphs()["larger"])
    again = KCore(3)(core)
    assert torch.equal(again[MAIN].edge_index, core[MAIN].edge_index)
    assert torch.equal(again["item"].raw_id, core["item"].raw_id)


def test_bad_input() -> None:
    data = graphs()["plain"]
    with pytest.raises(InputError, match=r"'k' needs to be at least 1 in 'KCore' .got 0."):
        KCore(0)
    with pytest.raises(InputError, match=r"between two node types"):
        KCore(2, edge_type=TRUSTS)(data)
    with pytest.raises(InputError, match=r"needs the relation .*: pass 'edge_type'"):
        KCore(2, edge_type=("user", "buys", "item"))(data)
    with pytest.raises(InputError, match=r"no 1-core"):
        KCore(1)(no_interactions())
    data[MAIN].edge_index[1, 3] = 10
    with pytest.raises(InputError, match=r"item id 10, outside 0\.\.9"):
        KCore(2)(data)
    data = graphs()["plain"]
    data[ALSO_VIEWED].edge_index[0, 0] = -1
    with pytest.raises(InputError, match=r"item id -1, outside 0\.\.9"):
        KCore(2)(data)
    data = graphs()["plain"]
    data["item"].title = list("abcdefghij")
    with pytest.raises(InputError, match=r"can't carry 'title' of 'item', a list"):
        KCore(2)(data)
    data = graphs()["plain"]
    del data["item"].num_nodes
    with pytest.raises(InputError, match=r"set data\['item'\].num_nodes"):
        KCore(2)(data)


def test_epinions_five_core(real_root) -> None:
    from pyg_mtrec.datasets import Epinions

    core = KCore(5)(Epinions(real_root("epinions"))[0])
    found = core["user"].num_nodes, core["item"].num_nodes, core[MAIN].num_edges
    assert found == (20_355, 30_738, 532_837)
