from collections import Counter

import pytest
import torch
from bank import IN_CATEGORY, MAIN, graphs, pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, _disjoint_sampler
from pyg_mtrec.loader._csr import to_csr
from pyg_mtrec.loader._disjoint_sampler import DisjointSampler
from pyg_mtrec.loader._group_partner_sampler import GroupPartnerSampler


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _data(sets, num_groups):
    data = HeteroData()
    data["item"].num_nodes, data["category"].num_nodes = len(sets), num_groups
    links = [(i, g) for i, groups in enumerate(sets) for g in groups]
    data[IN_CATEGORY].edge_index = torch.tensor(links, dtype=torch.long).view(-1, 2).t()
    return data


def _csr(sets, num_groups):
    node, group = _data(sets, num_groups)[IN_CATEGORY].edge_index
    return to_csr(node, group, len(sets), num_groups)


def _main(items):
    items = torch.tensor(items)
    return Batch(MAIN, items.numel(), torch.zeros_like(items), items)


sets_of_groups = st.integers(1, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.sets(st.integers(0, n - 1)), min_size=1, max_size=9), st.just(n)
    )
)


@given(sets_of_groups)
@settings(max_examples=50)
def test_ranks_map_to_the_nodes_that_share_no_group(case):
    sets, num_groups = case
    sampler = DisjointSampler(_csr(sets, num_groups), num_groups)
    for node, mine in enumerate(sets):
        free = [other for other, theirs in enumerate(sets) if not mine & theirs]
        assert int(sampler.num_free(torch.tensor(node))) == len(free)
        ranks = torch.arange(len(free))
        assert sorted(sampler.nth(torch.full_like(ranks, node), ranks).tolist()) == free


@given(sets_of_groups, st.booleans())
@settings(max_examples=50)
def test_positives_share_a_group_and_negatives_share_none(case, exact):
    sets, num_groups = case
    limit = _disjoint_sampler.MAX_PAIRS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_disjoint_sampler, "MAX_PAIRS", limit if exact else -1)
        sampler = GroupPartnerSampler(_data(sets, num_groups), IN_CATEGORY, _generator())
    assert sampler.exact == exact
    members = [{i for i, s in enumerate(sets) if g in s} for g in range(num_groups)]
    has_partner = [any(len(members[g]) > 1 for g in s) for s in sets]
    assert sampler.num_edges == sum(len(m) for m in members if len(m) > 1)
    anchored = sampler.sample_anchored(_main(list(range(len(sets))) * 3), 7)
    streamed = sampler.sample(torch.arange(sampler.num_edges).repeat(3), 7)
    assert anchored.src_index[: len(sets)].tolist() == list(range(len(sets)))
    assert not anchored.weight[len(sets) :].any()
    for batch in (anchored, streamed):
        assert batch.size == 7
        for a, p, n, w in zip(
            batch.src_index.tolist(),
            batch.dst_pos_index.tolist(),
            batch.dst_neg_index.tolist(),
            batch.weight.tolist(),
            strict=True,
        ):
            assert all(0 <= x < len(sets) for x in (a, p, n))
            if w:
                assert p != a and sets[a] & sets[p]
                assert n != a
                # Without the exact way some group of both anchor and positive excludes it.
                assert not sets[a] & sets[n] if exact else (sets[a] & sets[p]) - sets[n]
    if exact:
        for a, w in zip(anchored.src_index.tolist(), anchored.weight[: len(sets)], strict=False):
            free = any(not sets[a] & s for s in sets)
            assert bool(w) == (has_partner[a] and free)


def test_a_group_is_drawn_first_and_then_a_member():
    # Item 0 is in a group of three and in one of two: 1 and 2 have a quarter each, 3 a half.
    sets = [{0, 1, 2}, {0}, {0}, {1}, {3}, set()]
    sampler = GroupPartnerSampler(_data(sets, 4), IN_CATEGORY, _generator(), num_negatives=2)
    positives, negatives = Counter(), Counter()
    for _ in range(3000):
        batch = sampler.sample_anchored(_main([0]), 1)
        positives[int(batch.dst_pos_index)] += 1
        negatives.update(batch.dst_neg_index.view(-1).tolist())
    assert sorted(positives) == [1, 2, 3] and sorted(negatives) == [4, 5]
    observed = [positives[i] for i in (1, 2, 3)]
    assert chisquare(observed, [750, 750, 1500]).pvalue > 1e-3
    assert chisquare([negatives[4], negatives[5]]).pvalue > 1e-3


@pytest.mark.parametrize("name", [n for n, d in graphs().items() if IN_CATEGORY in d.edge_types])
def test_on_the_bank(name):
    data = graphs()[name]
    groups = {}
    for item, group in pairs(data[IN_CATEGORY].edge_index):
        groups.setdefault(item, set()).add(group)
    sampler = GroupPartnerSampler(data, IN_CATEGORY, _generator())
    items = data[MAIN].edge_index[1][:12]
    batch = sampler.sample_anchored(_main(items.tolist()), 12)
    assert batch.edge_type == ("item", "same_category", "item")
    for a, p, n, w in zip(
        batch.src_index.tolist(),
        batch.dst_pos_index.tolist(),
        batch.dst_neg_index.tolist(),
        batch.weight.tolist(),
        strict=True,
    ):
        if w:
            assert p != a and groups[a] & groups[p] and not groups[a] & groups.get(n, set())


def test_repeated_memberships_count_once():
    data = _data([{0}, {0}, set()], 1)
    data[IN_CATEGORY].edge_index = data[IN_CATEGORY].edge_index.repeat(1, 3)
    sampler = GroupPartnerSampler(data, IN_CATEGORY, _generator())
    assert sampler.num_edges == 2
    batch = sampler.sample(torch.tensor([0, 1]), 2)
    assert batch.dst_pos_index.tolist() == [1, 0] and batch.dst_neg_index.tolist() == [2, 2]


def test_no_negatives_are_refused():
    with pytest.raises(InputError, match="'num_negatives' needs to be positive"):
        GroupPartnerSampler(_data([{0}], 1), IN_CATEGORY, _generator(), num_negatives=0)
