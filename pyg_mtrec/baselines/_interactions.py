"""The binary users x items matrix of a split's message edges."""

import numpy as np
import scipy.sparse as sp
import torch
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError

INTERACTS: EdgeType = ("user", "interacts", "item")


def interaction_matrix(train: HeteroData, edge_type: EdgeType) -> sp.csr_array:
    """Returns ``X [U, I]`` in float32 with sorted columns, duplicate edges merged into one."""
    if edge_type not in train.edge_types:
        raise InputError(f"the graph has no relation {edge_type} (found {train.edge_types})")
    shape = (int(train[edge_type[0]].num_nodes), int(train[edge_type[2]].num_nodes))
    user, item = train[edge_type].edge_index.cpu().numpy()
    for name, index, size in (("user", user, shape[0]), ("item", item, shape[1])):
        if index.size > 0 and (index.min() < 0 or index.max() >= size):
            raise InputError(
                f"'edge_index' of {edge_type} needs {name} ids in 0 .. {size - 1} "
                f"(got {index.min()} .. {index.max()})"
            )
    x = sp.csr_array((np.ones(user.size, dtype=np.float32), (user, item)), shape=shape)
    x.sum_duplicates()
    x.data[:] = 1.0
    return x


def dense_rows(x: sp.csr_array, user_ids: torch.Tensor, weight: sp.csr_array) -> torch.Tensor:
    """Returns some rows of ``X W`` as a dense float32 matrix."""
    return torch.from_numpy((x[user_ids.cpu().numpy()] @ weight).toarray())
