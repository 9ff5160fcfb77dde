import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._csr import to_csr
from pyg_mtrec.loader._disjoint_sampler import DisjointSampler
from pyg_mtrec.loader._draw import draw_below
from pyg_mtrec.loader._relation import count_nodes, positives_of
from pyg_mtrec.loader.batch import Batch
from pyg_mtrec.loader.negative_sampler import NegativeSampler
from pyg_mtrec.loader.sampler import Sampler


class GroupPartnerSampler(Sampler):
    r"""Around a node: another member of one of its groups, and nodes that share no group with it.

    A positive is drawn in two steps, both uniform: one of the node's groups that have another
    member, then one of these others. Its own stream runs over the (node, group) pairs of groups
    with at least two members. Negatives are uniform over the nodes that share no group with the
    anchor (nodes without any group included). Where that is too large to prepare (``exact`` is
    then false) they are uniform over the nodes outside the group through which the positive was
    drawn, and may share another one.

    Args:
        data: The graph.
        edge_type: The relation ``(node, name, group)``.
        generator: Source of all randomness, on the device of the data.
        num_negatives: Independent negatives per anchor.
        anchored: Whether, as an auxiliary task, it samples around the main batch.

    Raises:
        InputError: If the relation is missing or an id is out of range.
    """

    def __init__(
        self,
        data: HeteroData,
        edge_type: EdgeType,
        generator: torch.Generator,
        num_negatives: int = 1,
        anchored: bool = True,
    ) -> None:
        if num_negatives < 1:
            raise InputError(
                "'num_negatives' needs to be positive in 'GroupPartnerSampler'"
                f" (got {num_negatives})"
            )
        node_type, _, group_type = edge_type
        node, group = positives_of(data, edge_type).edge_index
        num_nodes, num_groups = count_nodes(data, node_type), count_nodes(data, group_type)
        groups = to_csr(node, group, num_nodes, num_groups)
        members = to_csr(group, node, num_groups, num_nodes)
        shared = members.degree[groups.col] > 1  # [E], false for groups of one
        super().__init__(
            (node_type, f"same_{group_type}", node_type),
            int(shared.sum()),
            generator,
            anchored,
            node.device,
        )
        self.num_negatives = num_negatives
        self._member, self._first = members.col, members.ptr[:-1]
        self._others = members.degree - 1
        # Pairs in the order of nodes, and where the node stands among its group's members.
        order = (members.col * num_groups + members.row).argsort()
        self._node, self._group = groups.row[shared], groups.col[shared]
        self._rank = members.rank[order][shared]
        self._degree = torch.bincount(self._node, minlength=num_nodes)
        self._start = self._degree.cumsum(0) - self._degree
        self.exact = DisjointSampler.fits(groups, num_groups)
        self._negatives: DisjointSampler | NegativeSampler = (
            DisjointSampler(groups, num_groups)
            if self.exact
            else NegativeSampler(torch.stack([group, node]), num_groups, num_nodes)
        )

    def sample(self, index: Tensor, size: int) -> Batch:
        batch = self._triplets(self._node[index], index, size)
        batch.edge_id = index
        return batch

    def sample_anchored(self, main: Batch, size: int) -> Batch:
        anchor, weight = self.anchors(main)  # [b]
        degree = self._degree[anchor]
        if self.num_edges == 0:
            return Batch(self.edge_type, size, anchor, anchor, anchor, weight=weight * 0)
        pair = self._start[anchor] + draw_below(degree, self.generator)
        pair = pair.clamp(max=self.num_edges - 1)  # of the last nodes, if they have none
        return self._triplets(anchor, pair, size, weight * (degree > 0))

    def _triplets(
        self, anchor: Tensor, pair: Tensor, size: int, weight: Tensor | None = None
    ) -> Batch:
        group = self._group[pair]
        other = draw_below(self._others[group], self.generator)
        other = other + (other >= self._rank[pair])  # skips the anchor itself
        partner = self._member[self._first[group] + other]
        negative, drawn = self._negatives.sample(
            anchor if self.exact else group, self.generator, self.num_negatives
        )
        weight = drawn if weight is None else weight * drawn
        return Batch(self.edge_type, size, anchor, partner, negative, weight=weight)
