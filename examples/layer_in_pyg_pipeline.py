"""Put layers of pyg_mtrec between layers of PyTorch Geometric and train with plain autograd.

A heterogeneous model with features: PyG's Linear encodes them, LGConv (users and items) and PyG's
SAGEConv (who trusts whom) propagate side by side in PyG's HeteroConv, and the score of a pair is
the dot product. Then the same layer runs on a stored operator and gives the same numbers.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, Linear, SAGEConv
from torch_geometric.transforms import ToUndirected

from pyg_mtrec.nn import Adjacency, LGConv
from pyg_mtrec.transforms import NormalizedAdjacency

MAIN, BACK = ("user", "interacts", "item"), ("item", "rev_interacts", "user")
TRUSTS = ("user", "trusts", "user")


class Model(nn.Module):
    """Features, one hop, rows of unit scale."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.encode = nn.ModuleDict({"user": Linear(-1, dim), "item": Linear(-1, dim)})
        self.conv = HeteroConv(
            {MAIN: LGConv(), BACK: LGConv(), TRUSTS: SAGEConv((-1, -1), dim)}, aggr="sum"
        )

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: dict) -> dict[str, Tensor]:
        x_dict = {node_type: self.encode[node_type](x) for node_type, x in x_dict.items()}
        out = self.conv(x_dict, edge_index_dict)
        return {node_type: x_dict[node_type] + out[node_type] for node_type in x_dict}


def make_graph(num_users: int = 200, num_items: int = 100, num_groups: int = 5) -> HeteroData:
    """Users and items of groups; a user interacts with items of the own group."""
    generator = torch.Generator().manual_seed(0)
    group_of_user = torch.randint(num_groups, (num_users,), generator=generator)
    group_of_item = torch.randint(num_groups, (num_items,), generator=generator)
    data = HeteroData()
    for node_type, group in (("user", group_of_user), ("item", group_of_item)):
        hot = nn.functional.one_hot(group, num_groups).float()
        data[node_type].x = hot + torch.randn(hot.shape, generator=generator)
    same = group_of_user.unsqueeze(1) == group_of_item
    chosen = same & (torch.rand(same.shape, generator=generator) < 0.4)
    data[MAIN].edge_index = chosen.nonzero().t().contiguous()
    data[TRUSTS].edge_index = torch.randint(num_users, (2, 400), generator=generator)
    return data


def main() -> None:
    torch.manual_seed(0)
    data = make_graph()
    graph = ToUndirected()(data.clone())
    model = Model(dim=16)
    users, items = data[MAIN].edge_index
    with torch.no_grad():
        model(graph.x_dict, graph.edge_index_dict)  # the lazy layers learn their widths
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for step in range(101):
        optimizer.zero_grad()
        x = model(graph.x_dict, graph.edge_index_dict)
        negatives = torch.randint(data["item"].num_nodes, items.shape)
        better = (x["user"][users] * (x["item"][items] - x["item"][negatives])).sum(dim=-1)
        loss = softplus(-better).mean()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            print(f"step {step:3}  loss {loss:.4f}")

    # The operator, made once: the same layer without a normalisation in every call.
    operator = Adjacency.dict_from(NormalizedAdjacency()(data))[MAIN]
    x = torch.randn(data["user"].num_nodes, 16)
    by_edges = LGConv()((x, torch.empty(data["item"].num_nodes, 0)), data[MAIN].edge_index)
    by_operator = LGConv(normalize=False)((x, None), operator)
    print(f"largest difference to the stored operator: {(by_edges - by_operator).abs().max():.1e}")


if __name__ == "__main__":
    main()
