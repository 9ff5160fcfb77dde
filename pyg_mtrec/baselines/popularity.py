import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.baselines._interactions import INTERACTS, interaction_matrix


class Popularity:
    r"""Ranks items by how many users interacted with them, alike for everyone.

    .. math::
        s_{ui} = |\{v : x_{vi} = 1\}|

    Only message edges are counted, so nothing held out enters.

    Args:
        train: A split whose ``edge_index`` holds the training interactions.
        edge_type: The relation that is ranked.

    Raises:
        InputError: If the relation is missing or has ids outside the graph.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.baselines import Popularity
        >>> train = HeteroData()
        >>> train["user"].num_nodes, train["item"].num_nodes = 2, 3
        >>> train["user", "interacts", "item"].edge_index = torch.tensor([[0, 1, 1], [2, 2, 0]])
        >>> Popularity(train).score(torch.tensor([0]))
        tensor([[1., 0., 2.]])
    """

    def __init__(self, train: HeteroData, edge_type: EdgeType = INTERACTS) -> None:
        x = interaction_matrix(train, edge_type)
        self.count = torch.from_numpy(x.sum(axis=0)).float()  # [I]

    @property
    def num_items(self) -> int:
        r"""The size of the catalogue."""
        return self.count.numel()

    def score(self, user_ids: Tensor) -> Tensor:
        r"""Scores all items for some users.

        Args:
            user_ids: Users of shape :math:`[b]`.

        Returns:
            Scores of shape :math:`[b, I]`, one row expanded.
        """
        return self.count.expand(user_ids.numel(), -1)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(num_items={self.num_items})"
