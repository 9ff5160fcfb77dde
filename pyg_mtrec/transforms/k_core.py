import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._relabel import relabel
from pyg_mtrec.transforms._stores import MAIN, bipartite, first_of_each, num_nodes, pair_keys


class KCore(BaseTransform):
    r"""Keeps the :math:`k`-core of the interactions.

    That is the largest part in which every user and every item has at least :math:`k` partners.
    Users and items with fewer than :math:`k` distinct partners are removed, both sides at once,
    until none is left to remove: the core does not depend on the order of removal
    (`Seidman, 1983 <https://doi.org/10.1016/0378-8733(83)90028-X>`_).

    .. math::
        U_{t+1} = \{u \in U_t : |N(u) \cap I_t| \ge k\}, \qquad
        I_{t+1} = \{i \in I_t : |N(i) \cap U_t| \ge k\}

    The nodes that stay are numbered anew in their former order. All relations and all attributes
    of nodes and edges follow; ``raw_id`` still names the nodes. Other node types stay complete.

    Args:
        k: Least number of partners, at least 1.
        edge_type: The relation that counts.

    Returns:
        A new graph; the given one is left as it was.

    Raises:
        InputError: If nothing is left, :math:`k` is below 1, or the relation is missing, joins a
            node type with itself, or names nodes that do not exist.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import KCore
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 3, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor(
        ...     [[0, 0, 2, 2, 2, 1], [1, 2, 1, 2, 0, 0]])
        >>> core = KCore(k=2)(data)
        >>> core['user'].raw_id, core['item'].raw_id
        (tensor([0, 2]), tensor([1, 2]))
        >>> core['user', 'interacts', 'item'].edge_index
        tensor([[0, 0, 1, 1],
                [0, 1, 0, 1]])
    """

    def __init__(self, k: int, edge_type: EdgeType = MAIN) -> None:
        if k < 1:
            raise InputError(f"'k' needs to be at least 1 in 'KCore' (got {k})")
        self.k = k
        self.edge_type = edge_type

    def forward(self, data: HeteroData) -> HeteroData:
        edge_index = bipartite(data, self.edge_type, "KCore")
        num_src = num_nodes(data, self.edge_type[0])
        num_dst = num_nodes(data, self.edge_type[2])
        # A repeated pair is one partner.
        src, dst = edge_index[:, first_of_each(pair_keys(edge_index, num_dst))]
        while True:
            keep_src = self._often_enough(src, num_src)
            keep_dst = self._often_enough(dst, num_dst)
            alive = keep_src[src] & keep_dst[dst]
            if bool(alive.all()):
                break
            src, dst = src[alive], dst[alive]
        if src.numel() == 0:
            raise InputError(
                f"no {self.k}-core in {self.edge_type}: nothing is left (the graph has "
                f"{edge_index.size(1)} edges): lower 'k'"
            )
        kept = {
            self.edge_type[0]: keep_src.nonzero().view(-1),
            self.edge_type[2]: keep_dst.nonzero().view(-1),
        }
        return relabel(data, kept, "KCore")

    def _often_enough(self, index: Tensor, size: int) -> Tensor:
        return torch.bincount(index, minlength=size) >= self.k

    def __repr__(self) -> str:
        return f"{type(self).__name__}(k={self.k}, edge_type={self.edge_type})"
