"""The collector against autograd on whole float64 tables, losses and operators written out here."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize, softplus

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Balancer, PMTRec, Sum
from pyg_mtrec.gradients import GradientCollector, _forward_pass
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn import MF, NGCF, Adjacency, Encoder, LightGCN, NodeEmbedding
from pyg_mtrec.tasks import BPR, LinkPrediction, RatingRegression
from pyg_mtrec.training import MultiTaskStep

USERS, ITEMS, DIM, SIZE = 6, 7, 3, 8
MAIN, TRUSTS, ALSO = (
    ("user", "interacts", "item"),
    ("user", "trusts", "user"),
    ("item", "also_viewed", "item"),
)


def triplets(edge_type: tuple[str, str, str], seed: int, num: int = 5) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    sizes = [USERS if edge_type[i] == "user" else ITEMS for i in (0, 2, 2)]
    src, pos, neg = (torch.randint(size, (num,), generator=generator) for size in sizes)
    weight = (torch.rand(num, generator=generator) < 0.8).double()
    return Batch(edge_type, SIZE, src, pos, neg, weight=weight)


def rated(seed: int, num: int = 5) -> Batch:
    batch = triplets(MAIN, seed, num)
    batch.dst_neg_index = None
    batch.edge_label = torch.rand(num, generator=torch.Generator().manual_seed(seed)).double()
    return batch


def embedding() -> NodeEmbedding:
    generator = torch.Generator().manual_seed(0)
    return NodeEmbedding({"user": USERS, "item": ITEMS}, DIM, generator=generator).double()


def adjacency() -> tuple[dict, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(USERS, ITEMS, generator=generator) < 0.4).double()
    x[2] = 0  # a user without items
    degree = (x.sum(1, keepdim=True) * x.sum(0, keepdim=True)).sqrt()
    normed = torch.where(x > 0, x / degree.clamp(min=1), 0.0)
    to_item = Adjacency(normed.t().contiguous().to_sparse_csr(), normed.to_sparse_csr())
    dense = torch.zeros(USERS + ITEMS, USERS + ITEMS, dtype=torch.float64)
    dense[:USERS, USERS:], dense[USERS:, :USERS] = normed, normed.t()
    return {MAIN: to_item, ("item", "rev_interacts", "user"): to_item.t()}, dense


def dense_bpr(x: dict[str, Tensor], batch: Batch) -> Tensor:
    src, dst = x[batch.edge_type[0]], x[batch.edge_type[2]]
    rows = src[batch.src_index]
    gap = (rows * (dst[batch.dst_neg_index] - dst[batch.dst_pos_index])).sum(-1)
    return (batch.weight * softplus(gap)).sum() / batch.size


def dense_lightgcn(tables: dict[str, Tensor], dense: Tensor, layers: int) -> dict[str, Tensor]:
    e = torch.cat([tables["user"], tables["item"]])
    total = e
    for _ in range(layers):
        e = dense @ e
        total = total + e
    total = total / (layers + 1)
    return {"user": total[:USERS], "item": total[USERS:]}


def dense_ngcf(
    tables: dict[str, Tensor], dense: Tensor, weights: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    e = torch.cat([tables["user"], tables["item"]])
    out = [e]
    for w1, w2 in weights:
        neighbours = dense @ e
        e = leaky_relu((neighbours + e) @ w1 + (neighbours * e) @ w2, 0.2)
        out.append(normalize(e, dim=-1))
    total = torch.cat(out, dim=-1)
    return {"user": total[:USERS], "item": total[USERS:]}


def pmtrec(grads: Tensor, tau: float, focus: float) -> Tensor:
    norms = grads.norm(dim=-1)
    norms[0] = norms[0] * focus
    return ((norms / tau).softmax(0).unsqueeze(-1) * grads).sum(0)


def tasks() -> dict:
    return {"bpr": BPR(), "social": LinkPrediction(TRUSTS), "also-viewed": LinkPrediction(ALSO)}


def batches(seed: int) -> dict[str, Batch]:
    return {
        "bpr": triplets(MAIN, seed),
        "social": triplets(TRUSTS, seed + 1),
        "also-viewed": triplets(ALSO, seed + 2, num=1),
    }


def full_gradients(x_of, parameters: list[Tensor], found: dict[str, Batch]) -> list[list[Tensor]]:
    out = []
    for batch in found.values():
        grads = torch.autograd.grad(dense_bpr(x_of(), batch), parameters, allow_unused=True)
        out.append(
            [
                torch.zeros_like(p) if g is None else g
                for g, p in zip(grads, parameters, strict=True)
            ]
        )
    return out


@pytest.fixture(params=[False, True], ids=["dynamic", "static"])
def static(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Runs the shapes of a GPU on the CPU too."""

    def forced(ids: Tensor, static: bool) -> Tensor:
        return unique_rows(ids, static=request.param)

    monkeypatch.setattr(_forward_pass, "unique_rows", forced)
    return bool(request.param)


