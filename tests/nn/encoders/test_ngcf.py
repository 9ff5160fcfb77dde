import io

import pytest
import torch
from nn_bank import KINDS, Graph, interactions, normalized
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import NGCF, NodeEmbedding

RATES = ("user", "interacts", "item")
RATED = ("item", "rev_interacts", "user")


def _pairs() -> Tensor:
    edge_index, num_users, num_items = interactions()
    out = torch.zeros(num_users + num_items, num_users + num_items, dtype=torch.float64)
    for user, item in edge_index.t().tolist():
        out[user, num_users + item] = out[num_users + item, user] = 1
    return out


def _dense(laplacian: str) -> tuple[Tensor, Tensor]:
    """The operator between neighbours and the weights of the nodes' own messages."""
    dense = _pairs()
    if laplacian == "paper":
        return normalized(dense), torch.ones(13, 1, dtype=torch.float64)
    full = dense + torch.eye(13, dtype=torch.float64)
    full = full / full.sum(1, keepdim=True)
    own = full.diagonal().unsqueeze(1).clone()
    return full - torch.diag(full.diagonal()), own


def _tables(width: int = 3) -> dict[str, Tensor]:
    embedding = NodeEmbedding({"user": 6, "item": 7}, width).double()
    return {k: x.detach().requires_grad_() for k, x in embedding().items()}


def _operators(kind: str, laplacian: str = "paper") -> dict:
    edge_index, num_users, _ = interactions()
    dense = _dense(laplacian)[0]
    blocks = {RATES: dense[num_users:, :num_users], RATED: dense[:num_users, num_users:]}
    out = {}
    for edge_type, index in ((RATES, edge_index), (RATED, edge_index.flip(0))):
        block = blocks[edge_type]
        graph = Graph(index, block[index[1], index[0]], block.size(1), block.size(0))
        out[edge_type] = graph.as_kind(kind)[0]
    return out


def _encoder(**kwargs: object) -> NGCF:
    kwargs = {"dim": 3, "num_layers": 2, **kwargs}
    return NGCF(**kwargs, generator=torch.Generator().manual_seed(1)).double()


