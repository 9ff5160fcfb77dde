from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._candidates import Candidates
from pyg_mtrec.metrics._item_lists import ItemLists
from pyg_mtrec.metrics._ranking_metrics import DEFINITIONS, per_user
from pyg_mtrec.metrics._split_labels import SplitLabels
from pyg_mtrec.metrics._top_k import CHUNK_BYTES, check_k, iter_top_k
from pyg_mtrec.metrics.ranking_result import RankingResult
from pyg_mtrec.metrics.scorer import Scorer


class RankingEvaluator:
    r"""Ranks the whole catalogue for every user of a split, exactly, and averages over users.

    Seen items (``seen_edge_index``) are masked, what is left is ranked by score with ties broken
    by a seeded permutation of the items (never by id), and the top :math:`k` are held against the
    relevant items :math:`R_u` (``edge_label_index``, duplicates merged). With
    :math:`h_r \in \{0, 1\}` the hit at rank :math:`r` and :math:`m = \min(k, |R_u|)`:

    .. math::
        \text{Recall} &= \tfrac{1}{|R_u|} \sum_{r \le k} h_r &
        \text{Precision} &= \tfrac{1}{k} \sum_{r \le k} h_r \\
        \text{NDCG} &= \frac{\sum_{r \le k} h_r / \log_2(r + 1)}{\sum_{r \le m} 1 / \log_2(r + 1)} &
        \text{HitRatio} &= \max_{r \le k} h_r \\
        \text{MRR} &= \max_{r \le k} h_r / r &
        \text{MAP} &= \tfrac{1}{m} \sum_{r \le k} h_r \tfrac{1}{r} \sum_{s \le r} h_s

    and coverage is the share of the catalogue that at least one evaluated user is shown. Users
    without labels are dropped and counted. Lists shorter than :math:`k` (fewer unseen items) are
    filled with places that never count as hits.

    All metrics come from one matrix of hits: the counterparts in :obj:`torch_geometric.metrics`
    keep no value per user, take the padding :math:`-1` for the previous user's last item and
    would match items and labels once more for each; the tests hold ours equal to them.

    Where the split names ``candidate_items``, nothing else is ranked.

    Scores are formed for a bounded chunk of users at a time, in the scorer's precision.

    Args:
        data: A split made by :class:`~pyg_mtrec.transforms.SplitInteractions`.
        k: The cuts.
        metrics: Names of metrics, a subset of ``RankingEvaluator.definitions`` (default: all).
        buckets: Upper ends of the history-length buckets, ascending; ``(0, 5)`` makes ``"0"``,
            ``"1-5"`` and ``"6+"``. History is what the user has in ``edge_index``.
        max_users: Evaluates a fixed sample of at most so many labelled users (default: all).
        seed: Of the sample and of the permutation that breaks ties.
        chunk_bytes: Bound of one chunk of float32 scores.
        edge_type: The relation that is ranked.

    Raises:
        InputError: If the split lacks what is read, has ids outside the graph or nothing to
            predict, a cut exceeds the catalogue, or an argument is out of range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 2, 3
        >>> store = data["user", "interacts", "item"]
        >>> store.edge_index = store.seen_edge_index = torch.tensor([[0, 1], [0, 1]])
        >>> store.edge_label_index = torch.tensor([[0, 1], [2, 2]])
        >>> evaluator = RankingEvaluator(data, k=(1,), metrics=("recall", "coverage"))
        >>> x = torch.tensor([[3.0], [1.0], [2.0]])
        >>> evaluator(DotProductScorer(torch.ones(2, 1), x)).metrics
        {'recall@1': 0.5, 'coverage@1': 0.6666666666666666}
    """

    definitions = DEFINITIONS

    def __init__(
        self,
        data: HeteroData,
        k: Sequence[int] = (5, 10, 20, 40),
        metrics: Sequence[str] = tuple(DEFINITIONS),
        buckets: Sequence[int] = (0, 5, 10, 20, 50),
        max_users: int | None = None,
        seed: int = 0,
        chunk_bytes: int = CHUNK_BYTES,
        edge_type: EdgeType = ("user", "interacts", "item"),
    ) -> None:
        self.k = tuple(dict.fromkeys(k))
        self.metrics = tuple(dict.fromkeys(metrics))
        self.seed = seed
        self.chunk_bytes = chunk_bytes
        self.bucket_ends = tuple(buckets)
        self._check(max_users)

        labels = SplitLabels(data, edge_type)
        for cut in self.k:
            check_k(cut, labels.num_items)
        self.num_items = labels.num_items
        self.num_users_without_labels = labels.num_users - labels.users.numel()
        self.num_masked_labels = labels.num_masked
        users = labels.users
        if max_users is not None and users.numel() > max_users:
            generator = torch.Generator().manual_seed(seed)
            users = users[torch.randperm(users.numel(), generator=generator)[:max_users]]
            users = users.sort().values
        self.users = users  # [n]
        self.history = labels.history[users]  # [n]
        self._relevant = ItemLists(labels.relevant, labels.num_users)
        self._seen = ItemLists(labels.seen, labels.num_users)
        self._candidates = labels.candidates

    def _check(self, max_users: int | None) -> None:
        if not self.k or not self.metrics:
            raise InputError("'k' and 'metrics' need at least one entry in 'RankingEvaluator'")
        for name in self.metrics:
            if name not in DEFINITIONS:
                near = get_close_matches(name, DEFINITIONS, 1) or [", ".join(DEFINITIONS)]
                raise InputError(f"unknown metric '{name}': did you mean '{near[0]}'?")
        ends = self.bucket_ends
        if any(end < 0 for end in ends) or list(ends) != sorted(set(ends)):
            raise InputError(
                "'buckets' needs ascending, non-negative history lengths in 'RankingEvaluator' "
                f"(got {ends})"
            )
        if max_users is not None and max_users < 1:
            raise InputError(f"'max_users' needs to be positive (got {max_users})")
        if self.chunk_bytes < 1:
            raise InputError(f"'chunk_bytes' needs to be positive (got {self.chunk_bytes})")

    def __call__(self, scorer: Scorer) -> RankingResult:
        r"""Ranks all items for all users of the split.

        Args:
            scorer: What ranks.

        Returns:
            The metrics, their parts per history length and per user.

        Raises:
            InputError: If the scorer's catalogue is another or a score is NaN.
        """
        if scorer.num_items != self.num_items:
            raise InputError(
                f"'{type(scorer).__name__}' scores {scorer.num_items} items, but the split has "
                f"{self.num_items}: use the graph that it was trained on"
            )
        if self._candidates is not None:
            scorer = Candidates(scorer, self._candidates)
            others = torch.ones(self.num_items, dtype=torch.bool)
            others[self._candidates] = False
        bucket = torch.bucketize(self.history, torch.tensor(self.bucket_ends, dtype=torch.long))
        num_users, num_buckets = self.users.numel(), len(self.bucket_ends) + 1
        names = [name for name in self.metrics if name != "coverage"]
        values = {f"{name}@{k}": torch.empty(num_users) for name in names for k in self.k}
        shown = torch.zeros(num_buckets, len(self.k), self.num_items, dtype=torch.bool)

        start = 0
        lists = iter_top_k(scorer, self.users, max(self.k), self._seen, self.seed, self.chunk_bytes)
        for _, items in lists:
            items = items.cpu()  # [b, max k]
            if self._candidates is not None:
                items = items.masked_fill(others[items], -1)  # a list that ran out of candidates
            stop = start + items.size(0)
            hits, num_relevant = self._hits(self.users[start:stop], items)
            for position, k in enumerate(self.k):
                found = per_user(hits, num_relevant, k)
                for name in names:
                    values[f"{name}@{k}"][start:stop] = found[name]
                if "coverage" in self.metrics:
                    place = bucket[start:stop].unsqueeze(1).expand(-1, k)
                    real = items[:, :k] >= 0
                    shown[place[real], position, items[:, :k][real]] = True
            start = stop

        buckets: dict[str, dict[str, float]] = {}
        for index, name in enumerate(self._bucket_names()):
            mask = bucket == index
            buckets[name] = {"users": int(mask.sum())}
            if buckets[name]["users"] > 0:
                buckets[name] |= self._means(values, mask, shown[index])
        return RankingResult(
            metrics=self._means(values, slice(None), shown.any(dim=0)),
            per_user=values,
            users=self.users,
            history=self.history,
            buckets=buckets,
            num_users_without_labels=self.num_users_without_labels,
            num_masked_labels=self.num_masked_labels,
        )

    def _hits(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        row, relevant = self._relevant.gather(users)
        keys = row * self.num_items + relevant  # ascending: rows are, and items within them
        first = torch.arange(users.numel()).unsqueeze(1) * self.num_items
        wanted = (first + items).masked_fill(items < 0, -1)  # -1 equals no key
        at = torch.searchsorted(keys, wanted).clamp(max=keys.numel() - 1)
        return keys[at] == wanted, torch.bincount(row, minlength=users.numel())

    def _means(
        self, values: dict[str, Tensor], users: Tensor | slice, shown: Tensor
    ) -> dict[str, float]:
        means = {}
        for name in self.metrics:
            for position, k in enumerate(self.k):
                key = f"{name}@{k}"
                if name == "coverage":
                    means[key] = int(shown[position].sum()) / self.num_items
                else:
                    means[key] = float(values[key][users].double().mean())
        return means

    def _bucket_names(self) -> list[str]:
        starts = [0, *(end + 1 for end in self.bucket_ends)]
        names = [
            str(end) if start == end else f"{start}-{end}"
            for start, end in zip(starts, self.bucket_ends, strict=False)
        ]
        return [*names, f"{starts[-1]}+"]

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_users={self.users.numel()}, "
            f"num_items={self.num_items}, k={self.k})"
        )
