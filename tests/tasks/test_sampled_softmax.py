import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from bank import ALSO_VIEWED, MAIN, graphs
from hypothesis import given, settings
from hypothesis import strategies as st
from no_sync import NoSync
from torch.nn.functional import cross_entropy, normalize
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Sum
from pyg_mtrec.gradients import GradientCollector, _forward_pass
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.loader import Batch, MultiTaskLoader
from pyg_mtrec.nn import MF, Adjacency, LightGCN, NodeEmbedding
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import BPR, AlignmentUniformity, SampledSoftmax, _shared_softmax
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import NormalizedAdjacency

KINDS = [("uniform", False), ("batch", False), ("batch", True)]


def _score(u, v, kind):
    dot = math.fsum(a * b for a, b in zip(u, v, strict=True))
    if kind == "dot":
        return dot
    return dot / (max(math.hypot(*u), 1e-12) * max(math.hypot(*v), 1e-12))


def _loop(batch, x_dict, task):
    src_type, _, dst_type = batch.edge_type
    users, items = (x_dict[node_type].double().tolist() for node_type in (src_type, dst_type))
    src, dst = batch.src_index.tolist(), batch.dst_pos_index.tolist()
    weight = [1.0] * len(src) if batch.weight is None else batch.weight.tolist()
    if task.negatives == "uniform":
        negatives = [(j, 1.0) for j in batch.dst_neg_index.view(-1).tolist()]
    else:
        live = [k for k in range(len(src)) if weight[k] > 0]
        negatives = [(dst[k], 1.0) for k in live]
        if task.log_q:
            others = max(len(live) - 1, 1)
            negatives = [(dst[k], others * math.exp(float(batch.dst_log_q[k]))) for k in live]
    total = 0.0
    for u, i, w in zip(src, dst, weight, strict=True):
        hidden = {i, u} if src_type == dst_type else {i}
        pos = _score(users[u], items[i], task.score) / task.temperature
        logits = [0.0]
        for j, expected in negatives:
            if j not in hidden:
                score = _score(users[u], items[j], task.score) / task.temperature
                logits.append(score - pos - math.log(expected))
        top = max(logits)
        total += w * (top + math.log(math.fsum(math.exp(x - top) for x in logits)))
    return total / batch.size


def _case(seed=0, b=11, m=6, dim=4, scale=1.0, nodes=7, weighted=True, edge_type=MAIN):
    g = torch.Generator().manual_seed(seed)
    x_dict = {
        node_type: scale * torch.randn(nodes, dim, generator=g, dtype=torch.float64)
        for node_type in {edge_type[0]: 0, edge_type[2]: 0}
    }
    src, dst = (torch.randint(nodes, (b,), generator=g) for _ in range(2))
    neg = torch.randint(nodes, (1, m), generator=g)
    weight = 2 * torch.rand(b, generator=g).double() if weighted else None
    if weighted:
        weight = weight * (torch.rand(b, generator=g) > 0.3)
    log_q = torch.rand(nodes, generator=g).double().log()[dst]
    return Batch(edge_type, b + 3, src, dst, neg, weight=weight, dst_log_q=log_q), x_dict


def _task(negatives, log_q=False, **kwargs):
    return SampledSoftmax(negatives=negatives, log_q=log_q, **kwargs)


@pytest.mark.parametrize("edge_type", [MAIN, ALSO_VIEWED])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("score", "temperature"), [("cosine", None), ("dot", None), ("dot", 3.0)])
@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_the_loss_is_the_loops(negatives, log_q, score, temperature, weighted, edge_type):
    batch, x_dict = _case(weighted=weighted, edge_type=edge_type)
    task = _task(negatives, log_q, score=score, temperature=temperature, edge_type=edge_type)
    found = task(batch, Representations(x_dict))
    assert found.item() == pytest.approx(_loop(batch, x_dict, task), rel=1e-8)


