import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from pyg_mtrec.loader._csr import CSR
from pyg_mtrec.loader._draw import draw_below

# Pairs of overlapping group sets that may be stored: 16 bytes each.
MAX_PAIRS = 1 << 23


class DisjointSampler:
    r"""Draws nodes that share no group with a given node: exactly uniform, without rejection.

    Nodes with the same set of groups form a block. To each set belongs the sorted list of blocks
    that overlap with it, and the :math:`r`-th node outside them is found by one binary search, as
    :class:`~pyg_mtrec.loader.NegativeSampler` does for single destinations.

    Args:
        groups: Node to its distinct groups.
        num_groups: Number of groups.
    """

    def __init__(self, groups: CSR, num_groups: int) -> None:
        num_nodes, device = groups.ptr.numel() - 1, groups.ptr.device
        block = _block_of(groups, num_groups)  # [N]
        size = torch.bincount(block)  # [S]
        start = size.cumsum(0) - size
        self._node = block.argsort(stable=True)  # nodes, block by block
        overlap = _overlap(groups, block, num_groups)
        row, col = (torch.from_numpy(x.astype(np.int64)).to(device) for x in overlap)
        ptr = torch.zeros(size.numel() + 1, dtype=torch.long, device=device)
        ptr[1:] = torch.bincount(row, minlength=size.numel()).cumsum(0)
        # Nodes in excluded blocks before the k-th pair, over all sets.
        before = torch.cat([ptr.new_zeros(1), size[col].cumsum(0)])
        self._block, self._ptr, self._before = block, ptr, before
        self._stride = num_nodes + 1
        self._key = row * self._stride + start[col] - (before[:-1] - before[ptr[row]])
        self._free = num_nodes - (before[ptr[1:]] - before[ptr[:-1]])

    @staticmethod
    def fits(groups: CSR, num_groups: int) -> bool:
        r"""Whether the overlapping sets are few enough to be stored."""
        block = _block_of(groups, num_groups)
        first = _first_of(block)
        sets = torch.bincount(groups.col[first[groups.row]], minlength=num_groups).double()
        return bool((sets**2).sum() <= MAX_PAIRS)

    def nth(self, node: Tensor, rank: Tensor) -> Tensor:
        r"""Returns the ``rank``-th node, in an order of its own, that shares no group."""
        block = self._block[node]
        found = torch.searchsorted(self._key, block * self._stride + rank, right=True)
        place = rank + self._before[found] - self._before[self._ptr[block]]
        return self._node[place.clamp(max=self._node.numel() - 1)]

    def num_free(self, node: Tensor) -> Tensor:
        r"""Returns how many nodes share no group with each node."""
        return self._free[self._block[node]]

    def sample(
        self, node: Tensor, generator: torch.Generator, num: int = 1
    ) -> tuple[Tensor, Tensor]:
        r"""Draws like :meth:`pyg_mtrec.loader.NegativeSampler.sample`."""
        weight = (self.num_free(node) > 0).float()
        if num != 1:
            node = node[:, None].expand(-1, num)
        return self.nth(node, draw_below(self.num_free(node), generator)), weight


def _first_of(block: Tensor) -> Tensor:
    r"""Marks one node of each block."""
    order = block.argsort(stable=True)
    ordered = block[order]
    new = torch.ones_like(block, dtype=torch.bool)
    new[1:] = ordered[1:] != ordered[:-1]
    return torch.empty_like(new).scatter_(0, order, new)


def _block_of(groups: CSR, num_groups: int) -> Tensor:
    r"""Numbers the distinct sets of groups and returns each node's number."""
    degree = groups.degree
    block = torch.zeros_like(degree)
    for position in range(int(degree.max())):
        # A set that ends here keeps its number, a longer one gets a fresh one with its next group.
        active = (degree > position).nonzero().view(-1)
        group = groups.col[groups.ptr[active] + position]
        _, fresh = torch.unique(block[active] * num_groups + group, return_inverse=True)
        block[active] = int(block.max()) + 1 + fresh
    distinct: tuple[Tensor, Tensor] = torch.unique(block, return_inverse=True)
    return distinct[1]


def _overlap(groups: CSR, block: Tensor, num_groups: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Returns the pairs of sets that share a group, sorted."""
    keep = _first_of(block)[groups.row]
    row, col = block[groups.row[keep]].cpu().numpy(), groups.col[keep].cpu().numpy()
    shape = (int(block.max()) + 1, num_groups)
    member = csr_matrix((np.ones(row.size, dtype=np.int32), (row, col)), shape=shape)
    both = (member @ member.T).tocsr()
    both.sort_indices()
    return np.repeat(np.arange(shape[0]), np.diff(both.indptr)), both.indices
