from collections import Counter

import pytest
import torch
from bank import ALSO_VIEWED, IN_CATEGORY, MAIN, TRUSTS, graphs, pairs
from scipy.stats import chisquare

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, EdgeSampler, PartnerSampler


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _main(users, items):
    users, items = torch.tensor(users), torch.tensor(items)
    return Batch(MAIN, users.numel(), users, items, items)


@pytest.mark.parametrize("name", sorted(graphs()))
@pytest.mark.parametrize("edge_type", [TRUSTS, ALSO_VIEWED, MAIN])
def test_anchors_are_the_batchs_nodes_once_each_with_a_partner(name, edge_type):
    data = graphs()[name]
    if edge_type not in data.edge_types:
        return
    main = EdgeSampler(data, MAIN, _generator())
    sampler = PartnerSampler(data, edge_type, _generator(1), num_negatives=2)
    sampler.check_main(main)
    size = min(9, main.num_edges)
    batch = main.sample(torch.arange(size), size)
    same = edge_type[0] == edge_type[2]
    edges = {(a, b) for a, b in pairs(data[edge_type].edge_index) if not (same and a == b)}
    wanted = batch.src_index if edge_type[0] == "user" else batch.dst_pos_index
    anchors = sorted(set(wanted.tolist()))
    for _ in range(5):
        found = sampler.sample_anchored(batch, size)
        assert found.size == size and found.src_index.shape == found.weight.shape == (size,)
        assert found.src_index[: len(anchors)].tolist() == anchors
        assert set(found.src_index.tolist()) == set(anchors)
        assert not found.weight[len(anchors) :].any()
        num_dst = data[edge_type[2]].num_nodes
        for place, a in enumerate(anchors):
            partners = {q for p, q in edges if p == a}
            excluded = partners | ({a} if same else set())
            weight = float(found.weight[place])
            assert weight == (len(partners) > 0 and len(excluded) < num_dst)
            if weight:
                assert int(found.dst_pos_index[place]) in partners
                assert not set(found.dst_neg_index[place].tolist()) & excluded
        assert int(found.dst_pos_index.max()) < num_dst and int(found.dst_neg_index.max()) < num_dst


def test_partners_are_uniform_and_repeated_links_count_once():
    data = graphs()["plain"]
    # User 0 links to 1 (five times), 2 and 3, and to itself; item 0 of ALSO_VIEWED plays no part.
    data[TRUSTS].edge_index = torch.tensor([[0] * 8, [1, 1, 1, 1, 1, 2, 3, 0]])
    sampler = PartnerSampler(data, TRUSTS, _generator())
    assert sampler.num_edges == 7
    count = Counter()
    negatives = Counter()
    for _ in range(2000):
        batch = sampler.sample_anchored(_main([0], [0]), 1)
        count[int(batch.dst_pos_index)] += 1
        negatives[int(batch.dst_neg_index)] += 1
    assert sorted(count) == [1, 2, 3] and sorted(negatives) == [4, 5, 6, 7]
    assert chisquare(list(count.values())).pvalue > 1e-3
    assert chisquare(list(negatives.values())).pvalue > 1e-3


def test_item_anchors_are_the_positives_not_the_negatives():
    data = graphs()["plain"]
    batch = Batch(
        MAIN, 2, torch.tensor([0, 1]), torch.tensor([9, 2]), torch.tensor([[0, 1], [3, 4]])
    )
    found = PartnerSampler(data, ALSO_VIEWED, _generator()).sample_anchored(batch, 2)
    assert found.src_index.tolist() == [2, 9]
    assert found.dst_pos_index.tolist() == [0, 3]


def test_it_streams_its_own_links_too():
    data = graphs()["plain"]
    sampler = PartnerSampler(data, TRUSTS, _generator(), anchored=False)
    batch = sampler.sample(torch.tensor([6, 0]), 2)
    assert batch.src_index.tolist() == [5, 0] and batch.dst_pos_index.tolist() == [3, 1]


def test_a_main_task_without_such_nodes_is_refused():
    data = graphs()["plain"]
    social = EdgeSampler(data, TRUSTS, _generator())
    with pytest.raises(InputError, match=r"hold no 'item' nodes .*anchored=False"):
        PartnerSampler(data, ALSO_VIEWED, _generator()).check_main(social)
    with pytest.raises(InputError, match="hold no 'item' nodes"):
        PartnerSampler(data, IN_CATEGORY, _generator()).check_main(social)
