from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.typing import Adj, EdgeType, OptTensor
from torch_geometric.utils import is_sparse

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv._normalize import edge_weights
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.conv.lg_conv import LGConv


@dataclass
class Operator:
    r"""One relation, ready to propagate any number of layers."""

    dst: Tensor  # the destinations' table, of which an edge list needs the number of rows
    graph: Tensor | Adjacency
    weight: OptTensor = None


def operators(
    encoder: str,
    x_dict: Mapping[str, Tensor],
    adj_dict: Mapping[EdgeType, Adj | Adjacency],
    normalization: str = "sym",
) -> dict[EdgeType, Operator]:
    r"""Returns every relation with what its layers share: the CSR form, or normalised weights."""
    if not adj_dict:
        raise InputError(
            f"'adj_dict' needs to hold a relation in '{encoder}' (got none): apply"
            " NormalizedAdjacency and pass Adjacency.dict_from(data)"
        )
    out: dict[EdgeType, Operator] = {}
    for edge_type, adj in adj_dict.items():
        for node_type in (edge_type[0], edge_type[2]):
            if node_type not in x_dict:
                raise InputError(
                    f"'adj_dict' needs to name node types of 'x_dict' in '{encoder}'"
                    f" (got {edge_type}, and tables of {', '.join(x_dict)})"
                )
        src, dst = x_dict[edge_type[0]], x_dict[edge_type[2]]
        if isinstance(adj, Adjacency) or is_sparse(adj):
            adjacency = adj if isinstance(adj, Adjacency) else Adjacency.deferred(adj)
            if adjacency.size() != (dst.size(0), src.size(0)):
                raise InputError(
                    f"the matrix of {edge_type} needs to have the size {dst.size(0)} x"
                    f" {src.size(0)}, destinations x sources, in '{encoder}'"
                    f" (got {adjacency.size()[0]} x {adjacency.size()[1]})"
                )
            out[edge_type] = Operator(dst, adjacency)
            continue
        plain = adj.as_tensor() if isinstance(adj, EdgeIndex) else adj
        one = torch.ones(plain.size(1), dtype=src.dtype, device=src.device)
        size, same_nodes = (src.size(0), dst.size(0)), edge_type[0] == edge_type[2]
        weight = edge_weights(normalization, plain[0], plain[1], one, size, same_nodes)
        out[edge_type] = Operator(dst, adj, weight)
    return out


def propagate(
    conv: LGConv, x_dict: Mapping[str, Tensor], relations: Mapping[EdgeType, Operator]
) -> dict[str, Tensor]:
    r"""Returns one hop, destination node type to sum of messages; absent means zero."""
    out: dict[str, Tensor] = {}
    for (src, _, dst), operator in relations.items():
        if src in x_dict:
            message = conv((x_dict[src], operator.dst), operator.graph, operator.weight)  # [D, d]
            out[dst] = out[dst] + message if dst in out else message
    return out


def named_types(adj_dict: Mapping[EdgeType, Adj | Adjacency]) -> list[str]:
    r"""Returns the node types at the ends of relations, in order of appearance."""
    return list(dict.fromkeys(end for src, _, dst in adj_dict for end in (src, dst)))
