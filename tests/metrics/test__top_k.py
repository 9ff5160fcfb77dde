import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import DotProductScorer, _largest, _ties
from pyg_mtrec.metrics._largest import largest
from pyg_mtrec.metrics._ties import Lots
from pyg_mtrec.metrics._top_k import rank_chunk, top_k

INF = float("inf")


class Table:
    """A scorer that hands out its own rows, so that whoever writes to them is found out."""

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores
        self.num_items = scores.size(1)

    def score(self, user_ids: Tensor) -> Tensor:
        first, last = int(user_ids[0]), int(user_ids[-1])
        if user_ids.numel() == last - first + 1:
            return self.scores[first : last + 1]
        return self.scores[user_ids]


def by_sorting(
    scores: Tensor, k: int, lot: list[int], seen: set[tuple[int, int]]
) -> list[list[int]]:
    lists = []
    for row, line in enumerate(scores.tolist()):
        unseen = [item for item in range(len(line)) if (row, item) not in seen]
        unseen.sort(key=lambda item: (-line[item], lot[item]))
        lists.append((unseen + [-1] * k)[:k])
    return lists


def lots(num_items: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(num_items, generator=generator, dtype=torch.int32).tolist()


@pytest.mark.parametrize("size", [1, 127, 1024, 5000, 40_003])
@pytest.mark.parametrize("k", [1, 7, 41])
def test_largest_is_topk(size: int, k: int) -> None:
    k = min(k, size)
    scores = torch.randn(5, size, generator=torch.Generator().manual_seed(size))
    values, index = largest(scores, k)
    torch.testing.assert_close(values, scores.topk(k).values, rtol=0, atol=0)
    torch.testing.assert_close(scores.gather(1, index), values, rtol=0, atol=0)
    assert all(len(set(row)) == k for row in index.tolist())


@pytest.mark.parametrize("at", [0, 39_999, 40_002])
def test_largest_finds_the_lone_winner_in_any_block_and_in_the_tail(at: int) -> None:
    scores = torch.zeros(2, 40_003)
    scores[1, at] = 1.0
    assert int(largest(scores, 3)[1][1, 0]) == at


@given(
    values=st.lists(
        st.lists(
            st.sampled_from([-INF, -1e10, -1.0, -0.0, 0.0, 1e-10, 1.0, 1e10, INF]),
            min_size=23,
            max_size=23,
        ),
        min_size=1,
        max_size=4,
    ),
    k=st.integers(1, 23),
    seen=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 22))),
    seed=st.integers(0, 9),
    block=st.sampled_from([2, 128]),
)
def test_equals_sorting(
    values: list[list[float]], k: int, seen: set[tuple[int, int]], seed: int, block: int
) -> None:
    scores = torch.tensor(values)
    seen = {pair for pair in seen if pair[0] < scores.size(0)}
    edges = torch.tensor(sorted(seen), dtype=torch.long).view(-1, 2).t()
    with pytest.MonkeyPatch.context() as patch:
        for module in (_largest, _ties):  # 2: the two stages run on small inputs, too
            patch.setattr(module, "BLOCK", block)
        got_scores, got = top_k(Table(scores), torch.arange(scores.size(0)), k, edges, seed)
    assert got.tolist() == by_sorting(scores, k, lots(23, seed), seen)
    expected = torch.where(got < 0, -INF, scores.gather(1, got.clamp(min=0)))
    assert got_scores.tolist() == expected.tolist()


@pytest.mark.parametrize("k", [1, 20, 200, 1000])
def test_wide_rows_full_of_ties_equal_sorting(k: int) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randint(0, 40, (6, 30_001), generator=generator).float()
    scores[0] = 0.0
    scores[1, 5:] = -INF
    scores[2] = torch.arange(30_001) // 25  # few ties
    scores[3] = torch.arange(30_001) // 2000
    seen = torch.stack(
        [torch.arange(6).repeat_interleave(2000), torch.randint(0, 30_001, (12_000,))]
    )
    expected = by_sorting(scores, k, lots(30_001, 7), set(map(tuple, seen.t().tolist())))
    assert top_k(Table(scores), torch.arange(6), k, seen, seed=7)[1].tolist() == expected


