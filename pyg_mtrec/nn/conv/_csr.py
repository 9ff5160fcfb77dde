import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch_geometric.index import index2ptr, ptr2index
from torch_geometric.typing import SparseTensor
from torch_geometric.utils import to_edge_index


def csr(crow: Tensor, col: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Returns a CSR matrix, without torch's note that the layout is in beta."""
    with quiet():
        return torch.sparse_csr_tensor(crow, col, value, size, check_invariants=False)


@contextmanager
def quiet() -> Iterator[None]:
    r"""Keeps torch from noting, once a process, that the CSR layout is in beta."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        yield


def csr_from_sorted(row: Tensor, col: Tensor, value: Tensor, size: tuple[int, int]) -> Tensor:
    r"""Returns the CSR matrix of entries that are sorted by row; repeated ones add up."""
    return csr(index2ptr(row.long(), size[0]).to(col.dtype), col.contiguous(), value, size)


def csr_entries(adj: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Returns the rows, columns and values of a CSR matrix's entries."""
    crow, col = adj.crow_indices(), adj.col_indices()
    return ptr2index(crow, output_size=col.numel()).to(col.dtype), col, adj.values()


def csr_transpose(adj: Tensor) -> Tensor:
    r"""Returns the transpose of a CSR matrix as CSR, with the same index type."""
    row, col, value = csr_entries(adj)
    order = col.argsort(stable=True)
    return csr_from_sorted(col[order], row[order], value[order], (adj.size(1), adj.size(0)))


def values_require_grad(adj: Tensor | SparseTensor) -> bool:
    r"""Returns whether a matrix's values take part in a graph of gradients."""
    # A method in torch_sparse, an attribute in torch.
    return bool(adj.requires_grad if isinstance(adj, Tensor) else adj.requires_grad())


def edges_with_gradient(adj: Tensor | SparseTensor) -> tuple[Tensor, Tensor]:
    r"""Returns a matrix's entries as an edge list, whose values carry gradients back to it."""
    if isinstance(adj, Tensor) and adj.layout == torch.sparse_coo:
        adj = adj.coalesce()
        index, value = adj.indices(), adj.values()
    else:
        index, value = to_edge_index(adj)
    return index.flip(0), value  # rows are destinations
