import math

import pytest
import torch
from bank import graphs
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.metrics import (
    LinkPredCoverage,
    LinkPredHitRatio,
    LinkPredMAP,
    LinkPredMRR,
    LinkPredNDCG,
    LinkPredPrecision,
    LinkPredRecall,
)

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import RankingEvaluator, Scorer
from pyg_mtrec.metrics._top_k import top_k

MAIN = ("user", "interacts", "item")
NAMES = ("recall", "ndcg", "hit_ratio", "precision", "mrr", "map", "coverage")


class Table:
    def __init__(self, scores: Tensor) -> None:
        self.scores = scores
        self.num_items = scores.size(1)

    def score(self, user_ids: Tensor) -> Tensor:
        return self.scores[user_ids]


def make_split(
    num_users: int,
    num_items: int,
    train: list[tuple[int, int]],
    seen: list[tuple[int, int]],
    labels: list[tuple[int, int]],
) -> HeteroData:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = num_users, num_items
    for key, pairs in (
        ("edge_index", train),
        ("seen_edge_index", seen),
        ("edge_label_index", labels),
    ):
        data[MAIN][key] = torch.tensor(pairs, dtype=torch.long).view(-1, 2).t().contiguous()
    data[MAIN].edge_label = torch.ones(len(labels), 1)
    data[MAIN].edge_label_names, data[MAIN].edge_label_kinds = ["interacts"], ["binary"]
    return data


def random_split(seed: int, num_users: int = 40, num_items: int = 60) -> HeteroData:
    generator = torch.Generator().manual_seed(seed)
    flat = torch.randperm(num_users * num_items, generator=generator)[:500]
    # user 0 loses its labels, user 1 its history
    pairs = [(int(f) // num_items, int(f) % num_items) for f in flat]
    train = [pair for pair in pairs[:300] if pair[0] != 1]
    labels = [pair for pair in pairs[350:] if pair[0] != 0]
    return make_split(num_users, num_items, train, pairs[:350], labels)


def naive(data: HeteroData, lists: dict[int, list[int]], k: int) -> dict[str, dict[int, float]]:
    relevant: dict[int, set[int]] = {}
    for user, item in data[MAIN].edge_label_index.t().tolist():
        relevant.setdefault(user, set()).add(item)
    out: dict[str, dict[int, float]] = {name: {} for name in NAMES if name != "coverage"}
    for user, items in lists.items():
        wanted = relevant[user]
        hits = [1.0 if item in wanted else 0.0 for item in items[:k]]
        best = min(k, len(wanted))
        dcg = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits))
        out["recall"][user] = sum(hits) / len(wanted)
        out["ndcg"][user] = dcg / sum(1 / math.log2(rank + 2) for rank in range(best))
        out["hit_ratio"][user] = max(hits)
        out["precision"][user] = sum(hits) / k
        out["mrr"][user] = 1 / (hits.index(1.0) + 1) if 1.0 in hits else 0.0
        precisions = [sum(hits[: r + 1]) / (r + 1) for r in range(k) if hits[r] == 1.0]
        out["map"][user] = sum(precisions) / best
    return out


def ranked(data: HeteroData, scorer: Scorer, users: Tensor, k: int) -> dict[int, list[int]]:
    items = top_k(scorer, users, k, data[MAIN].seen_edge_index)[1]
    return dict(zip(users.tolist(), items.tolist(), strict=True))


def check(data: HeteroData, scores: Tensor, cuts: tuple[int, ...]) -> None:
    scorer = Table(scores)
    result = RankingEvaluator(data, k=cuts)(scorer)
    users = result.users
    assert users.tolist() == data[MAIN].edge_label_index[0].unique().tolist()
    lists = ranked(data, scorer, users, max(cuts))
    degree = torch.bincount(data[MAIN].edge_index[0], minlength=data["user"].num_nodes)
    assert result.history.tolist() == degree[users].tolist()
    for k in cuts:
        for name, values in naive(data, lists, k).items():
            expected = torch.tensor([values[user] for user in users.tolist()], dtype=torch.double)
            key = f"{name}@{k}"
            got = result.per_user[key]
            assert got.dtype == torch.float32
            torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-7)
            assert result.metrics[key] == pytest.approx(float(expected.mean()), rel=1e-6, abs=1e-7)
        shown = {item for items in lists.values() for item in items[:k]} - {-1}
        assert result.metrics[f"coverage@{k}"] == pytest.approx(len(shown) / scores.size(1))


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_naive_loop(seed: int) -> None:
    data = random_split(seed)
    scores = torch.randn(40, 60, generator=torch.Generator().manual_seed(seed))
    check(data, scores, (1, 5, 20, 60))
    check(data, scores.round(), (3, 10))  # many ties