@pytest.mark.parametrize("seed", range(3))
def test_gathered_rows_are_the_dense_gradient(seed: int, static: bool) -> None:
    tables = embedding()
    found = batches(seed)
    collected = GradientCollector(tables, MF(), tasks()).collect(found)
    params = tables.weight_dict
    expected = full_gradients(lambda: dict(params.items()), [params["user"], params["item"]], found)
    for position, table in enumerate(("user", "item")):
        rows = collected.rows[table]
        full = torch.zeros(3, *params[table].shape, dtype=torch.float64)
        full.index_add_(1, rows.ids, rows.grads)
        torch.testing.assert_close(full, torch.stack([e[position] for e in expected]))
    for loss, batch in zip(collected.losses, found.values(), strict=True):
        torch.testing.assert_close(loss, dense_bpr(dict(params.items()), batch).detach())


@pytest.mark.parametrize("at", ["embedding", "representation"])
def test_mf_step_fills_the_dense_gradient(at: str, static: bool) -> None:
    tables = embedding()
    step = MultiTaskStep(GradientCollector(tables, MF(), tasks(), at=at), PMTRec(1.1, 0.05))
    params = tables.weight_dict
    for seed in range(4):  # rows of the last step must be gone in the next
        found = batches(10 * seed)
        if seed == 2:
            for parameter in params.values():
                parameter.grad = None
        step(found, epoch=seed)
        expected = full_gradients(
            lambda: dict(params.items()), [params["user"], params["item"]], found
        )
        for position, table in enumerate(("user", "item")):
            stack = torch.stack([e[position] for e in expected])
            torch.testing.assert_close(params[table].grad, pmtrec(stack, 0.05, 1.1**seed))


@pytest.mark.parametrize("rule", [Sum(), PMTRec(1.0, 1e9, scale="sum")], ids=["sum", "limit"])
@pytest.mark.parametrize("at", ["embedding", "representation"])
@pytest.mark.parametrize("encoder", [MF(), LightGCN(2)], ids=["mf", "lightgcn"])
def test_sum_is_one_backward_of_the_summed_loss(
    encoder: Encoder, at: str, rule: Balancer, static: bool
) -> None:
    tables, found = embedding(), batches(5)
    adj_dict, dense = adjacency()
    params = dict(tables.weight_dict.items())
    MultiTaskStep(GradientCollector(tables, encoder, tasks(), at=at), rule, adj_dict)(
        found, epoch=1
    )
    layers = 0 if encoder.local else 2
    total = sum(dense_bpr(dense_lightgcn(params, dense, layers), b) for b in found.values())
    expected = torch.autograd.grad(total, [params["user"], params["item"]])
    for table, grad in zip(("user", "item"), expected, strict=True):
        torch.testing.assert_close(params[table].grad, grad, rtol=1e-6, atol=1e-9)


def test_lightgcn_at_the_embedding(static: bool) -> None:
    tables, found = embedding(), batches(5)
    adj_dict, dense = adjacency()
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, LightGCN(2), tasks())
    MultiTaskStep(collector, PMTRec(1.1, 0.02), adj_dict)(found, epoch=3)
    expected = full_gradients(
        lambda: dense_lightgcn(params, dense, 2), [params["user"], params["item"]], found
    )
    for position, table in enumerate(("user", "item")):
        stack = torch.stack([e[position] for e in expected])  # sum_t D_t J' g_t
        torch.testing.assert_close(params[table].grad, pmtrec(stack, 0.02, 1.1**3))


def test_lightgcn_at_the_representation(static: bool) -> None:
    tables, found = embedding(), batches(5)
    adj_dict, dense = adjacency()
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, LightGCN(2), tasks(), at="representation")
    MultiTaskStep(collector, PMTRec(1.1, 0.02), adj_dict)(found, epoch=3)
    out = dense_lightgcn(params, dense, 2)
    at_x = full_gradients(lambda: out, [out["user"], out["item"]], found)
    combined = [pmtrec(torch.stack([e[i] for e in at_x]), 0.02, 1.1**3) for i in range(2)]
    expected = torch.autograd.grad(  # J' sum_t D_t g_t
        [out["user"], out["item"]], [params["user"], params["item"]], combined
    )
    for table, grad in zip(("user", "item"), expected, strict=True):
        torch.testing.assert_close(params[table].grad, grad)


def ngcf() -> tuple[NGCF, list[tuple[Tensor, Tensor]]]:
    encoder = NGCF(DIM, 2, dropout=0.0).double()
    weights = [p for name, p in encoder.named_parameters() if "weight" in name]
    return encoder, list(zip(weights[::2], weights[1::2], strict=True))


@pytest.mark.parametrize("mode", ["mean", "sum"])
def test_ngcf_weights_at_the_embedding(mode: str) -> None:
    tables, found = embedding(), batches(5)
    adj_dict, dense = adjacency()
    encoder, weights = ngcf()
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, encoder, tasks())
    MultiTaskStep(collector, PMTRec(1.0, 0.02, dense=mode), adj_dict)(found, epoch=1)
    flat = [w for pair in weights for w in pair]
    expected = full_gradients(lambda: dense_ngcf(params, dense, weights), flat, found)
    for position, weight in enumerate(flat):
        grads = torch.stack([e[position] for e in expected])
        torch.testing.assert_close(weight.grad, grads.mean(0) if mode == "mean" else grads.sum(0))