def _formula(
    encoder: NGCF,
    x: Tensor,
    laplacian: str,
    node_keep: list[Tensor] | None = None,
    keep: list[Tensor] | None = None,
) -> Tensor:
    """Dense NGCF on the stacked graph; masks hold 0 or 1 / (1 - share)."""
    dense, own = _dense(laplacian)
    out = [x]
    for layer, conv in enumerate(encoder.convs):
        sent = x if node_keep is None else x * node_keep[layer]
        message = dense @ sent
        total = (message + own * x) @ conv.weight_sum + (message * x) @ conv.weight_product
        if conv.bias is not None:
            total = total + conv.bias
        x = torch.where(total > 0, total, conv.negative_slope * total)
        x = x if keep is None else x * keep[layer]
        norm = x.square().sum(1, keepdim=True).sqrt()
        out.append(torch.where(norm > 0, x / norm.clamp(min=1e-300), 0))
    return torch.cat(out, dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("laplacian", ["paper", "authors"])
@pytest.mark.parametrize("bias", [False, True])
def test_is_the_dense_formula(kind: str, laplacian: str, bias: bool) -> None:
    tables = _tables()
    encoder = _encoder(laplacian=laplacian, bias=bias).eval()
    x_dict = encoder(tables, _operators(kind, laplacian)).x_dict
    out = torch.cat([x_dict["user"], x_dict["item"]])
    x = torch.cat([tables["user"], tables["item"]])
    expected = _formula(encoder, x, laplacian)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    grad = torch.randn_like(out)
    leaves = [*tables.values(), *encoder.parameters()]
    got = torch.autograd.grad(out, leaves, grad)
    want = torch.autograd.grad(expected, leaves, grad)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert out.shape == (13, encoder.out_dim(3)) == (13, 9)


def test_higher_and_batched_gradients() -> None:
    tables, operators, encoder = _tables(), _operators("Adjacency"), _encoder().eval()

    def forward(user: Tensor, item: Tensor) -> tuple[Tensor, ...]:
        return tuple(encoder({"user": user, "item": item}, operators).x_dict.values())

    leaves = tuple(tables.values())
    assert torch.autograd.gradcheck(forward, leaves)
    assert torch.autograd.gradgradcheck(forward, leaves)
    outputs = forward(*leaves)
    grads = [torch.randn(4, *out.shape, dtype=torch.float64) for out in outputs]
    batched = torch.autograd.grad(outputs, leaves, grads, is_grads_batched=True, retain_graph=True)
    for k in range(4):
        one = torch.autograd.grad(outputs, leaves, [g[k] for g in grads], retain_graph=True)
        for a, b in zip(batched, one, strict=True):
            torch.testing.assert_close(a[k], b)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_message_dropout_is_a_mask_on_every_layer(share: float) -> None:
    tables, operators = _tables(32), _operators("CSR")
    encoder = _encoder(dim=32, dropout=share)
    seed = int(torch.randint(2**62, (), generator=encoder.generator.clone_state()))
    masks = torch.Generator().manual_seed(seed)
    keep = []
    for _ in encoder.convs:
        parts = [(torch.rand(n, 32, generator=masks) >= share).double() for n in (6, 7)]
        keep.append(torch.cat(parts) / (1 - share))
    x_dict = encoder(tables, operators).x_dict
    x = torch.cat([tables["user"], tables["item"]])
    expected = _formula(encoder, x, "paper", keep=keep)
    torch.testing.assert_close(torch.cat([x_dict["user"], x_dict["item"]]), expected)
    assert abs(float(torch.stack(keep).mean()) - 1) < 0.15


def test_node_dropout_silences_nodes_but_not_their_own_message() -> None:
    tables, operators = _tables(), _operators("CSR", "authors")
    encoder = _encoder(laplacian="authors", dropout=0.0, node_dropout=0.4)
    seed = int(torch.randint(2**62, (), generator=encoder.generator.clone_state()))
    masks = torch.Generator().manual_seed(seed)
    node_keep = []
    for _ in encoder.convs:
        parts = [(torch.rand(n, 1, generator=masks) >= 0.4).double() for n in (6, 7)]
        node_keep.append(torch.cat(parts) / 0.6)
    assert 0 < float(torch.stack(node_keep).count_nonzero()) < 26
    x_dict = encoder(tables, operators).x_dict
    x = torch.cat([tables["user"], tables["item"]])
    expected = _formula(encoder, x, "authors", node_keep=node_keep)
    torch.testing.assert_close(torch.cat([x_dict["user"], x_dict["item"]]), expected)


def test_masks_follow_the_generator_alone() -> None:
    tables, operators = _tables(), _operators("CSR")
    one, two = _encoder(dropout=0.5), _encoder(dropout=0.5)
    before = torch.get_rng_state()
    first, second = (one(tables, operators).x_dict["user"] for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second)
    assert torch.equal(two(tables, operators).x_dict["user"], first)
    quiet = one.eval()(tables, operators).x_dict["user"]
    assert torch.equal(quiet, one(tables, operators).x_dict["user"])
    state = one.generator.get_state()
    one(tables, operators)
    assert torch.equal(one.generator.get_state(), state)


def test_state_resumes_weights_and_masks() -> None:
    tables, operators = _tables(), _operators("CSR")
    encoder, buffer = _encoder(dropout=0.5), io.BytesIO()
    encoder(tables, operators)
    torch.save(encoder.state_dict(), buffer)
    expected = [encoder(tables, operators).x_dict["item"] for _ in range(2)]
    buffer.seek(0)
    other = NGCF(3, 2, dropout=0.5, generator=torch.Generator().manual_seed(99)).double()
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for out in expected:
        assert torch.equal(other(tables, operators).x_dict["item"], out)
    assert all(isinstance(value, Tensor) for value in encoder.state_dict().values())


def test_weights_come_from_the_generator() -> None:
    one, two, other = NGCF(8), NGCF(8), NGCF(8, generator=torch.Generator().manual_seed(1))
    for a, b, c in zip(one.parameters(), two.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
    assert not torch.equal(one.convs[0].weight_sum, one.convs[1].weight_sum)


def test_strangers_pass_through_and_zero_rows_stay_finite() -> None:
    tables = {**_tables(), "category": torch.randn(2, 3).double()}
    tables["user"] = torch.zeros(6, 3, dtype=torch.float64, requires_grad=True)
    out = _encoder().eval()(tables, {RATED: _operators("CSR")[RATED]}).x_dict
    assert out["category"] is tables["category"]
    assert torch.equal(out["user"][5], torch.zeros(9, dtype=torch.float64))
    (grad,) = torch.autograd.grad(out["user"].sum() + out["item"].sum(), tables["user"])
    assert bool(grad.isfinite().all())


def test_repr_and_bad_input() -> None:
    assert repr(NGCF(4)) == "NGCF(num_layers=3, laplacian='paper')"
    for kwargs, message in (
        ({"num_layers": 0}, r"'num_layers' needs to be positive.*got 0"),
        ({"laplacian": "sym"}, r"'laplacian' needs to be 'paper' or 'authors'.*got 'sym'"),
        ({"dropout": 1.0}, r"'dropout' needs to lie in \[0, 1\).*got 1.0"),
        ({"node_dropout": -0.1}, r"'node_dropout' needs to lie in"),
        ({"dim": 0}, "'in_channels' needs to be positive"),
    ):
        with pytest.raises(InputError, match=message):
            NGCF(**{"dim": 4, **kwargs})
    operators = {**_operators("CSR"), ("user", "trusts", "user"): torch.tensor([[0], [1]])}
    with pytest.raises(InputError, match="one relation a destination in 'NGCF'"):
        _encoder(laplacian="authors")(_tables(), operators)
    with pytest.raises(InputError, match="'adj_dict' needs to hold a relation in 'NGCF'"):
        _encoder()(_tables(), {})