@given(
    st.integers(0, 10**6),
    st.sampled_from([0, 1, 2, 6]),
    st.sampled_from([0, 1, 5]),
    st.sampled_from([1, 3]),
    st.sampled_from([1e-10, 1.0, 1e10]),
    st.sampled_from(KINDS),
    st.sampled_from(["cosine", "dot"]),
    st.booleans(),
)
@settings(max_examples=50)
def test_the_loss_is_the_loops_on_anything(seed, b, m, dim, scale, kind, score, weighted):
    batch, x_dict = _case(seed, b, m, dim, scale, nodes=4, weighted=weighted)
    leaves = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    task = _task(*kind, score=score)
    found = task(batch, Representations(leaves))
    plain = {node_type: x.detach() for node_type, x in x_dict.items()}
    assert found.item() == pytest.approx(_loop(batch, plain, task), rel=1e-8, abs=1e-12)
    for grad in torch.autograd.grad(found, list(leaves.values())):
        assert bool(grad.isfinite().all())


@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(graphs()))
def test_every_graph_trains_next_to_other_tasks(name, tasks):
    data, generator = graphs()[name], torch.Generator().manual_seed(0)
    named = {
        "uniform": SampledSoftmax(num_negatives=5),
        "batch": _task("batch", True),
        "streamed": _task("batch", anchored=False),
    }
    named = dict(list(named.items())[:tasks])
    samplers = {key: task.sampler(data, generator) for key, task in named.items()}
    embedding = NodeEmbedding.from_data(data, 3).double()
    collector = GradientCollector(embedding, MF(), named)
    plain = {key: table.detach() for key, table in embedding.weight_dict.items()}
    loader = MultiTaskLoader(samplers, 6, generator)
    for _, batches in zip(range(3), loader, strict=False):
        found = collector.collect(batches)
        want = [_loop(batches[key], plain, task) for key, task in named.items()]
        assert found.losses.tolist() == pytest.approx(want, rel=1e-6, abs=1e-12)
        for rows in found.rows.values():
            assert bool(rows.grads.isfinite().all())


@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_all_items_once_are_the_full_cross_entropy(score):
    batch, x_dict = _case(nodes=30, weighted=False)
    batch = replace(batch, size=11, dst_neg_index=torch.arange(30)[None])
    leaves = [x_dict[node_type].requires_grad_() for node_type in ("user", "item")]
    users, items = (normalize(x, dim=1) if score == "cosine" else x for x in leaves)
    want = cross_entropy(users[batch.src_index] @ items.t() / 0.3, batch.dst_pos_index)
    found = SampledSoftmax(score=score, temperature=0.3)(batch, Representations(x_dict))
    torch.testing.assert_close(found, want, rtol=1e-9, atol=1e-12)
    grads = (torch.autograd.grad(loss, leaves) for loss in (found, want))
    for got, expected in zip(*grads, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "hub", "duplicates", "one_user", "single_edge"])
def test_the_whole_graph_as_a_corrected_batch_is_the_full_cross_entropy(name):
    data, task = graphs()[name], _task("batch", True, temperature=0.5)
    sampler = task.sampler(data, torch.Generator())
    batch = sampler.sample(torch.arange(sampler.num_edges), sampler.num_edges)
    x_dict = NodeEmbedding.from_data(data, 3).double()()
    met, label = batch.dst_pos_index.unique(return_inverse=True)
    users, items = (normalize(x_dict[node_type], dim=1) for node_type in ("user", "item"))
    want = cross_entropy(users[batch.src_index] @ items[met].t() / 0.5, label)
    torch.testing.assert_close(task(batch, Representations(x_dict)), want, rtol=1e-6, atol=1e-9)


