from decimal import Decimal, getcontext
from itertools import product

import pytest
import torch
from head_bank import HEADS, assert_same, mlp, rows, small
from torch.nn.functional import binary_cross_entropy_with_logits

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import HTLNet
from pyg_mtrec.nn.heads.esmm import _chain_logits

EXTREME = (-200.0, -90.0, -30.0, -1.0, 0.0, 0.5, 30.0, 90.0, 200.0)


def test_is_the_product_of_conditional_probabilities() -> None:
    targets = {"a": "binary", "b": "binary", "c": "binary", "d": "continuous"}
    head, x = small("ESMM", targets, dropout=0.0), rows(7, 5)
    for given in (x, rows(4, 7, 5)):
        inputs = list(given) if given.dim() == 3 else [given] * 4
        outs = [mlp(tower, own) for tower, own in zip(head.towers, inputs, strict=True)]
        probability = torch.ones(7, dtype=torch.float64)
        expected = {}
        for target, out in zip("abc", outs, strict=False):
            probability = probability / (1 + (-out).exp())
            expected[target] = (probability / (1 - probability)).log()
        assert_same(head, given, {**expected, "d": outs[3]})
        conditional = head.conditional_logits(given)
        assert list(conditional) == ["a", "b", "c"]
        for target, out in zip("abc", outs, strict=False):
            torch.testing.assert_close(conditional[target], out)


def _exact(steps: tuple[float, ...]) -> tuple[float, list[float]]:
    """The logit of the product and its gradient, in 150 digits."""
    getcontext().prec = 150
    values = [Decimal(step) for step in steps]
    factors = [1 / (1 + (-value).exp()) for value in values]
    p = Decimal(1)
    for factor in factors:
        p *= factor
    grads = [(1 / (1 + value.exp())) / (1 - p) for value in values]
    return float((p / (1 - p)).ln()), [float(grad) for grad in grads]


@pytest.mark.parametrize("length", [2, 3])
def test_extreme_logits_are_exact_in_single_precision(length: int) -> None:
    cases = list(product(EXTREME, repeat=length))
    steps = torch.tensor(cases).t().contiguous().requires_grad_()  # [length, cases]
    out = _chain_logits(list(steps))[-1]
    (grad,) = torch.autograd.grad(out.sum(), steps)
    exact = [_exact(case) for case in cases]
    logits = torch.tensor([logit for logit, _ in exact], dtype=torch.float64)
    torch.testing.assert_close(out.double(), logits, rtol=1e-6, atol=1e-6)
    expected = torch.tensor([grads for _, grads in exact], dtype=torch.float64).t()
    torch.testing.assert_close(grad.double(), expected, rtol=1e-5, atol=1e-6)
    # Rounded probabilities would not do.
    naive = steps.sigmoid().prod(0)
    assert not bool(((naive / (1 - naive)).log()).isfinite().all())


def test_losses_of_extreme_logits_have_finite_gradients() -> None:
    steps = torch.tensor(list(product(EXTREME, repeat=4))).t().contiguous().requires_grad_()
    for label in (0.0, 1.0):
        loss = sum(
            binary_cross_entropy_with_logits(out, torch.full_like(out, label))
            for out in _chain_logits(list(steps))
        )
        (grad,) = torch.autograd.grad(loss, steps)
        assert bool(loss.isfinite()) and bool(grad.isfinite().all())


def test_a_chain_of_one_is_a_plain_network() -> None:
    head, x = small("ESMM", {"click": "binary"}, dropout=0.0), rows(7, 5)
    assert_same(head, x, {"click": mlp(head.towers[0], x)})


@pytest.mark.parametrize("name", ["ESMM", "AITM"])
def test_refuses_what_is_no_chain(name: str) -> None:
    make = HEADS[name]
    with pytest.raises(InputError, match=rf"a binary target in '{name}'.*got time, all continuous"):
        make(4, {"time": "continuous"})
    for targets in (
        {"click": "binary", "time": "continuous", "buy": "binary"},
        {"time": "continuous", "click": "binary", "buy": "binary"},
    ):
        with pytest.raises(InputError, match=rf"in '{name}' \(got .*'time'.*: move 'time' to the"):
            make(4, targets)
    make(4, {"click": "binary", "time": "continuous", "amount": "continuous"})
    with pytest.raises(InputError, match="in 'HTLNet'"):
        HTLNet(4, {"time": "continuous", "click": "binary"})
