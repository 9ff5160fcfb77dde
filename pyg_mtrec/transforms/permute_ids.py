from collections.abc import Sequence

import torch
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._relabel import relabel
from pyg_mtrec.transforms._stores import num_nodes


class PermuteIds(BaseTransform):
    r"""Gives every node a new id, by a seeded permutation of each node type.

    Many files number users and items in the order in which they first appear, so that an id
    tells when its node came, and how popular it is: whatever breaks ties by id then reads the
    future. The raw ids move along in ``raw_id``; a node type without them gets its former ids.

    Args:
        seed: Seed of the permutations, which are the same on every device.
        node_types: Node types to permute (default: all).

    Returns:
        A new graph; the given one is left as it was.

    Raises:
        InputError: If a node type is unknown, an id lies outside its node type, or the graph
            already holds a split or a normalised adjacency.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import PermuteIds
        >>> data = HeteroData()
        >>> data['user'].num_nodes = 2
        >>> data['item'].num_nodes = 4
        >>> data['item'].raw_id = torch.tensor([10, 11, 12, 13])
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1], [3, 2]])
        >>> out = PermuteIds(seed=0)(data)
        >>> out['item'].raw_id[out['user', 'interacts', 'item'].edge_index[1]]
        tensor([13, 12])
    """

    def __init__(self, seed: int = 0, node_types: Sequence[str] | None = None) -> None:
        self.seed = seed
        self.node_types = None if node_types is None else list(node_types)

    def forward(self, data: HeteroData) -> HeteroData:
        for node_type in self.node_types or []:
            if node_type not in data.node_types:
                raise InputError(
                    f"'PermuteIds' found no node type {node_type!r} (node types: {data.node_types})"
                )
        generator = torch.Generator().manual_seed(self.seed)
        kept = {}
        for node_type in data.node_types:
            # Drawn for every type, so that a subset is permuted as it is among all.
            order = torch.randperm(num_nodes(data, node_type), generator=generator)
            if self.node_types is None or node_type in self.node_types:
                kept[node_type] = order.to(_device(data))
        return relabel(data, kept, "PermuteIds")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(seed={self.seed}, node_types={self.node_types})"


def _device(data: HeteroData) -> torch.device:
    for store in data.edge_stores:
        if "edge_index" in store:
            device: torch.device = store.edge_index.device
            return device
    return torch.device("cpu")