def test_a_corrected_batch_is_unbiased():
    data, task = graphs()["duplicates"], _task("batch", True, score="dot")
    sampler = task.sampler(data, torch.Generator())
    x_dict = NodeEmbedding.from_data(data, 3).double()()
    src, dst = data[MAIN].edge_index.tolist()
    for edge in (0, 1, 4):
        scores = (x_dict["item"] @ x_dict["user"][src[edge]]).exp().tolist()
        want = sum(scores) / scores[dst[edge]]  # all four items have interactions
        found = []
        for others in combinations([e for e in range(10) if e != edge], 3):
            batch = sampler.sample(torch.tensor([edge, *others]), 1)
            # The other pairs are there, but cost nothing.
            batch.weight = torch.tensor([1.0, 1e-200, 1e-200, 1e-200], dtype=torch.float64)
            found.append(math.exp(task(batch, Representations(x_dict)).item()))
        assert sum(found) / len(found) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("edge_type", [MAIN, ALSO_VIEWED])
@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
@pytest.mark.parametrize("score", ["cosine", "dot"])
def test_gradients(negatives, log_q, score, edge_type):
    batch, x_dict = _case(b=5, nodes=4, edge_type=edge_type)
    task = _task(negatives, log_q, score=score, temperature=0.7, edge_type=edge_type)

    def value(*tables):
        return task(batch, Representations(dict(zip(x_dict, tables, strict=True))))

    assert torch.autograd.gradcheck(value, [x.requires_grad_() for x in x_dict.values()])


