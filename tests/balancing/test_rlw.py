import math

import pytest
import torch
from gradient_bank import Training, task_gradients
from no_sync import NoSync

from pyg_mtrec.balancing import RLW, Mean


def test_weights_are_the_softmax_of_the_generators_normals() -> None:
    rule, generator = RLW(seed=5), torch.Generator().manual_seed(5)
    for _ in range(4):
        z = torch.randn(3, generator=generator).tolist()
        exp = [math.exp(value - max(z)) for value in z]
        want = [value / sum(exp) for value in exp]
        assert rule.loss_weights(torch.ones(3), epoch=1).tolist() == pytest.approx(want, rel=1e-5)


def test_drawn_anew_every_step_whatever_the_losses() -> None:
    ours, other = RLW(seed=0), RLW(seed=0)
    seen = []
    for step in range(5):
        seen.append(ours.loss_weights(torch.ones(2), epoch=1))
        same = other.loss_weights(torch.tensor([1e10, -1.0]) * step, epoch=step)
        assert torch.equal(seen[-1], same)
    assert len({tuple(weights.tolist()) for weights in seen}) == 5
    assert not torch.equal(seen[0], RLW(seed=1).loss_weights(torch.ones(2), epoch=1))
    ours.reset()
    assert torch.equal(ours.loss_weights(torch.ones(2), epoch=9), seen[0])


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_law(tasks: int) -> None:
    rule, steps = RLW(seed=0), 3000
    losses = torch.zeros(tasks, dtype=torch.float64)
    weights = torch.stack([rule.loss_weights(losses, epoch=1) for _ in range(steps)])
    torch.testing.assert_close(weights.sum(dim=1), torch.ones_like(weights[:, 0]))
    # All tasks alike: means 1 / T, and the logits' differences are N(0, 2), four sigmas wide.
    error = 4 * weights.std(dim=0) / math.sqrt(steps)
    assert ((weights.mean(dim=0) - 1 / tasks).abs() <= error + 1e-12).all()
    if tasks > 1:
        gap = weights[:, 0].log() - weights[:, -1].log()
        assert gap.mean().abs() < 4 * math.sqrt(2 / steps)
        assert abs(float(gap.var()) - 2) < 4 * 2 * math.sqrt(2 / steps)


def test_one_mixture_for_all_that_tasks_share() -> None:
    given = task_gradients(seed=0)
    weights = RLW(seed=3).loss_weights(given.losses, epoch=1)
    update = RLW(seed=3).update(given, epoch=1)
    for name, rows in given.rows.items():
        want = torch.einsum("t,trd->rd", weights, rows.grads)
        torch.testing.assert_close(update.rows[name], want)
    want = torch.einsum("t,tij->ij", weights, given.dense["weight"])
    torch.testing.assert_close(update.dense["weight"], want)
    assert torch.equal(RLW()(torch.zeros(2, 3, 4)), torch.zeros(3, 4))


def test_global_random_state_is_not_read_and_not_touched() -> None:
    before = torch.get_rng_state()
    first = RLW().loss_weights(torch.ones(2), epoch=1)
    torch.testing.assert_close(torch.get_rng_state(), before)
    torch.rand(1)
    assert torch.equal(RLW().loss_weights(torch.ones(2), epoch=1), first)


def test_a_step_never_waits() -> None:
    rule = RLW()
    with NoSync():
        rule.loss_weights(torch.ones(3), epoch=1)


def test_one_task_is_its_mean() -> None:
    random, mean = Training(RLW()), Training(Mean())
    batches = next(iter(random.loader))
    for training in (random, mean):
        training.collector.tasks = {"bpr": training.collector.tasks["bpr"]}
        training.step({"bpr": batches["bpr"]}, epoch=1)
    for name, grad in random.grads().items():
        torch.testing.assert_close(grad, mean.grads()[name])
