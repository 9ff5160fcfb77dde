"""All edges at once: exact sets, exact orders, and negatives that are what they should be."""

import pytest
import torch
from bank import ALSO_VIEWED, IN_CATEGORY, MAIN, TRUSTS, graphs, pairs
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync

from pyg_mtrec.loader import Batch, EdgeSampler, FullBatch, PartnerSampler
from pyg_mtrec.loader._group_partner_sampler import GroupPartnerSampler
from pyg_mtrec.loader._shared_negative_sampler import SharedNegativeSampler

EDGE_TYPE = ("user", "likes", "item")


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _edges(data, edge_type):
    edges = pairs(data[edge_type].edge_index)
    return [(a, b) for a, b in edges if edge_type[0] != edge_type[2] or a != b]


def _check_orders(batch, edges, num_src, num_dst):
    """Segments hold the edges of their node, each once, in the order in which they were given."""
    src, dst = batch.src_index.tolist(), batch.dst_pos_index.tolist()
    assert [edges[e] for e in batch.edge_id.tolist()] == list(zip(src, dst, strict=True))
    assert sorted(batch.edge_id.tolist()) == list(range(len(edges)))
    src_ptr, dst_ptr = batch.src_ptr.tolist(), batch.dst_ptr.tolist()
    by_dst = batch.by_dst.tolist()
    assert (len(src_ptr), len(dst_ptr)) == (num_src + 1, num_dst + 1)
    for node in range(num_src):
        found = batch.edge_id[src_ptr[node] : src_ptr[node + 1]].tolist()
        assert found == [e for e, (s, _) in enumerate(edges) if s == node]
    for node in range(num_dst):
        places = by_dst[dst_ptr[node] : dst_ptr[node + 1]]
        assert places == [place for place, d in enumerate(dst) if d == node]
    assert src_ptr[0] == dst_ptr[0] == 0 and src_ptr[-1] == dst_ptr[-1] == len(edges)


@given(st.data())
def test_any_edges_in_both_orders(data):
    num_src, num_dst = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    edge = st.tuples(st.integers(0, num_src - 1), st.integers(0, num_dst - 1))
    edges = data.draw(st.lists(edge, max_size=12))
    src, dst = (torch.tensor([e[end] for e in edges], dtype=torch.long) for end in (0, 1))
    batch = FullBatch.from_edges(EDGE_TYPE, src, dst, num_src, num_dst)
    _check_orders(batch, edges, num_src, num_dst)
    assert batch.size == max(1, len(edges)) and batch.edge_type == EDGE_TYPE
    assert batch.weight is None and batch.dst_neg_index is None


def test_it_asks_for_all_nodes_and_moves_as_a_whole():
    zero = torch.tensor([0])
    batch = FullBatch.from_edges(EDGE_TYPE, zero, zero + 1, 1, 2)
    assert batch.node_ids() == {"user": None, "item": None}
    trusts = FullBatch.from_edges(TRUSTS, zero, zero + 1, 2, 2)
    assert trusts.node_ids() == {"user": None}
    moved = batch.to("meta")
    assert isinstance(moved, FullBatch)
    assert {moved.src_ptr.device.type, moved.by_dst.device.type, moved.src_index.device.type} == {
        "meta"
    }
    assert batch.src_ptr.device.type == "cpu"


@pytest.mark.parametrize("name", sorted(graphs()))
@pytest.mark.parametrize("edge_type", [MAIN, TRUSTS, ALSO_VIEWED, IN_CATEGORY])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_full_batch_of_an_edge_sampler(name, edge_type, reverse):
    data = graphs()[name]
    if edge_type not in data.edge_types:
        return
    edges = _edges(data, edge_type)
    sampler = EdgeSampler(data, edge_type, _generator(), num_negatives=3, reverse=reverse)
    src_type, relation, dst_type = edge_type
    if reverse:
        edges = [(b, a) for a, b in edges]
        src_type, relation, dst_type = dst_type, f"rev_{relation}", src_type
    batch = sampler.full()
    assert batch.edge_type == (src_type, relation, dst_type)
    _check_orders(batch, edges, data[src_type].num_nodes, data[dst_type].num_nodes)
    assert batch.dst_neg_index.shape == (len(edges), 3)
    num_dst = data[dst_type].num_nodes
    for u, items, weight in zip(
        batch.src_index.tolist(), batch.dst_neg_index.tolist(), batch.weight.tolist(), strict=True
    ):
        seen = {b for a, b in edges if a == u} | ({u} if src_type == dst_type else set())
        assert weight == (len(seen) < num_dst)
        assert all(0 <= item < num_dst for item in items)
        assert weight == 0 or not seen & set(items)


