from dataclasses import replace

import pytest
import torch
from bank import MAIN, graphs
from no_sync import NoSync

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import RatingRegression


def _case(seed=0, b=9):
    g = torch.Generator().manual_seed(seed)
    task = RatingRegression(5, 6, mean=3.5).double()
    for bias in (task.src_bias, task.dst_bias):
        bias.data = torch.randn(bias.shape, generator=g, dtype=torch.float64)
    x_dict = {
        "user": torch.randn(5, 3, generator=g, dtype=torch.float64),
        "item": torch.randn(6, 3, generator=g, dtype=torch.float64),
    }
    pairs = torch.stack([torch.randint(n, (b,), generator=g) for n in (5, 6)])
    label = torch.randint(1, 6, (b,), generator=g).float()
    label[2] = float("nan")
    weight = torch.rand(b, generator=g)
    weight[4] = 0.0
    batch = Batch(MAIN, b + 1, edge_label_index=pairs, edge_label=label, weight=weight)
    return task, batch, x_dict


def _loop(task, batch, x_dict):
    total = 0.0
    for b, (u, i) in enumerate(batch.edge_label_index.t().tolist()):
        rating = float(batch.edge_label[b])
        if rating != rating:
            continue
        predicted = 3.5 + task.src_bias[u].item() + task.dst_bias[i].item()
        for k in range(3):
            predicted += float(x_dict["user"][u, k]) * float(x_dict["item"][i, k])
        total += float(batch.weight[b]) * (predicted - rating) ** 2
    return total / batch.size


def test_the_loss_is_the_loops():
    task, batch, x_dict = _case()
    found = task(batch, Representations(x_dict))
    assert found.item() == pytest.approx(_loop(task, batch, x_dict), rel=1e-7)
    one_column = replace(batch, edge_label=batch.edge_label[:, None])
    assert torch.equal(task(one_column, Representations(x_dict)), found)


def test_order_and_padding_change_nothing():
    task, batch, x_dict = _case()
    x = Representations(x_dict)
    want = task(batch, x)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([torch.arange(9), torch.tensor([1, 1])])
    for index, weight in (
        (order, batch.weight[order]),
        (padded, torch.cat([batch.weight, torch.zeros(2)])),
    ):
        changed = replace(
            batch,
            edge_label_index=batch.edge_label_index[:, index],
            edge_label=batch.edge_label[index],
            weight=weight,
        )
        assert torch.allclose(task(changed, x), want, rtol=1e-12)


def test_gradients_of_rows_and_biases():
    task, batch, x_dict = _case()

    def value(users, items, src_bias, dst_bias):
        return torch.func.functional_call(
            task,
            {"src_bias": src_bias, "dst_bias": dst_bias},
            (batch, Representations({"user": users, "item": items})),
        )

    inputs = [x_dict["user"], x_dict["item"], task.src_bias.detach(), task.dst_bias.detach()]
    assert torch.autograd.gradcheck(value, [x.clone().requires_grad_() for x in inputs])


def test_a_missing_rating_has_no_gradient():
    task, batch, x_dict = _case()
    batch = replace(batch, edge_label=torch.full((9,), float("nan")))
    leaves = {node_type: x.requires_grad_() for node_type, x in x_dict.items()}
    loss = task(batch, Representations(leaves))
    assert loss.item() == 0.0
    for grad in torch.autograd.grad(loss, [*leaves.values(), *task.parameters()]):
        assert not grad.any()


@pytest.mark.parametrize("name", [n for n, d in graphs().items() if "rating" in d[MAIN]])
def test_from_data_reads_sizes_and_mean(name):
    data = graphs()[name]
    task = RatingRegression.from_data(data)
    assert task.src_bias.shape == (data["user"].num_nodes,)
    assert task.dst_bias.shape == (data["item"].num_nodes,)
    assert not task.src_bias.any() and not task.dst_bias.any()
    ratings = data[MAIN].rating.tolist()
    assert float(task.mean) == pytest.approx(sum(ratings) / len(ratings), rel=1e-6)
    sampler = task.sampler(data, torch.Generator())
    batch = sampler.sample(torch.arange(sampler.num_edges), sampler.num_edges)
    zeros = {n: torch.zeros(data[n].num_nodes, 2) for n in ("user", "item")}
    variance = sum((r - sum(ratings) / len(ratings)) ** 2 for r in ratings) / len(ratings)
    assert task(batch, Representations(zeros)).item() == pytest.approx(variance, rel=1e-4)


def test_the_mean_is_the_training_splits():
    data = graphs()["plain"]
    data[MAIN].edge_label_index = data[MAIN].edge_index[:, :4]
    data[MAIN].edge_label_rating = torch.tensor([1.0, 2.0, float("nan"), 6.0])
    assert float(RatingRegression.from_data(data).mean) == pytest.approx(3.0)


def test_parameters_exist_from_the_start_and_survive_a_round_trip():
    task, batch, x_dict = _case()
    assert sorted(dict(task.named_parameters())) == ["dst_bias", "src_bias"]
    other = RatingRegression(5, 6).double()
    other.load_state_dict(task.state_dict())
    x = Representations(x_dict)
    assert torch.equal(other(batch, x), task(batch, x))
    task.reset_parameters()
    assert not any(bool(p.any()) for p in task.parameters())


def test_prediction_adds_up():
    task = RatingRegression(1, 1, mean=3.0)
    task.src_bias.data.fill_(0.5)
    task.dst_bias.data.fill_(-0.25)
    one = torch.tensor([[2.0]])
    batch = Batch(MAIN, 1, torch.tensor([0]), torch.tensor([0]))
    assert task.predict(batch, Representations({"user": one, "item": one})).item() == 7.25


def test_a_step_never_waits():
    task, batch, x_dict = _case()
    with NoSync():
        task(batch, Representations(x_dict)).backward()


def test_bad_input_gets_one_line():
    unrated = graphs()["one_relation"]
    empty = graphs()["plain"]
    empty[MAIN].rating = torch.full((40,), float("nan"))
    for make, match in (
        (lambda: RatingRegression(0, 3), "need to be positive"),
        (lambda: RatingRegression(3, 3, mean=float("nan")), "'mean' needs to be finite"),
        (lambda: RatingRegression.from_data(unrated), "needs the edge attribute 'rating'"),
        (lambda: RatingRegression.from_data(empty), "'mean' needs to be finite"),
    ):
        with pytest.raises(InputError, match=match):
            make()


def test_repr_says_the_sizes():
    assert "5, 6" in repr(RatingRegression(5, 6))
