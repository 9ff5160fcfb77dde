import math

import pytest
import torch
from gradient_bank import BANK, task_gradients
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Constant, Mean, Sum

WEIGHTS = st.lists(st.sampled_from([0.0, 1e-6, 0.5, 1.0, 3.0, 1e6]), min_size=5, max_size=5)


@given(BANK, WEIGHTS)
def test_equals_the_loop(grads: Tensor, weights: list[float]) -> None:
    weights = weights[: grads.size(0)]
    out = Constant(weights)(grads)
    for row in range(grads.size(1)):
        for column in range(grads.size(2)):
            terms = [w * float(g[row, column]) for w, g in zip(weights, grads, strict=True)]
            scale = max(map(abs, terms))
            # the weights are stored in float32
            assert out[row, column].item() == pytest.approx(sum(terms), abs=1e-6 * scale)


@given(BANK)
def test_equal_weights_are_the_sum_and_the_mean(grads: Tensor) -> None:
    tasks = grads.size(0)
    assert torch.equal(Constant([1.0] * tasks)(grads), Sum()(grads))
    if math.log2(tasks).is_integer():  # else 1 / T is not a float32
        assert torch.equal(Constant([1 / tasks] * tasks)(grads), Mean()(grads))


def test_a_task_of_weight_zero_is_not_there() -> None:
    given_ = task_gradients(seed=1)
    update = Constant([1.0, 0.0, 0.0]).update(given_, epoch=1)
    assert torch.equal(update.rows["user"], given_.rows["user"].grads[0])
    assert torch.equal(update.dense["bias"], given_.dense["bias"][0])
    assert update.own is given_.own


@pytest.mark.parametrize("weights", [[1.0, -0.1], [float("nan")], [float("inf"), 1.0]])
def test_bad_weights(weights: list[float]) -> None:
    with pytest.raises(InputError, match="'weights' need to be finite and not negative in 'Con"):
        Constant(weights)


def test_one_weight_a_task() -> None:
    with pytest.raises(InputError, match=r"need one number a task \(got 2 for 3 tasks\)"):
        Constant([1.0, 2.0]).loss_weights(torch.ones(3), epoch=1)
    assert repr(Constant([1.0, 2.0])) == "Constant(weights=[1.0, 2.0])"