def test_every_step_draws_anew_and_a_seed_repeats_it():
    data = graphs()["larger"]
    sampler, again = (EdgeSampler(data, MAIN, _generator()) for _ in range(2))
    first, second = sampler.full(), sampler.full()
    assert not torch.equal(first.dst_neg_index, second.dst_neg_index)
    assert torch.equal(first.src_index, second.src_index)
    for batch in (first, second):
        assert torch.equal(again.full().dst_neg_index, batch.dst_neg_index)
    # A batch that is kept is not written into by the next step.
    kept = first.dst_neg_index.clone()
    sampler.full()
    assert torch.equal(first.dst_neg_index, kept)


def test_negatives_are_uniform_over_the_unseen():
    data = graphs()["plain"]
    sampler = EdgeSampler(data, MAIN, _generator(), num_negatives=500)
    batch = sampler.full()
    edges = _edges(data, MAIN)
    statistic, freedom = 0.0, 0
    for user in range(8):
        unseen = sorted(set(range(10)) - {b for a, b in edges if a == user})
        drawn = batch.dst_neg_index[batch.src_index == user].view(-1)
        counts = torch.bincount(drawn, minlength=10)[unseen].double()
        assert int(counts.sum()) == drawn.numel()
        if len(unseen) < 2 or not drawn.numel():
            continue
        mean = drawn.numel() / len(unseen)
        statistic += float(((counts - mean) ** 2 / mean).sum())
        freedom += len(unseen) - 1
    assert statistic < freedom + 4 * (2 * freedom) ** 0.5  # chi square: four standard deviations


def test_negatives_of_other_tasks_follow_the_same_generator():
    data = graphs()["plain"]
    generator = _generator()
    first = EdgeSampler(data, MAIN, generator).full().dst_neg_index
    state = generator.get_state()
    assert not torch.equal(state, _generator().get_state())
    EdgeSampler(data, MAIN, generator, num_negatives=0).full()
    assert torch.equal(generator.get_state(), state)  # without negatives nothing is drawn
    assert torch.equal(EdgeSampler(data, MAIN, _generator()).full().dst_neg_index, first)


def test_sampler_that_anchors_at_edges_takes_all_of_them():
    data = graphs()["plain"]
    main = EdgeSampler(data, MAIN, _generator()).full()
    for num_negatives in (0, 2):
        shared = EdgeSampler(data, MAIN, _generator(1), num_negatives, anchored=True)
        batch = shared.sample_anchored(main, main.size)
        assert isinstance(batch, FullBatch) and batch.size == main.size
        assert torch.equal(batch.edge_id, main.edge_id)
        assert torch.equal(batch.dst_pos_index, main.dst_pos_index)
        assert (batch.dst_neg_index is None) == (num_negatives == 0)
    rating = EdgeSampler(data, MAIN, _generator(1), 0, ("rating",), anchored=True)
    batch = rating.sample_anchored(main, main.size)
    assert torch.equal(batch.edge_label, data[MAIN].rating[batch.edge_id])
    assert sorted(batch.edge_id.tolist()) == list(range(40))


def test_partners_of_all_anchors():
    data = graphs()["plain"]
    main = EdgeSampler(data, MAIN, _generator()).full()
    trusted = {a: {b for s, b in pairs(data[TRUSTS].edge_index) if s == a} for a in range(8)}
    batch = PartnerSampler(data, TRUSTS, _generator()).sample_anchored(main, main.size)
    assert batch.size == main.size == 40 and batch.src_index.numel() == 40
    users = sorted(set(main.src_index.tolist()))
    assert batch.src_index[: len(users)].tolist() == users
    for place, (user, partner, weight) in enumerate(
        zip(
            batch.src_index.tolist(),
            batch.dst_pos_index.tolist(),
            batch.weight.tolist(),
            strict=True,
        )
    ):
        assert weight == (place < len(users) and bool(trusted[user]))
        assert weight == 0 or partner in trusted[user]


@pytest.mark.parametrize("name", ["plain", "groups", "empty_relation"])
def test_samplers_without_a_full_form_give_all_edges_in_order(name):
    data = graphs()[name]
    made = [
        EdgeSampler(data, MAIN, _generator(), 1, ("rating",)),
        SharedNegativeSampler(data, MAIN, _generator(), num_shared=4),
        GroupPartnerSampler(data, IN_CATEGORY, _generator()),
    ]
    for sampler in made:
        batch = sampler.full()
        assert type(batch) is Batch and batch.size == max(1, sampler.num_edges)
        assert batch.edge_id.tolist() == list(range(sampler.num_edges))
    assert made[1].full().dst_neg_index.shape == (1, 4)


def test_nothing_waits_for_the_device():
    data = graphs()["plain"]
    samplers = [
        EdgeSampler(data, MAIN, _generator(), num_negatives=2),
        EdgeSampler(data, TRUSTS, _generator(), reverse=True, avoid_positives=False),
    ]
    with NoSync():
        for sampler in samplers:
            sampler.full()
            sampler.full()