@given(st.data())
def test_equals_the_naive_loop_on_nasty_splits(draw: st.DataObject) -> None:
    num_users, num_items = draw.draw(st.integers(1, 5)), draw.draw(st.integers(1, 6))
    pair = st.tuples(st.integers(0, num_users - 1), st.integers(0, num_items - 1))
    seen = draw.draw(st.lists(pair, max_size=20))
    labels = draw.draw(st.lists(pair, min_size=1, max_size=12))
    if set(labels) <= set(seen):
        seen = [other for other in seen if other not in labels]
    value = st.sampled_from([-1e10, -1.0, 0.0, 1e-10, 1.0, 1e10])
    scores = draw.draw(
        st.lists(value, min_size=num_users * num_items, max_size=num_users * num_items)
    )
    data = make_split(num_users, num_items, seen[::2], seen, labels)
    cuts = tuple(sorted({1, min(3, num_items), num_items}))
    check(data, torch.tensor(scores).view(num_users, num_items), cuts)


@pytest.mark.parametrize("name", list(graphs()))
def test_bank(name: str) -> None:
    data = graphs()[name]
    pairs = data[MAIN].edge_index.unique(dim=1)
    data[MAIN].edge_index = data[MAIN].seen_edge_index = pairs[:, ::2]
    data[MAIN].edge_label_index = pairs[:, 1::2] if pairs.size(1) > 1 else pairs
    if pairs.size(1) == 1:
        data[MAIN].edge_index = data[MAIN].seen_edge_index = pairs[:, :0]
    num_users, num_items = data["user"].num_nodes, data["item"].num_nodes
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 3, (num_users, num_items), generator=generator).float()
    check(data, scores, tuple(sorted({1, min(4, num_items)})))


def test_equals_pyg_once_padding_and_unlabelled_users_are_out_of_its_way() -> None:
    data = random_split(11)
    scores = torch.randn(40, 60, generator=torch.Generator().manual_seed(1))
    busy = torch.arange(58)  # user 3 has two unseen items: its lists are padded
    data[MAIN].seen_edge_index = torch.cat(
        [data[MAIN].seen_edge_index, torch.stack([torch.full_like(busy, 3), busy])], dim=1
    )
    result = RankingEvaluator(data, k=(5, 20))(Table(scores))
    users = result.users
    items = top_k(Table(scores), users, 20, data[MAIN].seen_edge_index)[1]
    assert (items == -1).any()
    row = torch.searchsorted(users, data[MAIN].edge_label_index[0])
    labels = torch.stack([row, data[MAIN].edge_label_index[1]])
    for k in (5, 20):
        for name, metric in (
            ("recall", LinkPredRecall(k)),
            ("ndcg", LinkPredNDCG(k)),
            ("hit_ratio", LinkPredHitRatio(k)),
            ("precision", LinkPredPrecision(k)),
            ("mrr", LinkPredMRR(k)),
            ("map", LinkPredMAP(k)),
        ):
            metric.update(items.masked_fill(items < 0, 60), labels)
            assert result.metrics[f"{name}@{k}"] == pytest.approx(float(metric.compute()), rel=1e-5)
        coverage = LinkPredCoverage(k, 61)
        coverage.update(items.masked_fill(items < 0, 60), labels)
        shown = float(coverage.mask[:60].double().mean())
        assert result.metrics[f"coverage@{k}"] == pytest.approx(shown)


def test_a_list_without_unseen_items_hits_nothing() -> None:
    # User 1 has seen everything; its padding must not become user 0's last item.
    data = make_split(2, 3, [(1, 0)], [(1, 0), (1, 1), (1, 2)], [(0, 2), (1, 2)])
    result = RankingEvaluator(data, k=(3,))(Table(torch.zeros(2, 3)))
    assert result.per_user["recall@3"].tolist() == [1.0, 0.0]
    assert result.num_masked_labels == 1


def test_buckets_partition_the_users() -> None:
    data = random_split(2)
    scores = torch.randn(40, 60, generator=torch.Generator().manual_seed(2))
    result = RankingEvaluator(data, k=(10,), buckets=(0, 6, 100))(Table(scores))
    assert list(result.buckets) == ["0", "1-6", "7-100", "101+"]
    assert result.buckets["101+"] == {"users": 0}
    lists = ranked(data, Table(scores), result.users, 10)
    loop = naive(data, lists, 10)
    for name, (low, high) in {"0": (0, 0), "1-6": (1, 6), "7-100": (7, 100)}.items():
        pairs = zip(result.users.tolist(), result.history.tolist(), strict=True)
        chosen = [user for user, length in pairs if low <= length <= high]
        bucket = result.buckets[name]
        assert bucket["users"] == len(chosen) > 0
        for metric, values in loop.items():
            mean = sum(values[user] for user in chosen) / len(chosen)
            assert bucket[f"{metric}@10"] == pytest.approx(mean, rel=1e-6, abs=1e-7)
        shown = {item for user in chosen for item in lists[user]} - {-1}
        assert bucket["coverage@10"] == pytest.approx(len(shown) / 60)
    assert sum(bucket["users"] for bucket in result.buckets.values()) == result.num_users


