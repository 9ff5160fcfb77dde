import pytest
import torch
from gradient_bank import Training, task_gradients
from torch import Tensor

from pyg_mtrec.balancing import LossBalancer, PMTRec
from pyg_mtrec.nn import MF, Encoder, LightGCN, Representations


class Inverse(LossBalancer):
    """Weights that read the losses and the epoch."""

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        self.saw_graph = losses.requires_grad
        return epoch / (losses.square() + 1)


def test_update_weighs_every_block_by_the_losses() -> None:
    given = task_gradients(seed=0)
    update = Inverse().update(given, epoch=3)
    weights = [3 / (loss**2 + 1) for loss in given.losses.tolist()]
    for name, rows in given.rows.items():
        want = sum(w * g for w, g in zip(weights, rows.grads, strict=True))
        torch.testing.assert_close(update.rows[name], want, rtol=1e-13, atol=1e-14)
    for name, grads in given.dense.items():
        want = sum(w * g for w, g in zip(weights, grads, strict=True))
        torch.testing.assert_close(update.dense[name], want, rtol=1e-13, atol=1e-14)
    assert update.own is given.own


def test_hand_written_loops_pass_losses() -> None:
    grads = torch.tensor([[[1.0]], [[1.0]]])
    out = Inverse()(grads, epoch=2, losses=torch.tensor([0.0, 1.0]))
    assert out.item() == 2 + 1
    assert Inverse()(grads).item() == 2.0  # losses of zero where none are given


@pytest.mark.parametrize("encoder", [MF(), LightGCN(2)], ids=["mf", "lightgcn"])
def test_a_step_is_the_gradient_of_the_weighted_sum(encoder: Encoder) -> None:
    rule = Inverse()
    training = Training(rule, encoder)
    for batches in training.loader:
        losses = training.step(batches, epoch=2)
        assert not rule.saw_graph
        weights = [2 / (loss**2 + 1) for loss in losses.tolist()]
        tables = {
            name: table.detach().requires_grad_()
            for name, table in training.embedding.weight_dict.items()
        }
        x_dict = encoder(tables, training.adj_dict).x_dict
        tasks = training.collector.tasks
        total = sum(
            weight * task(batches[name], Representations(x_dict))
            for weight, (name, task) in zip(weights, tasks.items(), strict=True)
        )
        assert isinstance(total, Tensor)
        for name, grad in zip(
            tables, torch.autograd.grad(total, list(tables.values())), strict=True
        ):
            found = training.embedding.weight_dict[name].grad
            torch.testing.assert_close(found, grad, rtol=1e-10, atol=1e-14)


def test_needs() -> None:
    assert LossBalancer.needs == "losses"
    with pytest.raises(TypeError, match="abstract method"):
        LossBalancer()  # type: ignore[abstract]
    with pytest.raises(TypeError, match="'PMTRec' weighs gradients, not losses: call 'update'"):
        PMTRec().loss_weights(torch.ones(2), epoch=1)
