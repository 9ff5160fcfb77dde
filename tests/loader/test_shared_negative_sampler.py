import math

import pytest
import torch
from bank import ALSO_VIEWED, MAIN, TRUSTS, graphs, pairs
from no_sync import NoSync

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import EdgeSampler, MultiTaskLoader
from pyg_mtrec.loader._shared_negative_sampler import SharedNegativeSampler


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(graphs()))
@pytest.mark.parametrize("edge_type", [MAIN, TRUSTS, ALSO_VIEWED])
def test_edges_and_what_they_share(name, edge_type):
    data = graphs()[name]
    if edge_type not in data.edge_types:
        return
    sampler = SharedNegativeSampler(data, edge_type, _generator(), num_shared=9, log_q=True)
    same = edge_type[0] == edge_type[2]
    edges = [(a, b) for a, b in pairs(data[edge_type].edge_index) if not (same and a == b)]
    assert sampler.num_edges == len(edges)
    index = torch.randperm(len(edges), generator=_generator(1))
    batch = sampler.sample(index, size=17)
    assert batch.size == 17 and batch.weight is None and torch.equal(batch.edge_id, index)
    found = zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True)
    assert list(found) == [edges[e] for e in index.tolist()]
    assert batch.dst_neg_index.shape == (1, 9)
    drawn = batch.dst_neg_index[0].tolist()
    assert all(0 <= node < data[edge_type[2]].num_nodes for node in drawn)
    ends = [dst for _, dst in edges]
    for node, log_q in zip(batch.dst_pos_index.tolist(), batch.dst_log_q.tolist(), strict=True):
        want = math.log(ends.count(node) / max(1, len(ends) - 1))
        assert log_q == pytest.approx(want, rel=1e-6, abs=1e-6)
    ids = batch.node_ids()
    looked_up = torch.cat([ids[node_type] for node_type in sorted({edge_type[0], edge_type[2]})])
    assert looked_up.numel() == 2 * len(edges) + 9
    assert set(drawn) <= set(ids[edge_type[2]].tolist())


def test_draws_are_uniform_and_new_every_step():
    data = graphs()["hub"]  # nearly all links are to item 0
    sampler = SharedNegativeSampler(data, MAIN, _generator(), num_shared=30)
    index = torch.tensor([0, 1])
    steps = torch.cat([sampler.sample(index, 2).dst_neg_index for _ in range(400)])
    assert steps.unique(dim=0).size(0) == 400
    counts = torch.bincount(steps.view(-1), minlength=30).double()
    # 29 degrees of freedom: above 60 once in two thousand.
    assert float(((counts - 400) ** 2 / 400).sum()) < 60
    again = SharedNegativeSampler(data, MAIN, _generator(), num_shared=30)
    assert torch.equal(again.sample(index, 2).dst_neg_index, steps[:1])


def test_what_is_not_asked_for_is_left_out():
    data = graphs()["plain"]
    state = _generator().get_state()
    sampler = SharedNegativeSampler(data, MAIN, _generator(), num_shared=0)
    batch = sampler.sample(torch.tensor([3]), 1)
    assert batch.dst_neg_index is None and batch.dst_log_q is None
    assert torch.equal(sampler.generator.get_state(), state)


def test_anchored_takes_the_main_tasks_edges():
    data = graphs()["plain"]
    generator = _generator()
    shared = SharedNegativeSampler(data, MAIN, generator, 4, log_q=True)
    free = SharedNegativeSampler(data, MAIN, generator, 4, anchored=False)
    main = EdgeSampler(data, MAIN, generator)
    loader = MultiTaskLoader({"bpr": main, "shared": shared, "free": free}, 7, generator)
    with NoSync():
        steps = list(loader)
    for batches in steps:
        assert torch.equal(batches["shared"].src_index, batches["bpr"].src_index)
        assert torch.equal(batches["shared"].dst_pos_index, batches["bpr"].dst_pos_index)
        assert batches["shared"].dst_neg_index.shape == (1, 4)
    streamed = torch.cat([batches["free"].edge_id for batches in steps])[:40]
    assert sorted(streamed.tolist()) == list(range(40))
    with pytest.raises(InputError, match="anchored=False"):
        shared.check_main(EdgeSampler(data, TRUSTS, generator))


def test_an_epoch_can_be_repeated_from_its_state():
    data = graphs()["plain"]
    generator = _generator()
    loader = MultiTaskLoader({"a": SharedNegativeSampler(data, MAIN, generator, 5)}, 9, generator)
    state = loader.state_dict()
    first = [batches["a"].dst_neg_index for batches in loader]
    loader.load_state_dict(state)
    for batches, want in zip(loader, first, strict=True):
        assert torch.equal(batches["a"].dst_neg_index, want)
