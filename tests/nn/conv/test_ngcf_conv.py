import pytest
import torch
from nn_bank import EDGE_LISTS, KINDS, bipartite_graphs, normalized, random_graph, square_graph
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import NGCFConv


def _conv(in_channels: int, out_channels: int, **kwargs: object) -> NGCFConv:
    conv = NGCFConv(in_channels, out_channels, **kwargs).double()
    conv.reset_parameters(torch.Generator().manual_seed(0))
    if conv.bias is not None:
        torch.nn.init.normal_(conv.bias, generator=torch.Generator().manual_seed(1))
    return conv


def _by_messages(
    conv: NGCFConv, adj_t: Tensor, x_src: Tensor, x_dst: Tensor, self_weight: float = 1.0
) -> Tensor:
    """The layer as the paper words it: one message per edge, one to oneself, then the sum."""
    out = []
    for dst in range(adj_t.size(0)):
        total = self_weight * x_dst[dst] @ conv.weight_sum
        for src in range(adj_t.size(1)):
            product = x_src[src] * x_dst[dst]
            message = x_src[src] @ conv.weight_sum + product @ conv.weight_product
            total = total + adj_t[dst, src] * message
        if conv.bias is not None:
            total = total + conv.bias
        out.append(torch.where(total >= 0, total, conv.negative_slope * total))
    return torch.stack(out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", bipartite_graphs())
def test_bipartite_is_the_papers_sum_of_messages(name: str, kind: str) -> None:
    graph = bipartite_graphs()[name]
    adj, weight = graph.as_kind(kind)
    for in_channels, out_channels, normalize, bias in ((1, 1, True, False), (3, 2, False, True)):
        conv = _conv(in_channels, out_channels, normalize=normalize, bias=bias)
        x_src = torch.randn(graph.num_src, in_channels, dtype=torch.float64, requires_grad=True)
        x_dst = torch.randn(graph.num_dst, in_channels, dtype=torch.float64, requires_grad=True)
        dense = normalized(graph.dense) if normalize else graph.dense
        out = conv((x_src, x_dst), adj, weight)
        expected = _by_messages(conv, dense, x_src, x_dst)
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-13)
        leaves = [x_src, x_dst, *conv.parameters()]
        grad = torch.randn_like(out)
        got = torch.autograd.grad(out, leaves, grad)
        want = torch.autograd.grad(expected, leaves, grad, materialize_grads=True)
        for a, b in zip(got, want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_square_graph_with_the_authors_self_weight(kind: str) -> None:
    graph = square_graph()
    degree = graph.dense.sum(1)
    graph.weight = graph.weight / (degree + 1)[graph.edge_index[1]]
    adj, weight = graph.as_kind(kind)
    conv = _conv(3, 2, normalize=False, negative_slope=0.1)
    x = torch.randn(13, 3, dtype=torch.float64, requires_grad=True)
    self_weight = 1 / (degree + 1).unsqueeze(1)
    out = conv(x, adj, weight, self_weight=self_weight)
    torch.testing.assert_close(self_weight.squeeze(1), 1 - graph.dense.sum(1))
    expected = torch.cat(
        [
            _by_messages(conv, graph.dense[dst : dst + 1], x, x[dst : dst + 1], float(weight))
            for dst, weight in enumerate(self_weight)
        ]
    )
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-13)
    assert torch.autograd.gradcheck(lambda x: conv(x, adj, weight, self_weight), x)
    assert torch.autograd.gradgradcheck(lambda x: conv(x, adj, weight, self_weight), x)


def test_target_to_source() -> None:
    graph = square_graph()
    conv, turned = _conv(3, 2), _conv(3, 2, flow="target_to_source")
    x = torch.randn(13, 3).double()
    out = turned(x, graph.edge_index.flip(0), graph.weight)
    torch.testing.assert_close(out, conv(x, graph.edge_index, graph.weight))
    with pytest.raises(InputError, match="'flow' needs to be 'source_to_target' in 'NGCFConv'"):
        turned((x, torch.ones(13, 3)), graph.edge_index)


def test_vmap_over_rows_is_a_loop() -> None:
    graph = random_graph(5, 6, 12)
    conv, adj = _conv(3, 2, normalize=False), graph.as_kind("Adjacency")[0]
    x_src, x_dst = torch.randn(4, 5, 3).double(), torch.randn(4, 6, 3).double()
    out = torch.vmap(lambda a, b: conv((a, b), adj))(x_src, x_dst)
    looped = [conv((a, b), adj) for a, b in zip(x_src, x_dst, strict=True)]
    torch.testing.assert_close(out, torch.stack(looped))


def test_initial_weights_come_from_the_generator() -> None:
    one, two, other = (NGCFConv(40, 60, bias=True) for _ in range(3))
    for conv, seed in ((one, 3), (two, 3), (other, 4)):
        conv.reset_parameters(torch.Generator().manual_seed(seed))
    assert torch.equal(one.weight_sum, two.weight_sum)
    assert torch.equal(one.weight_product, two.weight_product)
    assert not torch.equal(one.weight_sum, other.weight_sum)
    assert not torch.equal(one.weight_sum, one.weight_product)
    bound = (6 / 100) ** 0.5
    assert one.weight_sum.abs().max() <= bound
    assert abs(one.weight_sum.std() / (bound / 3**0.5) - 1) < 0.05
    assert torch.equal(one.bias, torch.zeros(60))


def test_state_and_repr() -> None:
    conv, other = _conv(3, 2), NGCFConv(3, 2).double()
    assert list(conv.state_dict()) == ["weight_sum", "weight_product"]
    other.load_state_dict(conv.state_dict())
    x = torch.randn(13, 3).double()
    edge_index = square_graph().edge_index
    assert torch.equal(conv(x, edge_index), other(x, edge_index))
    assert repr(conv) == "NGCFConv(3, 2)"


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"'out_channels' needs to be positive.*got 0"):
        NGCFConv(3, 0)
    graph = random_graph(5, 6, 12)
    for kind in (*EDGE_LISTS, "CSR"):
        adj, weight = graph.as_kind(kind)
        with pytest.raises(InputError, match="'x' of the destinations"):
            NGCFConv(3, 2)((torch.ones(5, 3), None), adj, weight)
