from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import Adj, OptPairTensor, OptTensor
from torch_geometric.utils import is_sparse

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._csr import (
    csr,
    csr_entries,
    csr_from_sorted,
    edges_with_gradient,
    values_require_grad,
)
from pyg_mtrec.nn.conv._normalize import edge_weights
from pyg_mtrec.nn.conv.adjacency import Adjacency


class NeighborSum(MessagePassing):
    r"""What the layers share: a weighted sum over neighbours, whatever the graph is given as.

    An edge list is gathered and scattered (``message``); a matrix and an
    :class:`~torch_geometric.EdgeIndex` sorted by column are multiplied
    (``message_and_aggregate``).
    """

    # PyG compiles 'propagate' from these types.
    propagate_type = {"x": OptPairTensor, "edge_weight": OptTensor, "adjacency": Adjacency}  # noqa: RUF012

    def __init__(self, normalize: bool, **kwargs: Any) -> None:
        kwargs.setdefault("aggr", "add")
        super().__init__(**kwargs)
        self.normalize = normalize
        self.fuse = self.fuse and self.aggr in ("add", "sum")

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters()

    def sum_neighbors(
        self, x: OptPairTensor, edge_index: Adj | Adjacency, edge_weight: OptTensor
    ) -> Tensor:
        if self.flow == "target_to_source" and x[0] is not x[1]:
            # PyG's compiled propagate reads x[0] in either flow.
            raise InputError(
                f"'flow' needs to be 'source_to_target' in '{type(self).__name__}' for a bipartite"
                " graph (got 'target_to_source'): flip 'edge_index' and 'x'"
            )
        if isinstance(edge_index, Adjacency) or is_sparse(edge_index):
            if edge_weight is not None:
                raise InputError(
                    f"'edge_weight' needs to be None in '{type(self).__name__}' when the graph is"
                    " a matrix (got both): put the weights into the matrix"
                )
            if isinstance(edge_index, Adjacency) or not values_require_grad(edge_index):
                return self._sum_matrix(x, edge_index)
            edge_index, edge_weight = edges_with_gradient(edge_index)
        return self._sum_edges(x, edge_index, edge_weight)

    def _sum_matrix(self, x: OptPairTensor, adj_t: Adj | Adjacency) -> Tensor:
        adjacency = adj_t if isinstance(adj_t, Adjacency) else Adjacency.deferred(adj_t)
        num_dst, num_src = adjacency.size()
        if x[1] is not None and x[1].size(self.node_dim) != num_dst:
            raise InputError(
                f"a matrix needs to have one row a destination in '{type(self).__name__}'"
                f" (got {num_dst} x {num_src} for {x[1].size(self.node_dim)} destinations)"
            )
        if self.normalize:
            adjacency = adjacency.promote(x[0].dtype)
            dst, src, value = csr_entries(adjacency.adj_t)
            value = edge_weights("sym", src, dst, value, (num_src, num_dst), x[0] is x[1])
            crow, col = adjacency.adj_t.crow_indices(), adjacency.adj_t.col_indices()
            adjacency = Adjacency.deferred(csr(crow, col, value, (num_dst, num_src)))
        return self.propagate(adjacency.adj_t, x=x, edge_weight=None, adjacency=adjacency)

    def _sum_edges(self, x: OptPairTensor, edge_index: Tensor, edge_weight: OptTensor) -> Tensor:
        size = self._edge_list_size(x, edge_index)
        is_sorted = isinstance(edge_index, EdgeIndex) and edge_index.is_sorted_by_col
        if isinstance(edge_index, EdgeIndex):
            edge_index = edge_index.as_tensor()
        forward = self.flow == "source_to_target"
        if self.normalize:
            src, dst = edge_index if forward else edge_index.flip(0)
            if edge_weight is None:
                edge_weight = x[0].new_ones(edge_index.size(1))
            edge_weight = edge_weights("sym", src, dst, edge_weight, size, x[0] is x[1])
        constant = edge_weight is None or not edge_weight.requires_grad
        if is_sorted and forward and constant and self.fuse and not self.explain:
            value = x[0].new_ones(edge_index.size(1)) if edge_weight is None else edge_weight
            self._check_bounds(edge_index, size)
            adj_t = csr_from_sorted(edge_index[1], edge_index[0], value, size[::-1])
            adjacency = Adjacency.deferred(adj_t)
            return self.propagate(adj_t, x=x, edge_weight=None, adjacency=adjacency)
        return self.propagate(edge_index, x=x, edge_weight=edge_weight, adjacency=None, size=size)

    def _edge_list_size(self, x: OptPairTensor, edge_index: Tensor) -> tuple[int, int]:
        known = edge_index.sparse_size() if isinstance(edge_index, EdgeIndex) else (None, None)
        size = []
        for end, (rows, number) in enumerate(zip(x, known, strict=True)):
            found = number if rows is None else rows.size(self.node_dim)
            if found is None:
                raise InputError(
                    f"'x[{end}]' needs to be given in '{type(self).__name__}' when the graph is an"
                    " edge list (got None): only a matrix knows how many nodes there are"
                )
            if number is not None and number != found:
                raise InputError(
                    f"'x[{end}]' needs to have {number} rows in '{type(self).__name__}', the size"
                    f" of 'edge_index' (got {found})"
                )
            size.append(found)
        return size[0], size[1]

    def _check_bounds(self, edge_index: Tensor, size: tuple[int, int]) -> None:
        # A product with ids out of range crashes a CPU; a GPU would have to be waited for.
        if edge_index.device.type == "cpu" and edge_index.numel() > 0:
            low, high = edge_index.aminmax(dim=1)
            if int(low.min()) < 0 or int(high[0]) >= size[0] or int(high[1]) >= size[1]:
                raise InputError(
                    f"'edge_index' names nodes beyond {size[0]} sources and {size[1]} destinations"
                    f" in '{type(self).__name__}' (ids from {low.tolist()} to {high.tolist()})"
                )

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:  # type: ignore[override]
        return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(  # type: ignore[override]
        self, adj_t: Adj, x: OptPairTensor, adjacency: Adjacency
    ) -> Tensor:
        return adjacency.matmul(x[0])
