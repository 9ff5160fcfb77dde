"""Our layers inside PyG's machinery, each against dense matrices."""

import pytest
import torch
from nn_bank import EDGE_LISTS, KINDS, Graph, normalized, random_graph, square_graph
from torch import Tensor
from torch.nn.functional import leaky_relu
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.nn import HeteroConv, Sequential, to_hetero

from pyg_mtrec.nn import LGConv, NGCFConv

RATES = ("user", "interacts", "item")
RATED = ("item", "rev_interacts", "user")
TRUSTS = ("user", "trusts", "user")
GRAPHS = {
    RATES: random_graph(5, 6, 12, seed=1),
    RATED: random_graph(6, 5, 12, seed=2),
    TRUSTS: random_graph(5, 5, 9, seed=3),
}
SAME = {RATES: False, RATED: False, TRUSTS: True}


def _tables(width: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        node_type: torch.randn(number, width, generator=generator, dtype=torch.float64)
        for node_type, number in (("user", 5), ("item", 6))
    }


def _ngcf(conv: NGCFConv, dense: Tensor, x_src: Tensor, x_dst: Tensor) -> Tensor:
    message = dense @ x_src
    out = (message + x_dst) @ conv.weight_sum + (message * x_dst) @ conv.weight_product
    return leaky_relu(out, 0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_hetero_conv(kind: str) -> None:
    x_dict = _tables(3)
    conv = HeteroConv({RATES: NGCFConv(3, 2), RATED: LGConv(), TRUSTS: LGConv()}).double()
    adj_dict, weight_dict = {}, {}
    for edge_type, graph in GRAPHS.items():
        adj_dict[edge_type], weight = graph.as_kind(kind)
        if weight is not None:
            weight_dict[edge_type] = weight
    kwargs = {"edge_weight_dict": weight_dict} if weight_dict else {}
    out = conv(x_dict, adj_dict, **kwargs)
    dense = {k: normalized(graph.dense, SAME[k]) for k, graph in GRAPHS.items()}
    item = _ngcf(conv.convs[RATES], dense[RATES], x_dict["user"], x_dict["item"])
    user = dense[RATED] @ x_dict["item"] + dense[TRUSTS] @ x_dict["user"]
    torch.testing.assert_close(out["item"], item)
    torch.testing.assert_close(out["user"], user)


@pytest.mark.parametrize("kind", KINDS)
def test_to_hetero(kind: str) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = LGConv()
            self.second = NGCFConv(3, 2)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.second(self.first(x, edge_index).tanh(), edge_index)

    net = to_hetero(Net(), (["user", "item"], list(GRAPHS)), aggr="sum").double()
    graphs = {}
    for edge_type, graph in GRAPHS.items():
        ones = torch.ones_like(graph.weight)
        graphs[edge_type] = Graph(graph.edge_index, ones, graph.num_src, graph.num_dst)
    x_dict = _tables(3)
    out = net(x_dict, {k: graph.as_kind(kind)[0] for k, graph in graphs.items()})
    dense = {k: normalized(graph.dense, SAME[k]) for k, graph in graphs.items()}
    hidden = {
        "item": (dense[RATES] @ x_dict["user"]).tanh(),
        "user": (dense[RATED] @ x_dict["item"] + dense[TRUSTS] @ x_dict["user"]).tanh(),
    }
    for node_type in ("user", "item"):
        expected = sum(
            _ngcf(getattr(net.second, "__".join(k)), dense[k], hidden[k[0]], hidden[k[2]])
            for k in GRAPHS
            if k[2] == node_type
        )
        torch.testing.assert_close(out[node_type], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_sequential(kind: str) -> None:
    graph = square_graph()
    adj, weight = graph.as_kind(kind)
    x = torch.randn(13, 3, dtype=torch.float64)
    net = Sequential(
        "x, adj, weight",
        [
            (LGConv(), "x, adj, weight -> x"),
            torch.nn.Tanh(),
            (NGCFConv(3, 2), "x, adj, weight -> x"),
        ],
    ).double()
    dense = normalized(graph.dense, same_nodes=True)
    hidden = (dense @ x).tanh()
    expected = _ngcf(next(m for m in net if isinstance(m, NGCFConv)), dense, hidden, hidden)
    torch.testing.assert_close(net(x, adj, weight), expected)


@pytest.mark.parametrize("kind", EDGE_LISTS)
def test_edge_masks_scale_messages(kind: str) -> None:
    # What every mask-based explainer relies on: sigmoid(mask) multiplies the edge's message.
    graph = square_graph()
    adj, weight = graph.as_kind(kind)
    mask = torch.randn(weight.numel(), dtype=torch.float64)
    x = torch.randn(13, 3, dtype=torch.float64)
    conv, ngcf = LGConv(), NGCFConv(3, 2).double()
    for layer in (conv, ngcf):
        layer.explain, layer._edge_mask = True, mask
        layer._loop_mask = torch.ones_like(mask, dtype=torch.bool)
    degree = graph.dense.sum(1)
    src, dst = adj[0], adj[1]
    masked = weight * mask.sigmoid() / (degree[src] * degree[dst]).sqrt()
    dense = torch.zeros(13, 13, dtype=torch.float64)
    dense.index_put_((dst.as_subclass(Tensor), src.as_subclass(Tensor)), masked, accumulate=True)
    torch.testing.assert_close(conv(x, adj, weight), dense @ x)
    torch.testing.assert_close(ngcf(x, adj, weight), _ngcf(ngcf, dense, x, x))


@pytest.mark.parametrize("layer", ["LGConv", "NGCFConv"])
def test_explainer_finds_the_edges_that_matter(layer: str) -> None:
    # Node 0 hears from 1 and 2; 3 and 4 talk to each other. Only the first two edges matter.
    edge_index = torch.tensor([[1, 2, 3, 4], [0, 0, 4, 3]])
    torch.manual_seed(0)
    conv = LGConv(normalize=False) if layer == "LGConv" else NGCFConv(3, 1, normalize=False)
    net = Sequential("x, edge_index", [(conv, "x, edge_index -> x"), torch.nn.Flatten(0)])
    explainer = Explainer(
        net,
        GNNExplainer(epochs=20),
        explanation_type="model",
        edge_mask_type="object",
        model_config={"mode": "regression", "task_level": "node", "return_type": "raw"},
    )
    x = torch.tensor([[0.5, 0.5, 0.5], [1.0, 0, 0], [0, 2, 0], [0, 0, 3], [4, 0, 0]])
    x = x.sum(1, keepdim=True) if layer == "LGConv" else x
    before = net(x, edge_index)
    mask = explainer(x, edge_index, index=0).edge_mask
    assert mask[:2].min() > 0
    assert torch.equal(mask[2:], torch.zeros(2))
    assert torch.equal(net(x, edge_index), before)
