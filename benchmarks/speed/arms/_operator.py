"""The operator of LightGCN as one writes it with PyTorch."""

import torch
from torch import Tensor

from benchmarks.speed._problem import Problem


def normalised(problem: Problem) -> Tensor:
    """The symmetrically normalised matrix over users and items as CSR."""
    users = problem.sizes["num_users"]
    number = users + problem.sizes["num_items"]
    user, item = problem.tensors["edge_index"]
    row, column = torch.cat([user, item + users]), torch.cat([item + users, user])
    degree = torch.bincount(row, minlength=number).float()
    value = (degree[row] * degree[column]).rsqrt()
    matrix = torch.sparse_coo_tensor(torch.stack([row, column]), value, (number, number))
    return matrix.coalesce().to_sparse_csr()
