import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import _cold_start as roles
from pyg_mtrec.transforms import _strategies as strategies
from pyg_mtrec.transforms._cold_graphs import count_buckets, count_roles, message_graph
from pyg_mtrec.transforms._leak import other_relations
from pyg_mtrec.transforms._split_graphs import labelled
from pyg_mtrec.transforms._split_options import (
    Behaviours,
    ValFrom,
    check_choice,
    check_fractions,
    check_val_fraction,
    published_split,
)
from pyg_mtrec.transforms._stores import MAIN, refuse_derived, unique_pairs

ColdStrategy = Literal["per-user", "given"]
ColdBucket = Literal["few", "zero", "cold-items"]
RankAmong = Literal["all", "cold-items"]
_NAME = roles.NAME


class ColdStartSplit(BaseTransform):
    r"""Splits the interactions so that some users and items are new when the model is used.

    The test is a dictionary of graphs, one for every bucket:

    * ``"warm"``: users who have training interactions; a part of theirs is held out, as in
      :class:`~pyg_mtrec.transforms.SplitInteractions`.
    * ``"few"``: users who are unseen in training. On this graph ``edge_index`` holds
      ``num_support`` interactions of each on top of the training interactions.
    * ``"zero"``: users without any interaction. Only users with an edge to another node in a
      relation other than those between users and items are drawn, be it trust or a group; it is
      all that can tell of them.
    * ``"cold-items"``: items without any interaction, asked for by warm users. Likewise only items
      with an edge in another relation (a category, bought together) are drawn.

    Cold items are drawn first, then the users of ``"zero"``, then of ``"few"``. The interactions
    of a cold user with a cold item, and those of users of whom training then knows nothing, are
    in no bucket; ``split_report`` counts them as unused. How the rest is held out:

    * ``"per-user"``: warm users as in ``SplitInteractions("per-user", fractions)``; everything of
      a cold user that is not support, and everything of a cold item, is to be predicted.
    * ``"given"``: the published split. Only its test pairs are to be predicted, support comes from
      its training pairs. Its missing validation is drawn as in ``SplitInteractions("given")``.

    No held-out pair is a message edge, in either direction; of cold users and items there is
    nothing at all in the other relations between users and items, except, where support is known,
    what concerns these very pairs. Relations of other kinds stay complete on all graphs.

    The protocol of `UPRTH <https://arxiv.org/abs/2310.13286>`_'s code, half of the test users lose
    their interactions in training and get them back for inference, is
    ``ColdStartSplit("given", few_users=0.5, zero_users=0, cold_items=0, num_support=None)``: users
    of both ``"warm"`` and ``"few"`` are scored with the representations from the edges of
    ``tests["few"]``, and the two results averaged by their numbers of users. (There the second
    half of the file is cold; here the seed decides.)

    Args:
        strategy: ``"per-user"`` or ``"given"``.
        fractions: Shares of training, validation and test of a warm user, for ``"per-user"``.
        few_users: Share of users for ``"few"``, of those with enough interactions.
        zero_users: Share of users for ``"zero"``, of those with another relation.
        cold_items: Share of items for ``"cold-items"``, of those with another relation. A share
            of zero leaves the bucket out; any other draws one node at least.
        num_support: Interactions that a user of ``"few"`` has at inference. ``None`` gives back
            all published training interactions (``"given"`` only).
        min_degree: Least number of distinct interactions of a cold user or item; with
            ``"per-user"``, users of ``"few"`` have at least ``num_support + 1`` anyway. A value
            above the largest ``num_support`` draws the same users for all of them.
        val_buckets: Cold buckets that validation holds too, beside the warm users: as many nodes
            again as for test. Their support is in ``edge_index`` of the validation graph. By
            default a model is selected on warm users alone.
        rank_among: ``"cold-items"`` writes the ids of the cold items to ``candidate_items`` in the
            store of ``edge_type`` of ``tests["cold-items"]``: nothing else is to be ranked there.
            By default, ``"all"``, they compete with the whole catalogue.
        seed: Seed of the draws, which are the same on every device.
        edge_type: The relation to split, between two node types.
        val_fraction: As in :class:`~pyg_mtrec.transforms.SplitInteractions`.
        val_from: As in :class:`~pyg_mtrec.transforms.SplitInteractions`.
        behaviours: As there; ``"keep"`` leaves all other relations between users and items (not
            the reverse) as they are, also those of cold users and items.

    Returns:
        ``train, val, tests`` with the fields of
        :class:`~pyg_mtrec.transforms.SplitInteractions`; ``tests`` has a graph for every bucket.
        ``seen_edge_index`` is the training, then validation and the bucket's support in addition.
        ``split_report["buckets"]`` counts the users or items of every bucket, the labels, how many
        nodes were eligible and how many were not for want of another relation.

    Raises:
        InputError: If an argument is out of range, no node can be drawn for a bucket, nothing is
            left for training or to be predicted, and as in
            :class:`~pyg_mtrec.transforms.SplitInteractions`.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import ColdStartSplit
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 4, 5
        >>> pairs = torch.cartesian_prod(torch.arange(4), torch.arange(5)).t().contiguous()
        >>> data['user', 'interacts', 'item'].edge_index = pairs
        >>> data['user', 'trusts', 'user'].edge_index = torch.tensor([[3], [0]])
        >>> split = ColdStartSplit(few_users=0.25, cold_items=0, num_support=2)
        >>> train, val, tests = split(data)
        >>> {name: test.split_report['buckets'][name]['users'] for name, test in tests.items()}
        {'warm': 2, 'few': 1, 'zero': 1}
        >>> [int(test['user', 'interacts', 'item'].edge_index.size(1)) for test in tests.values()]
        [6, 8, 6]
    """

    def __init__(
        self,
        strategy: ColdStrategy = "per-user",
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        few_users: float = 0.1,
        zero_users: float = 0.1,
        cold_items: float = 0.1,
        num_support: int | None = 5,
        min_degree: int = 1,
        val_buckets: Sequence[ColdBucket] = (),
        rank_among: RankAmong = "all",
        seed: int = 0,
        edge_type: EdgeType = MAIN,
        val_fraction: float | None = None,
        val_from: ValFrom = "train",
        behaviours: Behaviours = "drop",
    ) -> None:
        for name, value, choices in (
            ("strategy", strategy, ColdStrategy),
            ("rank_among", rank_among, RankAmong),
            ("behaviours", behaviours, Behaviours),
            *(("val_buckets", bucket, ColdBucket) for bucket in val_buckets),
        ):
            check_choice(name, value, choices, _NAME)
        self.shares = {"few": few_users, "zero": zero_users, "cold-items": cold_items}
        for bucket, share in self.shares.items():
            if not 0 <= share < 1:
                raise InputError(
                    f"{roles.SHARES[bucket]!r} needs to be in [0, 1) in {_NAME!r} (got {share})"
                )
            if share == 0 and bucket in val_buckets:
                raise InputError(
                    f"'val_buckets' names {bucket!r}, but {roles.SHARES[bucket]!r} is 0 in "
                    f"{_NAME!r}: give it a share or take it out"
                )
        if num_support is None and strategy != "given":
            raise InputError(
                f"'num_support' None needs the 'given' strategy in {_NAME!r} (got {strategy!r}): "
                "pass a number"
            )
        for name, number in (("num_support", num_support), ("min_degree", min_degree)):
            if number is not None and number < 1:
                raise InputError(f"{name!r} needs to be at least 1 in {_NAME!r} (got {number})")
        self.strategy = strategy
        self.fractions = check_fractions(fractions, _NAME)
        self.num_support = num_support
        self.min_degree = min_degree
        self.val_buckets = tuple(val_buckets)
        self.rank_among = rank_among
        self.seed = seed
        self.edge_type = edge_type
        self.val_fraction = check_val_fraction(val_fraction, val_from, strategy, _NAME)
        self.val_from = val_from
        self.behaviours = behaviours

    def forward(self, data: HeteroData) -> tuple[HeteroData, HeteroData, dict[str, HeteroData]]:
        data, num_rows = unique_pairs(data, self.edge_type, _NAME)
        others = other_relations(data, self.edge_type, "drop")
        refuse_derived(data, [self.edge_type, *others], _NAME)
        drawn = self._draw(data)
        edge_index, role = data[self.edge_type].edge_index, drawn.role
        report = self._report(num_rows, drawn)
        report["buckets"] = count_buckets(edge_index, drawn)

        def split(graph: HeteroData, label: int, *seen: int) -> HeteroData:
            position = (role == label).nonzero().view(-1)
            pairs, masked = edge_index[:, position], torch.isin(role, role.new_tensor(seen))
            out = labelled(data, graph, self.edge_type, position, pairs, edge_index[:, masked])
            out.split_report = copy.deepcopy(report)
            return out

        same = (data, self.edge_type, drawn, self.behaviours)
        graph = message_graph(*same, counts=report)
        train = split(graph, roles.TRAIN, roles.TRAIN)
        val_graph = graph
        if "few" in self.val_buckets:
            val_graph = message_graph(*same, support=roles.VAL_SUPPORT)
        val = split(val_graph, roles.VAL, roles.TRAIN, roles.VAL_SUPPORT)
        tests = {}
        for bucket in report["buckets"]:
            seen, test_graph = [roles.TRAIN, roles.VAL], graph
            if bucket == "few":
                test_graph = message_graph(*same, support=roles.SUPPORT)
                seen.append(roles.SUPPORT)
            tests[bucket] = split(test_graph, roles.BUCKETS[bucket], *seen)
        if self.rank_among == "cold-items" and "cold-items" in tests:
            tests["cold-items"][self.edge_type].candidate_items = drawn.items
        return train, val, tests

    def _draw(self, data: HeteroData) -> roles.ColdStart:
        generator, given = torch.Generator().manual_seed(self.seed), None
        if self.strategy == "given":
            given = strategies.given(
                published_split(data, self.edge_type),
                data[self.edge_type].edge_index[0],
                self.val_from,
                self.val_fraction,
                generator,
            )
        drawn = roles.ColdStart(
            data,
            self.edge_type,
            self.shares,
            self.num_support,
            self.min_degree,
            self.val_buckets,
            self.fractions,
            given,
            generator,
        )
        drawn.draw()
        if not bool((drawn.role == roles.TRAIN).any()):
            raise InputError(
                f"{_NAME!r} leaves nothing of {self.edge_type} for training "
                f"({drawn.role.numel()} interactions): choose smaller shares"
            )
        return drawn

    def _report(self, num_rows: int, drawn: roles.ColdStart) -> dict[str, Any]:
        return {
            "strategy": self.strategy,
            "fractions": list(self.fractions),
            "few_users": self.shares["few"],
            "zero_users": self.shares["zero"],
            "cold_items": self.shares["cold-items"],
            "num_support": self.num_support,
            "min_degree": self.min_degree,
            "val_buckets": list(self.val_buckets),
            "rank_among": self.rank_among,
            "val_fraction": self.val_fraction,
            "val_from": self.val_from,
            "seed": self.seed,
            "message_edges": "train",
            "behaviours": self.behaviours,
            "duplicates_dropped": num_rows - drawn.role.numel(),
            "behaviours_dropped": {},
            "behaviours_kept": {},
            **count_roles(drawn.role),
        }

    def __repr__(self) -> str:
        shares = ", ".join(f"{roles.SHARES[name]}={share}" for name, share in self.shares.items())
        return (
            f"{type(self).__name__}(strategy={self.strategy!r}, {shares}, "
            f"num_support={self.num_support}, seed={self.seed})"
        )
