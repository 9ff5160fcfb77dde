from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.loader import Batch


def as_batch(batch: Batch | HeteroData, edge_type: EdgeType) -> Batch:
    r"""Lets a batch of PyG's ``LinkNeighborLoader`` take the place of one of ours.

    Args:
        batch: A batch, which is returned as it is, or a sampled graph.
        edge_type: The relation that PyG's loader was given.
    """
    return batch if isinstance(batch, Batch) else Batch.from_hetero(batch, edge_type)