@pytest.mark.parametrize("chunk_bytes", [1, 4 * 50 * 3, 4 * 50 * 64, 2**30])
def test_independent_of_chunks(chunk_bytes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 4, (64, 50), generator=generator).float()
    seen = torch.stack([torch.arange(64).repeat(9), torch.randint(0, 50, (576,))])
    users = torch.randperm(64, generator=generator)
    one = top_k(Table(scores), users, 8, seen)
    other = top_k(Table(scores), users, 8, seen, chunk_bytes=chunk_bytes)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_leaves_the_scorers_memory_as_it_was() -> None:
    scores = torch.randn(5, 9)
    before = scores.clone()
    seen = torch.tensor([[0, 0, 1, 4], [0, 0, 3, 8]])
    top_k(Table(scores), torch.arange(5), 3, seen)
    assert torch.equal(scores, before)
    scores[2, 2] = float("nan")
    with pytest.raises(InputError, match="NaN"):
        top_k(Table(scores), torch.arange(5), 3, seen)
    assert torch.equal(scores[[0, 1, 3, 4]], before[[0, 1, 3, 4]])


def test_expanded_transposed_and_inference_scores() -> None:
    row = torch.tensor([1.0, 3.0, 2.0])
    seen = torch.tensor([[0], [1]])
    with torch.inference_mode():
        inference = row.repeat(2, 1)
    for scores in (row.expand(2, 3), row.repeat(2, 1).t().contiguous().t(), inference):
        assert top_k(Table(scores), torch.arange(2), 2, seen)[1].tolist() == [[2, 0], [1, 2]]


def test_minus_infinity_ranks_last_but_is_not_seen() -> None:
    scores = torch.tensor([[-INF, -INF, 0.0, -INF]])
    seen = torch.tensor([[0, 0], [0, 3]])
    values, items = top_k(Table(scores), torch.tensor([0]), 4, seen)
    assert items.tolist() == [[2, 1, -1, -1]]
    assert values.tolist() == [[0.0, -INF, -INF, -INF]]


@pytest.mark.parametrize("seen_one", [False, True])
def test_nan_is_refused(seen_one: bool) -> None:
    scores = torch.zeros(3, 4000)
    scores[1, 3999] = float("nan")
    seen = torch.tensor([[1], [3999]]) if seen_one else None
    with pytest.raises(InputError, match="NaN"):
        top_k(Table(scores), torch.arange(3), 5, seen)


@pytest.mark.parametrize("k", [-1, 0, 5])
def test_impossible_k_is_refused(k: int) -> None:
    with pytest.raises(InputError, match="'k' needs to be"):
        top_k(Table(torch.zeros(2, 4)), torch.arange(2), k)


def test_negative_users_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="non-negative"):
        top_k(Table(torch.zeros(2, 4)), torch.tensor([-1]), 1)
    wrong = Table(torch.zeros(2, 4))
    wrong.num_items = 3
    with pytest.raises(InputError, match=r"\[2, 3\]"):
        top_k(wrong, torch.arange(2), 1)


def test_no_users() -> None:
    values, items = top_k(Table(torch.zeros(2, 4)), torch.empty(0, dtype=torch.long), 2)
    assert values.shape == items.shape == (0, 2)


def test_ties_are_a_fair_draw() -> None:
    # 12 items tie for the last 3 of 4 places: each wins a place with probability 1/4.
    scores = torch.zeros(1, 13)
    scores[0, 6] = 1.0
    num_draws = 1500
    won = torch.zeros(13)
    for seed in range(num_draws):
        items = top_k(Table(scores), torch.tensor([0]), 4, seed=seed)[1][0]
        assert int(items[0]) == 6
        won[items[1:]] += 1
    won = torch.cat([won[:6], won[7:]])
    expected = num_draws / 4
    chi2 = float(((won - expected) ** 2 / expected).sum())
    # Three different winners a draw: chi2 / (9/11) has 11 degrees of freedom (99.9 %: 31.3).
    assert chi2 < 31.3 * 9 / 11


def test_float64_and_half_scores() -> None:
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        scores = torch.tensor([[0.0, 2.0, 1.0]], dtype=dtype)
        assert top_k(Table(scores), torch.tensor([0]), 2)[1].tolist() == [[1, 2]]


def test_rows_of_chunks_follow_the_given_order() -> None:
    scorer = DotProductScorer(torch.eye(4), torch.eye(4))
    users = torch.tensor([2, 0, 2, 3])
    assert top_k(scorer, users, 1, chunk_bytes=16)[1].view(-1).tolist() == users.tolist()


def test_rank_chunk_counts_duplicated_seen_pairs_once() -> None:
    seen = (torch.tensor([0, 0]), torch.tensor([2, 2]))
    assert rank_chunk(torch.tensor([[0.0, 1.0, 2.0]]), 2, Lots(3, 0), seen)[1].tolist() == [[1, 0]]
