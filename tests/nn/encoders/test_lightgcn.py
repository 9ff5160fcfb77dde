import io

import pytest
import torch
from nn_bank import KINDS, Graph, interactions, normalized, random_graph
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import MF, Adjacency, LightGCN, NodeEmbedding
from pyg_mtrec.transforms import NormalizedAdjacency

RATES = ("user", "interacts", "item")
RATED = ("item", "rev_interacts", "user")


def _dense() -> Tensor:
    """The 13-node operator: users first, then items."""
    edge_index, num_users, num_items = interactions()
    number = num_users + num_items
    out = torch.zeros(number, number, dtype=torch.float64)
    for user, item in edge_index.t().tolist():
        out[user, num_users + item] = out[num_users + item, user] = 1
    return normalized(out)


def _tables(width: int = 3) -> dict[str, Tensor]:
    embedding = NodeEmbedding({"user": 6, "item": 7}, width).double()
    return {k: (10 * x).detach().requires_grad_() for k, x in embedding().items()}


def _operators(kind: str) -> dict:
    """Matrices come normalised, edge lists without weights."""
    edge_index, num_users, num_items = interactions()
    out = {}
    for edge_type, index, size in (
        (RATES, edge_index, (num_users, num_items)),
        (RATED, edge_index.flip(0), (num_items, num_users)),
    ):
        graph = Graph(index, torch.ones(index.size(1), dtype=torch.float64), *size)
        if "index" not in kind.lower():
            dense = normalized(graph.dense)
            graph = Graph(index, dense[index[1], index[0]], *size)
        out[edge_type] = graph.as_kind(kind)[0]
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("num_layers", [0, 1, 2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_is_the_dense_formula(kind: str, num_layers: int, weighted: bool) -> None:
    tables, dense = _tables(), _dense()
    alpha = [0.5 + layer for layer in range(num_layers + 1)] if weighted else None
    encoder = LightGCN(num_layers, alpha)
    x_dict = encoder(tables, _operators(kind)).x_dict
    out = torch.cat([x_dict["user"], x_dict["item"]])

    operator = torch.zeros_like(dense)
    for layer in range(num_layers + 1):
        weight = alpha[layer] if alpha else 1 / (num_layers + 1)
        operator += weight * torch.linalg.matrix_power(dense, layer)
    x = torch.cat([tables["user"], tables["item"]])
    torch.testing.assert_close(out, operator @ x, rtol=1e-13, atol=1e-14)
    grad = torch.randn_like(out)
    got = torch.cat(torch.autograd.grad(out, list(tables.values()), grad))
    torch.testing.assert_close(got, operator.t() @ grad, rtol=1e-13, atol=1e-14)


def test_isolated_nodes_keep_a_share_of_their_row() -> None:
    tables = _tables()
    out = LightGCN(3)(tables, _operators("Adjacency")).x_dict
    assert torch.equal(out["user"][5], tables["user"][5] / 4)
    assert torch.equal(out["item"][6], tables["item"][6] / 4)


@pytest.mark.parametrize("kind", ["edge_index", "sorted EdgeIndex", "CSR", "Adjacency"])
def test_higher_and_batched_gradients(kind: str) -> None:
    tables, operators, encoder = _tables(2), _operators(kind), LightGCN(2)

    def forward(user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        x_dict = encoder({"user": user, "item": item}, operators).x_dict
        return x_dict["user"], x_dict["item"] ** 2

    leaves = tuple(tables.values())
    assert torch.autograd.gradcheck(forward, leaves)
    assert torch.autograd.gradgradcheck(forward, leaves)
    outputs = forward(*leaves)
    grads = [torch.randn(4, *out.shape, dtype=torch.float64) for out in outputs]
    looped = [
        torch.autograd.grad(outputs, leaves, [g[k] for g in grads], retain_graph=True)
        for k in range(4)
    ]
    if kind == "Adjacency":
        batched = torch.autograd.grad(
            outputs, leaves, grads, is_grads_batched=True, retain_graph=True
        )
        for leaf in range(2):
            torch.testing.assert_close(batched[leaf], torch.stack([g[leaf] for g in looped]))

        def pullback(user: Tensor, item: Tensor) -> tuple[Tensor, ...]:
            return torch.autograd.grad(outputs, leaves, [user, item], retain_graph=True)

        mapped = torch.vmap(pullback)(*grads)
        for leaf in range(2):
            torch.testing.assert_close(mapped[leaf], torch.stack([g[leaf] for g in looped]))


def test_no_layer_is_matrix_factorisation() -> None:
    tables = _tables()
    encoder = LightGCN(0)
    for adj_dict in ({}, _operators("CSR")):
        out, expected = encoder(tables, adj_dict).x_dict, MF()(tables).x_dict
        assert all(torch.equal(out[k], expected[k]) for k in tables)
    assert encoder.local and not LightGCN(1).local


def test_several_relations_add_up_and_strangers_pass_through() -> None:
    trusts = random_graph(6, 6, 9)
    tables = {**_tables(), "category": torch.randn(2, 3).double()}
    operators = {**_operators("CSR"), ("user", "trusts", "user"): trusts.as_kind("CSR")[0]}
    out = LightGCN(2)(tables, operators).x_dict
    assert out["category"] is tables["category"]
    dense = _dense()
    dense[:6, :6] += trusts.dense
    x = torch.cat([tables["user"], tables["item"]])
    expected = (x + dense @ x + dense @ dense @ x) / 3
    torch.testing.assert_close(torch.cat([out["user"], out["item"]]), expected)


def test_a_type_that_only_sends_receives_zero() -> None:
    tables = _tables()
    out = LightGCN(2)(tables, {RATES: _operators("CSR")[RATES]}).x_dict
    dense = _dense()
    dense[:6] = 0
    x = torch.cat([tables["user"], tables["item"]])
    expected = (x + dense @ x + dense @ dense @ x) / 3
    torch.testing.assert_close(torch.cat([out["user"], out["item"]]), expected)


@pytest.mark.parametrize("normalization", ["sym", "row", "authors"])
def test_with_the_transform(normalization: str) -> None:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 6, 7
    edge_index = interactions()[0]
    data[RATES].edge_index = torch.cat([edge_index, edge_index[:, :3]], dim=1)  # counts once
    data = NormalizedAdjacency(normalization=normalization)(data)
    dense = (_dense() > 0).double()
    degree = dense.sum(1, keepdim=True)
    dense = {
        "sym": _dense(),
        "row": dense / degree.clamp(min=1),
        "authors": dense / (degree + 1),
    }[normalization]
    embedding = NodeEmbedding.from_data(data, 4)
    out = LightGCN(2)(embedding(), Adjacency.dict_from(data)).x_dict
    out = torch.cat([out["user"], out["item"]])
    x = torch.cat(list(embedding().values())).detach().double()
    operator = (torch.eye(13).double() + dense + dense @ dense) / 3
    torch.testing.assert_close(out.double(), operator @ x, rtol=1e-5, atol=1e-6)
    grad = torch.randn_like(out)
    got = torch.cat(torch.autograd.grad(out, list(embedding.parameters()), grad))
    torch.testing.assert_close(got.double(), operator.t() @ grad.double(), rtol=1e-5, atol=1e-6)


def test_empty_relation_and_narrow_tables() -> None:
    edge_index = torch.empty(2, 0, dtype=torch.long)
    tables = {"user": torch.ones(3, 1), "item": torch.ones(2, 1)}
    out = LightGCN(3)(tables, {RATES: edge_index, RATED: edge_index}).x_dict
    assert torch.equal(out["user"], torch.full((3, 1), 0.25))


def test_state_and_repr() -> None:
    encoder, buffer = LightGCN(3), io.BytesIO()
    torch.save(encoder.state_dict(), buffer)
    buffer.seek(0)
    assert torch.load(buffer, weights_only=True) == {}
    assert repr(encoder) == "LightGCN(num_layers=3)" and encoder.out_dim(8) == 8
    assert LightGCN(2, 0.5).alpha == (0.5, 0.5, 0.5)


def test_bad_input() -> None:
    tables, operators = _tables(), _operators("CSR")
    with pytest.raises(InputError, match=r"'num_layers' needs to be at least 0.*got -1"):
        LightGCN(-1)
    with pytest.raises(InputError, match=r"'alpha' needs to hold 3 weights in 'LightGCN'.*got 2"):
        LightGCN(2, [1.0, 2.0])
    with pytest.raises(InputError, match="'adj_dict' needs to hold a relation in 'LightGCN'"):
        LightGCN(2)(tables, {})
    with pytest.raises(InputError, match=r"the size 7 x 6, destinations x sources.*got 6 x 7"):
        LightGCN(2)(tables, {RATES: operators[RATED]})
    with pytest.raises(InputError, match=r"node types of 'x_dict' in 'LightGCN'"):
        LightGCN(2)({"user": tables["user"]}, operators)