def test_ngcf_weights_at_the_representation() -> None:
    tables, found = embedding(), batches(5)
    adj_dict, dense = adjacency()
    encoder, weights = ngcf()
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, encoder, tasks(), at="representation")
    MultiTaskStep(collector, PMTRec(1.0, 0.02), adj_dict)(found, epoch=1)
    out = dense_ngcf(params, dense, weights)
    at_x = full_gradients(lambda: out, [out["user"], out["item"]], found)
    combined = [pmtrec(torch.stack([e[i] for e in at_x]), 0.02, 1.0) for i in range(2)]
    flat = [w for pair in weights for w in pair]
    expected = torch.autograd.grad([out["user"], out["item"]], flat, combined)
    for weight, grad in zip(flat, expected, strict=True):
        torch.testing.assert_close(weight.grad, grad)


@pytest.mark.parametrize("rule", [Sum(), PMTRec(1.0, 0.02)], ids=["sum", "pmtrec"])
def test_own_parameters_get_their_own_gradient(rule: Balancer) -> None:
    tables, batch = embedding(), rated(3)
    rating = RatingRegression(USERS, ITEMS, mean=0.5).double()
    collector = GradientCollector(tables, MF(), {"bpr": BPR(), "rating": rating})
    MultiTaskStep(collector, rule)({"bpr": triplets(MAIN, 1), "rating": batch}, epoch=1)
    x = {name: table.detach() for name, table in tables.weight_dict.items()}
    src, dst = batch.src_index, batch.dst_pos_index
    residual = (x["user"][src] * x["item"][dst]).sum(-1) + 0.5 - batch.edge_label
    slope = batch.weight * 2 * residual / SIZE
    torch.testing.assert_close(
        rating.src_bias.grad, torch.zeros(USERS).double().index_add(0, src, slope)
    )
    torch.testing.assert_close(
        rating.dst_bias.grad, torch.zeros(ITEMS).double().index_add(0, dst, slope)
    )


@pytest.mark.parametrize("at", ["embedding", "representation"])
@pytest.mark.parametrize("layers", [0, 2])
def test_l2_of_a_task_reaches_the_tables_directly(at: str, layers: int) -> None:
    tables, batch = embedding(), triplets(MAIN, 4)
    adj_dict, dense = adjacency()
    params = dict(tables.weight_dict.items())
    encoder = LightGCN(layers) if layers else MF()
    collector = GradientCollector(tables, encoder, {"bpr": BPR(l2=0.3)}, at=at)
    MultiTaskStep(collector, PMTRec(1.0, 0.02), adj_dict)({"bpr": batch}, epoch=1)
    rows = [
        params[table][index].square().sum(-1)
        for table, index in (
            ("user", batch.src_index),
            ("item", batch.dst_pos_index),
            ("item", batch.dst_neg_index),
        )
    ]
    penalty = 0.3 / 2 * (batch.weight * sum(rows)).sum() / SIZE
    total = dense_bpr(dense_lightgcn(params, dense, layers), batch) + penalty
    expected = torch.autograd.grad(total, [params["user"], params["item"]])
    for table, grad in zip(("user", "item"), expected, strict=True):
        torch.testing.assert_close(params[table].grad, grad)


@given(st.lists(st.integers(0, 20), max_size=30))
def test_unique_rows(ids: list[int]) -> None:
    found = torch.tensor(ids, dtype=torch.long)
    dynamic = unique_rows(found, static=False)
    assert dynamic.tolist() == sorted(set(ids))
    tail = [0] * (len(ids) - len(set(ids)))
    assert unique_rows(found, static=True).tolist() == sorted(set(ids)) + tail


def test_a_batch_of_weight_zero_leaves_zero_gradients(static: bool) -> None:
    tables, batch = embedding(), triplets(MAIN, 4)
    batch.weight = torch.zeros(5, dtype=torch.float64)
    step = MultiTaskStep(GradientCollector(tables, MF(), {"bpr": BPR()}), PMTRec(1.0, 1e-6))
    step({"bpr": batch}, epoch=1)
    for table in tables.weight_dict.values():
        assert torch.equal(table.grad, torch.zeros_like(table))


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="'at' needs to be 'embedding' or 'representation'"):
        GradientCollector(embedding(), MF(), {"bpr": BPR()}, at="leaf")
    with pytest.raises(InputError, match="at least one task"):
        GradientCollector(embedding(), MF(), {})
    collector = partial(GradientCollector, embedding(), MF())
    with pytest.raises(InputError, match="task 'bpr' has none"):
        collector({"bpr": BPR()}).collect({"social": triplets(TRUSTS, 1)})
    small = NodeEmbedding({"item": ITEMS}, DIM).double()
    with pytest.raises(InputError, match="no table for node type 'user'"):
        GradientCollector(small, MF(), {"bpr": BPR()}).collect({"bpr": triplets(MAIN, 1)})
