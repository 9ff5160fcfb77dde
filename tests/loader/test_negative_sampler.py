import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import NegativeSampler
from pyg_mtrec.loader._draw import draw_below, unique_padded


def _seen_rows(num_items):
    r"""Sources that saw nothing, all, all but one, the first, the last, and random parts."""
    generator = torch.Generator().manual_seed(num_items)
    everything = list(range(num_items))
    rows = [[], everything, everything[:-1], everything[1:], [0], [num_items - 1]]
    for _ in range(54):
        share = torch.rand(1, generator=generator)
        chosen = torch.rand(num_items, generator=generator) < share
        rows.append(chosen.nonzero().view(-1).tolist())
    return rows


def _edge_index(rows):
    src = [u for u, row in enumerate(rows) for _ in row]
    dst = [i for row in rows for i in row]
    return torch.tensor([src, dst], dtype=torch.long).view(2, -1)


def _check_complement(sampler, rows, num_items):
    for user, row in enumerate(rows):
        unseen = sorted(set(range(num_items)) - set(row))
        src = torch.full((len(unseen),), user)
        assert sampler.nth(src, torch.arange(len(unseen))).tolist() == unseen
        assert int(sampler.num_unseen(torch.tensor(user))) == len(unseen)


@pytest.mark.parametrize("num_items", [1, 2, 7, 50, 257])
def test_ranks_map_to_the_sorted_complement(num_items):
    rows = _seen_rows(num_items)
    edge_index = _edge_index(rows)
    order = torch.randperm(edge_index.size(1), generator=torch.Generator().manual_seed(0))
    twice = torch.cat([edge_index, edge_index[:, order]], dim=1)  # unsorted, all repeated
    _check_complement(NegativeSampler(twice, len(rows), num_items), rows, num_items)


@given(
    st.integers(1, 9).flatmap(
        lambda n: st.tuples(
            st.just(n), st.lists(st.sets(st.integers(0, n - 1)), min_size=1, max_size=6)
        )
    )
)
@settings(max_examples=50)
def test_ranks_map_to_the_sorted_complement_of_anything(case):
    num_items, rows = case
    sampler = NegativeSampler(_edge_index(rows), len(rows), num_items)
    _check_complement(sampler, rows, num_items)
    src = torch.arange(len(rows)).repeat(5)
    drawn, weight = sampler.sample(src, torch.Generator().manual_seed(1), num=3)
    assert drawn.shape == (src.numel(), 3) and drawn.dtype == torch.long
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < num_items
    for user, items, w in zip(src.tolist(), drawn.tolist(), weight.tolist(), strict=True):
        assert w == (len(rows[user]) < num_items)
        assert w == 0 or not set(items) & set(rows[user])


def test_draws_are_uniform_over_the_unseen():
    num_items, draws = 50, 20_000
    rows = _seen_rows(num_items)[:20]
    sampler = NegativeSampler(_edge_index(rows), len(rows), num_items)
    generator = torch.Generator().manual_seed(3)
    worst = 1.0
    for user, row in enumerate(rows):
        unseen = sorted(set(range(num_items)) - set(row))
        if len(unseen) < 2:
            continue
        drawn, _ = sampler.sample(torch.full((draws,), user), generator)
        count = torch.bincount(drawn, minlength=num_items)
        assert int(count.sum()) == int(count[unseen].sum()) == draws
        worst = min(worst, chisquare(count[unseen].numpy()).pvalue)
    assert worst > 1e-3 / len(rows)


def test_several_negatives_are_independent():
    # Two draws from 5 unseen items: all 25 ordered pairs are equally likely, equal ones included.
    sampler = NegativeSampler(torch.tensor([[0, 0], [1, 4]]), 1, 7)
    src = torch.zeros(50_000, dtype=torch.long)
    drawn, _ = sampler.sample(src, torch.Generator().manual_seed(0), num=2)
    count = torch.bincount(drawn[:, 0] * 7 + drawn[:, 1])
    assert int((count > 0).sum()) == 25
    assert chisquare(count[count > 0].numpy()).pvalue > 1e-3


def test_nothing_was_seen():
    sampler = NegativeSampler(torch.empty(2, 0, dtype=torch.long), 3, 4)
    drawn, weight = sampler.sample(torch.tensor([0, 2] * 500), torch.Generator().manual_seed(0))
    assert weight.tolist() == [1.0] * 1000
    assert torch.bincount(drawn).tolist() == pytest.approx([250] * 4, abs=60)
    nobody, none = sampler.sample(torch.empty(0, dtype=torch.long), torch.Generator(), num=2)
    assert nobody.shape == (0, 2) and none.shape == (0,)


def test_ids_beyond_float32_are_drawn():
    # A float32 random number has 2^24 values: all ranks would be even here, and larger ids coarser.
    num_dst = (1 << 40) + 1
    sampler = NegativeSampler(torch.tensor([[0, 0], [0, num_dst - 1]]), 1, num_dst)
    drawn, _ = sampler.sample(torch.zeros(4000, dtype=torch.long), torch.Generator().manual_seed(0))
    assert drawn.unique().numel() == 4000
    for bit in range(40):
        share = float((drawn >> bit & 1).double().mean())
        assert share == pytest.approx(0.5, abs=0.04), bit
    ends = sampler.nth(torch.zeros(2, dtype=torch.long), torch.tensor([0, num_dst - 3]))
    assert ends.tolist() == [1, num_dst - 2]


def test_equal_seeds_give_equal_draws_and_others_do_not():
    sampler = NegativeSampler(torch.tensor([[0], [1]]), 1, 1000)
    src = torch.zeros(20, dtype=torch.long)
    first, second, third = (
        sampler.sample(src, torch.Generator().manual_seed(seed))[0] for seed in (5, 5, 6)
    )
    assert torch.equal(first, second) and not torch.equal(first, third)


@pytest.mark.parametrize(
    ("edge_index", "num_src", "num_dst", "match"),
    [
        ([[0], [0]], 0, 3, "need to be positive"),
        ([[0], [0]], 1, 0, "need to be positive"),
        ([[0], [3]], 1, 3, r"below 'num_dst' .*got 3 .. 3, num_dst = 3"),
        ([[-1], [0]], 1, 3, "below 'num_src'"),
    ],
)
def test_bad_input_gets_one_line(edge_index, num_src, num_dst, match):
    with pytest.raises(InputError, match=match) as error:
        NegativeSampler(torch.tensor(edge_index), num_src, num_dst)
    assert "\n" not in str(error.value)


def test_repr_says_the_sizes():
    sampler = NegativeSampler(torch.tensor([[0, 0], [1, 1]]), 2, 3)
    assert repr(sampler) == "NegativeSampler(2, 3, num_seen=1)"


@given(st.lists(st.integers(0, 8), max_size=12))
@settings(max_examples=50)
def test_padded_unique_is_unique(ids):
    found, weight = unique_padded(torch.tensor(ids, dtype=torch.long))
    distinct = sorted(set(ids))
    assert found.shape == weight.shape == (len(ids),)
    assert found[: len(distinct)].tolist() == distinct
    assert weight.tolist() == [1.0] * len(distinct) + [0.0] * (len(ids) - len(distinct))
    assert set(found.tolist()) == set(ids)


def test_draws_below_zero_are_zero():
    drawn = draw_below(torch.tensor([0, 1, 0, 2]), torch.Generator().manual_seed(0))
    assert drawn[:3].tolist() == [0, 0, 0] and 0 <= int(drawn[3]) < 2
