import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines._interactions import INTERACTS, dense_rows, interaction_matrix

_MAX_PAIRS = 4 * 2**20  # co-occurrences formed, or padded, at once


class ItemKNN:
    r"""Scores an item by its cosine similarity to what the user has, over nearest neighbours.

    .. math::
        w_{ij} = \frac{\mathbf x_i^\top \mathbf x_j}
        {\|\mathbf x_i\| \, \|\mathbf x_j\| + h} , \qquad
        s_{uj} = \sum_{i \in \mathcal N_k(j)} x_{ui} \, w_{ij}

    with :math:`\mathbf x_i` the binary column of item :math:`i` and :math:`\mathcal N_k(j)` the
    :math:`k` items most similar to the target :math:`j`, itself left out (item-based
    collaborative filtering, `DOI 10.1145/371920.372071 <https://doi.org/10.1145/371920.372071>`_,
    for implicit feedback). Neighbours that tie at the :math:`k`-th place are drawn by a seeded
    permutation of the items, never by id. Co-occurrences are formed in bounded blocks of target
    items; what is kept has at most :math:`k` entries per item. Everything runs on the CPU.

    Args:
        train: A split whose ``edge_index`` holds the training interactions.
        k: Number of neighbours of each target item.
        shrinkage: The term :math:`h`, which mistrusts similarities of rare items.
        normalize_scores: Divides a target's scores by :math:`\sum_{i \in \mathcal N_k(j)} w_{ij}`.
        seed: Of the permutation that breaks ties.
        edge_type: The relation that is ranked.

    Raises:
        InputError: If ``k`` is not positive or ``shrinkage`` negative.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.baselines import ItemKNN
        >>> train = HeteroData()
        >>> train["user"].num_nodes, train["item"].num_nodes = 2, 2
        >>> train["user", "interacts", "item"].edge_index = torch.tensor([[0, 0, 1], [0, 1, 0]])
        >>> ItemKNN(train, k=1).score(torch.tensor([1]))
        tensor([[0.0000, 0.7071]])
    """

    def __init__(
        self,
        train: HeteroData,
        k: int = 100,
        shrinkage: float = 0.0,
        normalize_scores: bool = False,
        seed: int = 0,
        edge_type: EdgeType = INTERACTS,
    ) -> None:
        if k < 1:
            raise InputError(f"'k' needs to be a positive integer in 'ItemKNN' (got {k})")
        if not shrinkage >= 0.0:
            raise InputError(f"'shrinkage' needs to be non-negative in 'ItemKNN' (got {shrinkage})")
        self.k = k
        self.shrinkage = shrinkage
        self.normalize_scores = normalize_scores
        self.x = interaction_matrix(train, edge_type)
        self.similarity = self._fit(seed)

    def _fit(self, seed: int) -> sp.csr_array:
        num_items = self.num_items
        generator = torch.Generator().manual_seed(seed)
        # Items are renamed by lot, so that "the first of equals" below is a fair draw.
        item_of = torch.randperm(num_items, generator=generator, dtype=torch.int32).numpy()
        x = self.x[:, item_of]
        x.sort_indices()
        transposed = x.T.tocsr()
        degree = np.diff(transposed.indptr).astype(np.float64)
        # pairs formed for a target: the lengths of its users' lists
        pairs = transposed @ np.diff(x.indptr).astype(np.float64)
        block_of = (np.cumsum(pairs) // _MAX_PAIRS).astype(np.int64)
        ends = np.append(np.flatnonzero(np.diff(block_of)) + 1, num_items)

        targets, neighbours, weights = [], [], []
        start = 0
        for stop in ends.tolist():
            count = sp.csr_array(transposed[start:stop] @ x)  # [targets, I]
            count.sort_indices()
            target = np.repeat(np.arange(start, stop), np.diff(count.indptr))
            # one root of the exact product, so that equal cosines come out equal
            norms = np.sqrt(degree[target] * degree[count.indices])
            weight = count.data / (norms + self.shrinkage)
            weight[target == count.indices] = 0.0
            keep = _keep_largest(weight, count.indptr, self.k)
            targets.append(item_of[target[keep]])
            neighbours.append(item_of[count.indices[keep]])
            weights.append(weight[keep].astype(np.float32))
            start = stop
        row, column, weight = (_join(parts) for parts in (neighbours, targets, weights))
        if self.normalize_scores:
            total = np.bincount(column, weights=weight, minlength=num_items)
            weight = (weight / total[column]).astype(np.float32)
        return sp.csr_array((weight, (row, column)), shape=(num_items, num_items))

    @property
    def num_items(self) -> int:
        r"""The size of the catalogue."""
        return int(self.x.shape[1])

    def score(self, user_ids: Tensor) -> Tensor:
        r"""Scores all items for some users.

        Args:
            user_ids: Users of shape :math:`[b]`.

        Returns:
            Scores of shape :math:`[b, I]` in float32.
        """
        return dense_rows(self.x, user_ids, self.similarity)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_items={self.num_items}, k={self.k}, "
            f"shrinkage={self.shrinkage}, normalize_scores={self.normalize_scores})"
        )


def _join(parts: list[np.ndarray]) -> np.ndarray:
    """Concatenates and lets go of the parts, which would else stay beside the result."""
    joined = np.concatenate(parts)
    parts.clear()
    return joined


def _keep_largest(weight: np.ndarray, ptr: np.ndarray, k: int) -> np.ndarray:
    """Marks the ``k`` largest positive weights of each list, the first of equals at the end."""
    keep = weight > 0.0
    length = np.diff(ptr)
    long = np.flatnonzero(length > k)
    long = long[np.argsort(length[long], kind="stable")]  # neighbours in length: little padding
    values = torch.from_numpy(weight)
    while long.size > 0:
        # the longest list of the next few decides the width of all of them
        fit = np.arange(1, long.size + 1) * length[long] <= _MAX_PAIRS
        size = max(1, int(np.count_nonzero(fit)))
        chosen, long = torch.from_numpy(long[:size]), long[size:]
        start, stop = torch.from_numpy(ptr)[chosen].long(), torch.from_numpy(ptr)[chosen + 1].long()
        at = start.unsqueeze(1) + torch.arange(int((stop - start).max()))  # [c, width]
        inside = at < stop.unsqueeze(1)
        at = at.clamp(max=weight.size - 1)
        padded = torch.where(inside, values[at], 0.0)
        last = padded.topk(k, dim=1).values[:, -1:]
        above, equal = padded > last, (padded == last) & (padded > 0.0)
        room = k - above.sum(dim=1, keepdim=True)
        chosen_now = above | (equal & (equal.cumsum(dim=1) <= room))
        keep[at[inside].numpy()] = chosen_now[inside].numpy()
    return keep
