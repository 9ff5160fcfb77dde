import warnings
from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._stores import MAIN, edges, num_nodes, pair_keys

Normalization = Literal["sym", "row", "authors"]


class NormalizedAdjacency(BaseTransform):
    r"""Stores the normalised adjacency of a relation, and of its reverse, as CSR tensors.

    With :math:`d_u` and :math:`d_i` the numbers of distinct partners, a pair :math:`(u, i)` weighs

    .. math::
        \texttt{sym}: \; \frac{1}{\sqrt{d_u d_i}}, \qquad
        \texttt{row}: \; \frac{1}{d_\text{dst}}, \qquad
        \texttt{authors}: \; \frac{1}{d_\text{dst} + 1},

    where "dst" is the end that receives the message: ``sym`` is the operator of
    `LightGCN <https://arxiv.org/abs/2002.02126>`_, ``row`` the mean over partners, and ``authors``
    the part of :math:`D^{-1}(A + I)` off the diagonal. Repeated pairs count once; a node without
    partners receives exactly zero.

    Args:
        edge_type: The relation :math:`(\text{src}, \text{name}, \text{dst})`.
        normalization: ``"sym"``, ``"row"`` or ``"authors"``.
        index_dtype: Type of the CSR indices; ``torch.int32`` is faster and holds
            :math:`2^{31} - 1` edges.

    Returns:
        A new graph. The store of ``edge_type`` has ``adj_t``, a float32 CSR tensor
        :math:`[N_\text{dst}, N_\text{src}]`, and its transpose ``adj``; the store of
        ``(dst, 'rev_' + name, src)`` has ``adj_t`` :math:`[N_\text{src}, N_\text{dst}]` and its
        transpose. With ``sym`` the two stores share the same two tensors.

    Raises:
        InputError: If the relation is missing or names nodes that do not exist, the normalisation
            is unknown, or the edges are too many for ``index_dtype``.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import NormalizedAdjacency
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 3
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1, 1], [0, 0, 2]])
        >>> data = NormalizedAdjacency()(data)
        >>> data['item', 'rev_interacts', 'user'].adj_t.to_dense()
        tensor([[0.7071, 0.0000, 0.0000],
                [0.5000, 0.0000, 0.7071]])
    """

    def __init__(
        self,
        edge_type: EdgeType = MAIN,
        normalization: Normalization = "sym",
        index_dtype: torch.dtype = torch.int32,
    ) -> None:
        if normalization not in get_args(Normalization):
            raise InputError(
                f"'normalization' needs to be one of {get_args(Normalization)} "
                f"in 'NormalizedAdjacency' (got {normalization!r})"
            )
        if index_dtype not in (torch.int32, torch.int64):
            raise InputError(f"'index_dtype' needs to be int32 or int64 (got {index_dtype})")
        self.edge_type = edge_type
        self.normalization = normalization
        self.index_dtype = index_dtype

    def forward(self, data: HeteroData) -> HeteroData:
        src_type, name, dst_type = self.edge_type
        edge_index = edges(data, self.edge_type, "NormalizedAdjacency")
        if edge_index.size(1) > torch.iinfo(self.index_dtype).max:
            raise InputError(
                f"{self.edge_type} has {edge_index.size(1)} edges, too many for 'index_dtype' "
                f"{self.index_dtype} in 'NormalizedAdjacency': pass torch.int64"
            )
        num_src, num_dst = num_nodes(data, src_type), num_nodes(data, dst_type)
        key = torch.unique(pair_keys(edge_index, num_dst))  # merged, sorted by source
        src = torch.div(key, max(num_dst, 1), rounding_mode="floor")
        dst = key - src * num_dst
        deg_src = torch.bincount(src, minlength=num_src)
        deg_dst = torch.bincount(dst, minlength=num_dst)
        by_dst = dst.sort(stable=True).indices
        src_rows = (self._row_pointer(deg_src), dst.to(self.index_dtype), (num_src, num_dst))
        dst_rows = (
            self._row_pointer(deg_dst),
            src[by_dst].to(self.index_dtype),
            (num_dst, num_src),
        )

        forward, reverse = self._weights(deg_src, deg_dst, src, dst)
        store = data[self.edge_type]
        store.adj_t = _csr(*dst_rows, forward[by_dst])
        store.adj = _csr(*src_rows, forward)
        reverse_store = data[dst_type, f"rev_{name}", src_type]
        if reverse is forward:
            reverse_store.adj_t, reverse_store.adj = store.adj, store.adj_t
        else:
            reverse_store.adj_t = _csr(*src_rows, reverse)
            reverse_store.adj = _csr(*dst_rows, reverse[by_dst])
        return data

    def _row_pointer(self, degree: Tensor) -> Tensor:
        pointer = degree.new_zeros(degree.numel() + 1)
        torch.cumsum(degree, dim=0, out=pointer[1:])
        return pointer.to(self.index_dtype)

    def _weights(
        self, deg_src: Tensor, deg_dst: Tensor, src: Tensor, dst: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Weights of every edge forward and in reverse, in float64 until they are rounded once."""
        if self.normalization == "sym":
            # An edge has two ends of degree one at least, so nothing is divided by zero.
            weight = (deg_src[src] * deg_dst[dst]).double().rsqrt().float()
            return weight, weight
        loop = int(self.normalization == "authors")
        forward, reverse = (deg_dst + loop).double()[dst], (deg_src + loop).double()[src]
        return forward.reciprocal().float(), reverse.reciprocal().float()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(edge_type={self.edge_type}, "
            f"normalization={self.normalization!r})"
        )


def _csr(pointer: Tensor, index: Tensor, size: tuple[int, int], value: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(pointer, index, value, size=size, check_invariants=False)