def test_no_buckets() -> None:
    evaluator = RankingEvaluator(random_split(0), k=(2,), buckets=())
    result = evaluator(Table(torch.zeros(40, 60)))
    assert list(result.buckets) == ["0+"]
    assert result.buckets["0+"] == {"users": result.num_users, **result.metrics}


def test_unlabelled_users_are_dropped_and_counted() -> None:
    data = make_split(5, 3, [], [], [(1, 0), (3, 2)])
    result = RankingEvaluator(data, k=(1,))(Table(torch.tensor([[3.0, 2.0, 1.0]]).repeat(5, 1)))
    assert result.users.tolist() == [1, 3]
    assert result.num_users_without_labels == 3
    assert result.metrics["recall@1"] == 0.5


def test_duplicated_labels_count_once() -> None:
    data = make_split(1, 4, [], [], [(0, 0), (0, 0), (0, 1)])
    result = RankingEvaluator(data, k=(1,))(Table(torch.tensor([[3.0, 2.0, 1.0, 0.0]])))
    assert result.metrics["recall@1"] == 0.5


def test_negatives_and_missing_labels_are_not_relevant() -> None:
    data = make_split(1, 4, [], [], [(0, 0), (0, 1), (0, 2)])
    data[MAIN].edge_label = torch.tensor([[1.0], [0.0], [float("nan")]])
    result = RankingEvaluator(data, k=(1,))(Table(torch.tensor([[3.0, 2.0, 1.0, 0.0]])))
    assert result.metrics["recall@1"] == 1.0


def test_sample_is_fixed_and_seeded() -> None:
    data = random_split(4)
    first = RankingEvaluator(data, k=(5,), max_users=10, seed=1)
    assert first.users.tolist() == RankingEvaluator(data, max_users=10, seed=1).users.tolist()
    assert first.users.tolist() != RankingEvaluator(data, max_users=10, seed=2).users.tolist()
    assert first.users.tolist() == sorted(set(first.users.tolist())) and len(first.users) == 10
    scorer = Table(torch.randn(40, 60, generator=torch.Generator().manual_seed(0)))
    whole = RankingEvaluator(data, k=(5,), seed=1)(scorer)
    at = torch.searchsorted(whole.users, first.users)
    torch.testing.assert_close(
        first(scorer).per_user["ndcg@5"], whole.per_user["ndcg@5"][at], rtol=0, atol=0
    )
    assert RankingEvaluator(data, max_users=10_000).users.equal(whole.users)


@pytest.mark.parametrize("chunk_bytes", [1, 700, 2**28])
def test_independent_of_chunks(chunk_bytes: int) -> None:
    data = random_split(5)
    scores = Table(torch.randint(0, 3, (40, 60)).float())
    result = RankingEvaluator(data, chunk_bytes=chunk_bytes)(scores)
    expected = RankingEvaluator(data)(scores)
    assert result.metrics == expected.metrics and result.buckets == expected.buckets


def test_subset_of_metrics_and_definitions() -> None:
    evaluator = RankingEvaluator(random_split(0), k=(5, 5), metrics=("ndcg",))
    assert list(evaluator(Table(torch.zeros(40, 60))).metrics) == ["ndcg@5"]
    assert set(RankingEvaluator.definitions) == set(NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": (5, 61)}, "at most the number of items, 60 .got 61."),
        ({"k": (0,)}, "positive integer"),
        ({"k": ()}, "at least one entry"),
        ({"metrics": ("recal",)}, "unknown metric 'recal': did you mean 'recall'"),
        ({"buckets": (5, 1)}, "ascending"),
        ({"max_users": 0}, "'max_users'"),
        ({"chunk_bytes": 0}, "'chunk_bytes'"),
        ({"edge_type": ("user", "buys", "item")}, "no relation"),
    ],
)
def test_bad_arguments(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RankingEvaluator(random_split(0), **arguments)


def test_bad_splits() -> None:
    data = random_split(0)
    del data[MAIN].seen_edge_index
    with pytest.raises(InputError, match="'seen_edge_index' is missing"):
        RankingEvaluator(data)
    with pytest.raises(InputError, match="nothing to predict"):
        RankingEvaluator(make_split(2, 50, [], [], []))
    with pytest.raises(InputError, match=r"needs ids in 0 \.\. 49 in row 1 \(got 50 at column 1\)"):
        RankingEvaluator(make_split(2, 50, [], [], [(0, 1), (1, 50)]))
    with pytest.raises(InputError, match="masked as seen"):
        RankingEvaluator(make_split(2, 50, [], [(0, 1)], [(0, 1)]))
    with pytest.raises(InputError, match="scores 59 items"):
        RankingEvaluator(random_split(0))(Table(torch.zeros(40, 59)))
    with pytest.raises(InputError, match="NaN"):
        RankingEvaluator(random_split(0))(Table(torch.full((40, 60), float("nan"))))
