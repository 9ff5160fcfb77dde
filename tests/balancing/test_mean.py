import pytest
import torch
from gradient_bank import BANK, task_gradients
from hypothesis import given
from torch import Tensor

from pyg_mtrec.balancing import Mean, Sum


@given(BANK)
def test_each_row_gets_the_mean_of_the_loop(grads: Tensor) -> None:
    out, total = Mean()(grads), Sum()(grads)
    for row in range(grads.size(1)):
        for column in range(grads.size(2)):
            entries = grads[:, row, column].tolist()
            scale = max(map(abs, entries))
            assert total[row, column].item() == pytest.approx(sum(entries), abs=1e-15 * scale)
            mean = sum(entries) / len(entries)
            assert out[row, column].item() == pytest.approx(mean, rel=1e-12, abs=1e-15 * scale)


def test_every_block_gets_the_same_weights_and_own_parameters_none() -> None:
    given_ = task_gradients(seed=0)
    update = Mean().update(given_, epoch=3)
    for name, rows in given_.rows.items():
        torch.testing.assert_close(update.rows[name], rows.grads.mean(dim=0))
    for name, grads in given_.dense.items():
        torch.testing.assert_close(update.dense[name], grads.mean(dim=0))
    assert update.own is given_.own


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights(dtype: torch.dtype) -> None:
    for tasks in (1, 2, 3, 5):
        losses = torch.arange(tasks, dtype=dtype)
        weights = Mean().loss_weights(losses, epoch=1)
        assert torch.equal(weights, torch.full((tasks,), 1 / tasks, dtype=dtype))
        assert torch.equal(Sum().loss_weights(losses, epoch=1), torch.ones(tasks, dtype=dtype))
    assert Mean().state_dict() == {}
