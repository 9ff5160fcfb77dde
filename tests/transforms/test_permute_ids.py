import pytest
import torch
from bank import MAIN, graphs, pairs

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import NormalizedAdjacency, PermuteIds, SplitInteractions


@pytest.mark.parametrize("name", graphs())
def test_raw_edges_stay(name: str) -> None:
    data = graphs()[name]
    for node_type in data.node_types:
        data[node_type].x = torch.arange(2.0 * data[node_type].num_nodes).view(-1, 2)
    out = PermuteIds(seed=3)(data)
    for node_type in data.node_types:
        size = data[node_type].num_nodes
        assert out[node_type].num_nodes == size
        # Whoever has raw id r has the features that r had.
        before = data[node_type].get("raw_id", torch.arange(size)).tolist()
        have = dict(zip(before, data[node_type].x.tolist(), strict=True))
        for raw_id, row in zip(
            out[node_type].raw_id.tolist(), out[node_type].x.tolist(), strict=True
        ):
            assert have.pop(raw_id) == row
        assert not have
    for edge_type in data.edge_types:
        src, _, dst = edge_type
        was, now = data[edge_type], out[edge_type]
        assert now.edge_index.shape == was.edge_index.shape
        for side, node_type in enumerate((src, dst)):
            raw_id = data[node_type].get("raw_id", torch.arange(data[node_type].num_nodes))
            assert torch.equal(
                raw_id[was.edge_index[side]], out[node_type].raw_id[now.edge_index[side]]
            )
        for key in ("rating", "time", "split"):
            assert (key in was) == (key in now)
            assert key not in was or torch.equal(was[key], now[key])
    assert ("raw_id_tables" in data) == ("raw_id_tables" in out)


def test_really_permutes_and_follows_the_seed() -> None:
    data = graphs()["larger"]
    raw_ids = [PermuteIds(seed)(data)["item"].raw_id for seed in (0, 0, 1)]
    assert torch.equal(raw_ids[0], raw_ids[1])
    assert not torch.equal(raw_ids[0], raw_ids[2])
    assert not torch.equal(raw_ids[0], data["item"].raw_id)


def test_every_order_is_equally_likely() -> None:
    data = graphs()["string_ids"]
    orders = [tuple(PermuteIds(seed)(data)["item"].raw_id.tolist()) for seed in range(600)]
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 6
    # 100 of each are expected, with a standard deviation of 9.
    assert min(counts) > 60 and max(counts) < 140


def test_only_some_node_types() -> None:
    data = graphs()["plain"]
    everything, items = PermuteIds(5)(data), PermuteIds(5, node_types=["item"])(data)
    assert torch.equal(items["user"].raw_id, data["user"].raw_id)
    assert torch.equal(items["item"].raw_id, everything["item"].raw_id)
    assert torch.equal(items[MAIN].edge_index[0], data[MAIN].edge_index[0])
    assert torch.equal(items[MAIN].edge_index[1], everything[MAIN].edge_index[1])


def test_tensors_that_belong_to_no_node_stay() -> None:
    data = graphs()["plain"]
    data["item"].threshold = torch.tensor([1.0, 2.0, 3.0])
    data["item"].scale = torch.tensor(2.0)
    data.note = "kept"
    out = PermuteIds(1)(data)
    assert torch.equal(out["item"].threshold, data["item"].threshold)
    assert out["item"].scale == 2.0
    assert out.note == "kept"


def test_bad_input() -> None:
    data = graphs()["plain"]
    with pytest.raises(InputError, match=r"found no node type 'brand'"):
        PermuteIds(0, node_types=["brand"])(data)
    with pytest.raises(InputError, match=r"apply 'PermuteIds' before 'NormalizedAdjacency'"):
        PermuteIds(0)(NormalizedAdjacency()(data))
    with pytest.raises(InputError, match=r"apply 'PermuteIds' before 'SplitInteractions'"):
        PermuteIds(0)(SplitInteractions()(data)[0])
    assert pairs(data[MAIN].edge_index) == pairs(graphs()["plain"][MAIN].edge_index)