@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_order_and_padding_change_nothing(negatives, log_q):
    batch, x_dict = _case()
    task, x = _task(negatives, log_q), Representations(x_dict)
    want = task(batch, x)
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([torch.arange(11), torch.tensor([4, 4, 2])])
    for index, weight in (
        (order, batch.weight[order]),
        (padded, torch.cat([batch.weight, torch.zeros(3, dtype=torch.double)])),
    ):
        changed = replace(
            batch,
            src_index=batch.src_index[index],
            dst_pos_index=batch.dst_pos_index[index],
            dst_log_q=batch.dst_log_q[index],
            weight=weight,
        )
        torch.testing.assert_close(task(changed, x), want, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_a_pair_without_a_negative_costs_nothing(negatives, log_q):
    _, x_dict = _case()
    leaves = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    users, item = torch.tensor([0, 1, 2]), torch.tensor([3, 3, 3])
    neg, log_q_of = torch.full((1, 4), 3), torch.zeros(3)
    batch = Batch(MAIN, 3, users, item, neg, dst_log_q=log_q_of)
    found = _task(negatives, log_q)(batch, Representations(leaves))
    assert found.item() == 0.0
    for grad in torch.autograd.grad(found, list(leaves.values())):
        assert bool((grad == 0).all())


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_no_temperature_is_too_much_for_float32(negatives, log_q, temperature):
    batch, x_dict = _case(weighted=False)
    x_dict = {node_type: x.float().requires_grad_() for node_type, x in x_dict.items()}
    task = _task(negatives, log_q, temperature=temperature)
    found = task(batch, Representations(x_dict))
    plain = {node_type: x.detach() for node_type, x in x_dict.items()}
    assert found.item() == pytest.approx(_loop(batch, plain, task), rel=1e-4)
    for grad in torch.autograd.grad(found, list(x_dict.values())):
        assert bool(grad.isfinite().all())


@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_chunks_change_neither_value_nor_gradient(negatives, log_q, monkeypatch):
    batch, x_dict = _case(b=23, nodes=20)
    results = []
    for chunk in (100, 5, 1):
        monkeypatch.setattr(_shared_softmax, "CHUNK", chunk)
        leaves = {n: x.clone().requires_grad_() for n, x in x_dict.items()}
        found = _task(negatives, log_q)(batch, Representations(leaves))
        results.append([found.detach(), *torch.autograd.grad(found, list(leaves.values()))])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_a_step_never_waits(negatives, log_q):
    data, generator = graphs()["plain"], torch.Generator().manual_seed(0)
    task = _task(negatives, log_q)
    sampler = task.sampler(data, generator)
    x_dict = {key: x.requires_grad_() for key, x in NodeEmbedding.from_data(data, 3)().items()}
    index = torch.tensor([0, 3, 1])
    with NoSync():
        batch = sampler.sample(index, 3)
        task.node_ids(batch)
        task(batch, Representations(x_dict)).backward()


def _dense(tables, batch, negatives, log_q):
    users, items = (normalize(tables[n], dim=1) for n in ("user", "item"))
    logits = users[batch.src_index] @ items.t() / 0.1  # [b, N]
    pos = logits.gather(1, batch.dst_pos_index[:, None])
    if negatives == "uniform":
        counts = torch.bincount(batch.dst_neg_index.view(-1), minlength=items.size(0)).double()
    else:
        each = torch.ones(batch.dst_pos_index.numel(), dtype=torch.float64)
        if log_q:
            each = (-batch.dst_log_q.double()).exp() / (each.numel() - 1)
        counts = each.new_zeros(items.size(0)).index_add(0, batch.dst_pos_index, each)
    counts = counts.repeat(pos.size(0), 1).scatter(1, batch.dst_pos_index[:, None], 0.0)
    return (1 + (counts * (logits - pos).exp()).sum(1)).log().sum() / batch.size


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_gathered_rows_are_the_dense_gradient(negatives, log_q, layers, static, monkeypatch):
    monkeypatch.setattr(
        _forward_pass, "unique_rows", lambda ids, **_: unique_rows(ids, static=static)
    )
    data, generator = graphs()["larger"], torch.Generator().manual_seed(0)
    embedding = NodeEmbedding.from_data(data, 4).double()
    adj_dict = Adjacency.dict_from(NormalizedAdjacency()(data))
    adj_dict = {key: adj.to(torch.float64) for key, adj in adj_dict.items()}
    encoder = LightGCN(layers) if layers else MF()
    tasks = {
        "softmax": _task(negatives, log_q, **({} if log_q else {"num_negatives": 40})),
        "bpr": BPR(),
        "alignment": AlignmentUniformity(),
    }
    loader = MultiTaskLoader(
        {key: task.sampler(data, generator) for key, task in tasks.items()}, 50, generator
    )
    collector = GradientCollector(embedding, encoder, tasks)
    tables = dict(embedding.weight_dict.items())
    for _, batches in zip(range(2), loader, strict=False):
        rows = collector.collect(batches, adj_dict).rows
        x_dict = dict(encoder(tables, adj_dict).x_dict)
        want = torch.autograd.grad(
            _dense(x_dict, batches["softmax"], negatives, log_q), list(tables.values())
        )
        for name, expected in zip(tables, want, strict=True):
            ids, grad = rows[name].ids, rows[name].grads[0]
            full = grad if ids is None else torch.zeros_like(expected).index_add(0, ids, grad)
            torch.testing.assert_close(full, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("negatives", "log_q"), KINDS)
def test_a_summed_step_fills_the_dense_gradient(negatives, log_q):
    data, generator = graphs()["larger"], torch.Generator().manual_seed(0)
    embedding = NodeEmbedding.from_data(data, 4).double()
    tasks = {"softmax": _task(negatives, log_q), "again": _task(negatives, log_q)}
    loader = MultiTaskLoader(
        {key: task.sampler(data, generator) for key, task in tasks.items()}, 50, generator
    )
    step = MultiTaskStep(GradientCollector(embedding, MF(), tasks), Sum())
    tables = dict(embedding.weight_dict.items())
    for _, batches in zip(range(3), loader, strict=False):
        step(batches, epoch=1)
        total = sum(_dense(tables, batch, negatives, log_q) for batch in batches.values())
        want = torch.autograd.grad(total, list(tables.values()))
        for table, expected in zip(tables.values(), want, strict=True):
            torch.testing.assert_close(table.grad, expected, rtol=1e-6, atol=1e-9)


def test_it_learns_what_the_users_like():
    # Two worlds of users and items: after training every user's own items come first.
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 20, 30
    world = torch.cartesian_prod(torch.arange(20), torch.arange(30))
    data[MAIN].edge_index = world[(world[:, 0] % 2) == (world[:, 1] % 2)].t().contiguous()
    for negatives, log_q in KINDS:
        generator = torch.Generator().manual_seed(0)
        task = _task(negatives, log_q, num_negatives=16)
        embedding = NodeEmbedding.from_data(data, 8)
        optimizer = torch.optim.Adam(embedding.parameters(), lr=0.05)
        loader = MultiTaskLoader({"a": task.sampler(data, generator)}, 64, generator)
        for _ in range(15):
            for batches in loader:
                optimizer.zero_grad()
                task(batches["a"], Representations(embedding())).backward()
                optimizer.step()
        x = {key: normalize(rows.detach(), dim=1) for key, rows in embedding().items()}
        top = (x["user"] @ x["item"].t()).topk(15).indices
        assert bool((top % 2 == torch.arange(20)[:, None] % 2).all())


@pytest.mark.parametrize("shape", [(2,), (2, 3)])
def test_negatives_of_pygs_triplets_serve_all_pairs(shape):
    _, x_dict = _case()
    data = HeteroData()
    data["user"].n_id, data["item"].n_id = torch.tensor([6, 5, 4]), torch.tensor([3, 0, 2])
    data["user"].src_index = torch.tensor([1, 0])
    data["item"].dst_pos_index = torch.tensor([0, 1])
    data["item"].dst_neg_index = torch.arange(math.prod(shape)).view(shape) % 3
    neg = data["item"].n_id[data["item"].dst_neg_index].view(1, -1)
    same = Batch(MAIN, 2, torch.tensor([5, 6]), torch.tensor([3, 0]), neg)
    for negatives in ("uniform", "batch"):
        task = _task(negatives)
        found = task(data, Representations(x_dict)).item()
        assert found == pytest.approx(_loop(same, x_dict, task), rel=1e-8)


def test_sampled_non_links_are_no_positives():
    _, x_dict = _case()
    pairs = torch.tensor([[0, 1, 2], [3, 4, 5]])
    batch = Batch(MAIN, 3, edge_label_index=pairs, edge_label=torch.tensor([1.0, 0.0, 1.0]))
    only = Batch(MAIN, 3, torch.tensor([0, 2]), torch.tensor([3, 5]))
    task = _task("batch")
    found = task(batch, Representations(x_dict)).item()
    assert found == pytest.approx(_loop(only, x_dict, task), rel=1e-8)


@pytest.mark.parametrize(
    ("task", "match"),
    [
        (SampledSoftmax(), "needs 'dst_neg_index' in the batch"),
        (_task("batch", True), "'log_q' of 'SampledSoftmax' needs 'dst_log_q'"),
    ],
)
def test_a_batch_that_lacks_something_gets_one_line(task, match):
    _, x_dict = _case()
    one = torch.tensor([1])
    with pytest.raises(InputError, match=match) as error:
        task(Batch(MAIN, 1, one, one), Representations(x_dict))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"num_negatives": 0}, r"'num_negatives' needs to be positive .* \(got 0\)"),
        ({"negatives": "popular"}, r"'negatives' needs .* 'SampledSoftmax' \(got 'popular'\)"),
        ({"score": "l2"}, r"'score' needs to be one of \('cosine', 'dot'\) .* \(got 'l2'\)"),
        ({"temperature": 0.0}, r"'temperature' needs to be positive .* \(got 0.0\)"),
        ({"temperature": float("nan")}, r"'temperature' .* \(got nan\)"),
        ({"log_q": True}, r"negatives='batch' \(got 'uniform'\)"),
    ],
)
def test_bad_arguments_get_one_line(kwargs, match):
    with pytest.raises(InputError, match=match) as error:
        SampledSoftmax(**kwargs)
    assert "\n" not in str(error.value)


def test_repr_says_the_settings():
    assert "num_negatives=512, score='cosine', temperature=0.1" in repr(SampledSoftmax())
    assert "'batch', score='dot', temperature=1.0, log_q=True" in repr(
        _task("batch", True, score="dot")
    )
