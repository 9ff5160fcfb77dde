from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType, SparseTensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._csr import csr, csr_transpose, quiet, values_require_grad
from pyg_mtrec.nn.conv._spmm import SpMM

_SPARSE = (torch.sparse_csr, torch.sparse_csc, torch.sparse_coo)


class Adjacency:
    r"""A constant sparse operator that keeps its transpose.

    .. math::
        \mathbf{Y} = \mathbf{A}^{\top} \mathbf{X}, \qquad
        \frac{\partial \ell}{\partial \mathbf{X}} = \mathbf{A}
        \frac{\partial \ell}{\partial \mathbf{Y}}

    Rows are destinations, as in PyG's ``adj_t``. Both products are CSR products; nothing is
    transposed during training. Gradients flow to :math:`\mathbf{X}`, never to the values.

    Args:
        adj_t: The matrix :math:`[D, S]`, a :class:`torch.Tensor` in a sparse layout or a
            :class:`torch_sparse.SparseTensor`. Without values every entry is one.
        adj: Its transpose :math:`[S, D]` (default: made here).

    Raises:
        InputError: If ``adj_t`` is no sparse matrix or requires a gradient, or if the shape of
            ``adj`` is not that of its transpose.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import Adjacency
        >>> adj_t = torch.tensor([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]]).to_sparse_csr()
        >>> adjacency = Adjacency(adj_t)
        >>> adjacency
        Adjacency(2, 3, nnz=3)
        >>> adjacency.matmul(torch.tensor([[1.0], [2.0], [4.0]]))
        tensor([[3.],
                [1.]])
        >>> adjacency.t().size()
        (3, 2)
    """

    _adj: Tensor | None

    def __init__(self, adj_t: Tensor | SparseTensor, adj: Tensor | None = None) -> None:
        self.adj_t = _to_csr(adj_t)
        self._adj = csr_transpose(self.adj_t) if adj is None else _to_csr(adj)
        if tuple(self._adj.shape) != self.size()[::-1]:
            raise InputError(
                f"'adj' needs to be the transpose of 'adj_t' in 'Adjacency' (got shapes"
                f" {tuple(self._adj.shape)} and {self.size()})"
            )

    @classmethod
    def deferred(cls, adj_t: Tensor | SparseTensor) -> Adjacency:
        r"""Makes the transpose in the first backward pass only, for a matrix that serves one step.

        Args:
            adj_t: As in the constructor.
        """
        out = cls.__new__(cls)
        out.adj_t, out._adj = _to_csr(adj_t), None
        return out

    @classmethod
    def dict_from(cls, data: HeteroData) -> dict[EdgeType, Adjacency]:
        r"""Collects the operators that :class:`~pyg_mtrec.transforms.NormalizedAdjacency` stored.

        Args:
            data: A graph; every edge type with ``adj_t`` counts, with ``adj`` as its transpose
                where there is one.

        Returns:
            Edge type to operator.
        """
        return {
            edge_type: cls(data[edge_type].adj_t, data[edge_type].get("adj"))
            for edge_type in data.edge_types
            if "adj_t" in data[edge_type]
        }

    @property
    def adj(self) -> Tensor:
        r"""The transpose :math:`[S, D]` in CSR layout."""
        if self._adj is None:
            self._adj = csr_transpose(self.adj_t)
        return self._adj

    @property
    def dtype(self) -> torch.dtype:
        r"""The type of the values."""
        return self.adj_t.dtype

    @property
    def device(self) -> torch.device:
        r"""The device that holds the matrix."""
        return self.adj_t.device

    def size(self) -> tuple[int, int]:
        r"""Returns the numbers of destinations and sources."""
        return self.adj_t.size(0), self.adj_t.size(1)

    def t(self) -> Adjacency:
        r"""Returns the transposed operator; memory is shared."""
        return Adjacency(self.adj, self.adj_t)

    def to(self, *args: Any, **kwargs: Any) -> Adjacency:
        r"""Returns the operator on another device or with values of another type.

        Args:
            *args: As in :meth:`torch.Tensor.to`.
            **kwargs: As in :meth:`torch.Tensor.to`.
        """
        adj_t = self.adj_t.to(*args, **kwargs)
        if self._adj is None:
            return Adjacency.deferred(adj_t)
        return Adjacency(adj_t, self._adj.to(*args, **kwargs))

    def promote(self, dtype: torch.dtype) -> Adjacency:
        r"""Returns the operator with values at least as wide as another type and as float32.

        Args:
            dtype: The other type.
        """
        # CSR products in half precision exist on no CPU, and lose digits everywhere.
        dtype = torch.promote_types(torch.promote_types(dtype, self.dtype), torch.float32)
        return self if self.dtype == dtype else self.to(dtype)

    def matmul(self, x: Tensor) -> Tensor:
        r"""Propagates from sources to destinations.

        The product is formed in the wider of the two types, at least float32.

        Args:
            x: Source rows :math:`[S, d]`.

        Returns:
            Destination rows :math:`[D, d]`, of the type of ``x``.

        Raises:
            InputError: If ``x`` is not a matrix with one row a source.
        """
        if x.dim() != 2 or x.size(0) != self.adj_t.size(1):
            raise InputError(
                f"'x' needs to have the shape [{self.adj_t.size(1)}, d] to be multiplied with"
                f" {self!r} (got {list(x.shape)})"
            )
        adjacency = self.promote(x.dtype)
        return SpMM.apply(x.to(adjacency.dtype), adjacency).to(x.dtype)  # type: ignore[no-any-return,no-untyped-call]

    def __repr__(self) -> str:
        num_dst, num_src = self.size()
        return f"Adjacency({num_dst}, {num_src}, nnz={self.adj_t._nnz()})"


def _to_csr(adj: Tensor | SparseTensor) -> Tensor:
    if not (adj.layout in _SPARSE if isinstance(adj, Tensor) else isinstance(adj, SparseTensor)):
        kind = f"{adj.layout} tensor" if isinstance(adj, Tensor) else type(adj).__name__
        raise InputError(f"'adj_t' needs to be a sparse matrix in 'Adjacency' (got a {kind})")
    if values_require_grad(adj):
        raise InputError(
            "'adj_t' needs to be constant in 'Adjacency' (got one that requires a gradient):"
            " detach it, or give the layer 'edge_index' and 'edge_weight'"
        )
    if isinstance(adj, Tensor):
        if adj.layout == torch.sparse_csr:
            return adj
        with quiet():
            return adj.to_sparse_csr()
    crow, col, value = adj.csr()
    if value is None:  # one is exact in every type
        value = torch.ones(col.numel(), device=col.device)
    return csr(crow, col, value, (adj.size(0), adj.size(1)))
