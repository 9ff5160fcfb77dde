"""Who is cold, and which interaction plays which role: the draws behind a cold-start split."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import _strategies as strategies
from pyg_mtrec.transforms._stores import edges, num_nodes

# Roles of an interaction; the first three are the parts of the strategies.
TRAIN, VAL, WARM, FEW, ZERO, COLD_ITEMS, SUPPORT, VAL_SUPPORT, UNUSED = range(9)
BUCKETS = {"warm": WARM, "few": FEW, "zero": ZERO, "cold-items": COLD_ITEMS}
SHARES = {"few": "few_users", "zero": "zero_users", "cold-items": "cold_items"}
Masks = tuple[Tensor, Tensor]  # of the nodes that are cold in test, and in validation
NAME = "ColdStartSplit"


def linked(data: HeteroData, edge_type: EdgeType, node_type: str) -> Tensor:
    r"""Returns a mask of the nodes with an edge to another node outside of user-item relations."""
    device = data[edge_type].edge_index.device
    found = torch.zeros(num_nodes(data, node_type), dtype=torch.bool, device=device)
    for other in data.edge_types:
        if {other[0], other[2]} == {edge_type[0], edge_type[2]} or "edge_index" not in data[other]:
            continue
        edge_index = edges(data, other, NAME)
        if other[0] == other[2]:
            edge_index = edge_index[:, edge_index[0] != edge_index[1]]
        for ids, end in zip(edge_index, (other[0], other[2]), strict=True):
            if end == node_type:
                found[ids] = True
    return found


@dataclass
class ColdStart:
    r"""Draws cold items, then users without and with support, then the warm users' parts.

    After :meth:`draw`, ``role`` says what every interaction is for :math:`[E]`, ``cold`` masks the
    users and the items without training interactions, ``items`` are the cold items of the test,
    and ``counts`` tells for every cold bucket how many nodes could be drawn.

    Args:
        data: The graph, without repeated pairs.
        edge_type: The relation to split.
        shares: Share of the eligible nodes that every cold bucket takes.
        num_support: Interactions that a user keeps for inference; all of training if ``None``.
        min_degree: Least interactions of a cold node.
        val_buckets: Cold buckets for which validation draws as many nodes again.
        fractions: Of the warm users' interactions.
        given: The part of every interaction in the published split, if that is used.
        generator: Where all randomness comes from.
    """

    data: HeteroData
    edge_type: EdgeType
    shares: dict[str, float]
    num_support: int | None
    min_degree: int
    val_buckets: Sequence[str]
    fractions: strategies.Fractions
    given: Tensor | None
    generator: torch.Generator
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def draw(self) -> None:
        r"""Draws everything."""
        src, dst = self.data[self.edge_type].edge_index
        num_src, num_dst = (num_nodes(self.data, self.edge_type[end]) for end in (0, 2))
        if self.given is None:  # everything of a cold user that is not support is asked for
            may_support = may_label = torch.ones_like(src, dtype=torch.bool)
        else:
            may_support, may_label = self.given == TRAIN, self.given == WARM

        fit = _count(dst, num_dst) >= self.min_degree
        fit &= _count(dst[may_label], num_dst) > 0
        tie = linked(self.data, self.edge_type, self.edge_type[2])
        items = self._take("cold-items", self._order(num_dst), fit, fit & tie)
        # A pair of a cold user and a cold item is in no bucket.
        on_warm = ~(items[0] | items[1])[dst]
        may_support, may_label = may_support & on_warm, may_label & on_warm

        order, labels = self._order(num_src), _count(src[may_label], num_src)
        fit = (_count(src[on_warm], num_src) >= self.min_degree) & (labels > 0)
        tie = linked(self.data, self.edge_type, self.edge_type[0])
        zero = self._take("zero", order, fit, fit & tie)
        need = self.num_support or 1
        fit &= _count(src[may_support], num_src) >= need
        if self.given is None:  # support is taken from what would be labels
            fit &= labels > need
        few = self._take("few", order, fit, fit, zero[0] | zero[1])

        self.items = items[0].nonzero().view(-1)
        self.cold = zero[0] | zero[1] | few[0] | few[1], items[0] | items[1]
        self.role = self._roles(src, dst, may_support, may_label, (zero, few, items))

    def _roles(
        self,
        src: Tensor,
        dst: Tensor,
        may_support: Tensor,
        may_label: Tensor,
        nodes: tuple[Masks, Masks, Masks],
    ) -> Tensor:
        zero, few, items = nodes
        seat = self._order(src.numel())
        warm = ~self.cold[0][src] & ~self.cold[1][dst]
        role = torch.full_like(src, UNUSED)
        if self.given is None:
            role[warm] = strategies.per_user(src[warm], self.fractions, self.generator)
        else:
            role[warm] = self.given[warm]
        in_training = _count(src[role == TRAIN], self.cold[0].numel()) > 0
        role[~in_training[src]] = UNUSED  # nobody is warm of whom nothing is known

        for mask, label in zip(zero, (ZERO, VAL), strict=True):
            role[may_label & mask[src]] = label
        support = (may_support & (few[0] | few[1])[src]).nonzero().view(-1)
        if self.num_support is not None:
            rank, _ = strategies.rank_per_user(src[support], seat[support].argsort())
            support = support[rank < self.num_support]
        kept = torch.zeros_like(warm)
        kept[support] = True
        for mask, label, own in zip(few, (FEW, VAL), (SUPPORT, VAL_SUPPORT), strict=True):
            role[may_label & mask[src]] = label
            role[kept & mask[src]] = own
        asked = in_training[src] & (True if self.given is None else self.given == WARM)
        for mask, label in zip(items, (COLD_ITEMS, VAL), strict=True):
            role[asked & mask[dst]] = label
        return role

    def _take(
        self, bucket: str, order: Tensor, fit: Tensor, eligible: Tensor, taken: Tensor | None = None
    ) -> Masks:
        """The first nodes of ``order`` that are eligible and not taken, for test and validation."""
        masks = torch.zeros_like(fit), torch.zeros_like(fit)
        share = self.shares[bucket]
        if share == 0:
            return masks
        free = eligible if taken is None else eligible & ~taken
        pool = order[free[order]]
        without = int((fit & ~eligible).sum())
        wanted = 1 + (bucket in self.val_buckets)
        if pool.numel() < wanted:
            reason = f", {without} more have no other relation" if without else ""
            raise InputError(
                f"{SHARES[bucket]!r} of {NAME!r} needs {wanted} nodes with enough interactions "
                f"(found {pool.numel()}{reason}): ask for less or pass {SHARES[bucket]}=0"
            )
        # The little extra keeps 0.29 * 100 from being a hair below 29.
        size = max(1, int(share * int(eligible.sum()) + 1e-9))
        size = min(size, pool.numel() // wanted)
        for number, mask in enumerate(masks[:wanted]):
            mask[pool[number * size : (number + 1) * size]] = True
        self.counts[bucket] = {"eligible": int(eligible.sum())}
        if bucket != "few":
            self.counts[bucket]["without_relation"] = without
        return masks

    def _order(self, size: int) -> Tensor:
        order = torch.randperm(size, generator=self.generator)
        return order.to(self.data[self.edge_type].edge_index.device)


def _count(index: Tensor, size: int) -> Tensor:
    return torch.bincount(index, minlength=size)
