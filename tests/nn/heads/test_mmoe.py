import pytest
import torch
from head_bank import TARGETS, assert_same, expert, mlp, rows, small

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import MMoE, SharedBottom
from pyg_mtrec.nn.bottoms._dropout import keep, scale
from pyg_mtrec.nn.heads._experts import Experts
from pyg_mtrec.nn.heads._grouped import _batched, _Grouped


def _loop(head: MMoE, inputs: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    out = {}
    for target, gate, tower, x in zip(TARGETS, head.gates, head.towers, inputs, strict=True):
        logits = torch.stack([x @ row for row in gate], dim=1)
        weights = logits.exp() / logits.exp().sum(1, keepdim=True)
        mixed = torch.zeros(len(x), 4, dtype=x.dtype)
        for number in range(len(gate)):
            mixed = mixed + weights[:, number : number + 1] * expert(head.experts, number, x)
        out[target] = mlp(tower, mixed)
    return out


@pytest.mark.parametrize("number", [2, 5])
def test_is_the_loop_over_experts(number: int) -> None:
    head, x, each = small("MMoE", dropout=0.0, num_experts=number), rows(7, 5), rows(3, 7, 5)
    assert_same(head, x, _loop(head, [x] * 3))
    assert_same(head, each, _loop(head, list(each)))


def test_with_one_expert_is_the_shared_bottom() -> None:
    one, x = small("MMoE", num_experts=1).eval(), rows(7, 5)
    other = small("SharedBottom", generator=torch.Generator().manual_seed(3)).eval()
    state = one.state_dict()
    renamed = {
        name.replace("experts", "trunk"): value[0] if name.startswith("experts") else value
        for name, value in state.items()
        if not name.startswith("gates")
    }
    other.load_state_dict(renamed)
    for target, value in other(x).items():
        torch.testing.assert_close(one(x)[target], value)
    assert isinstance(other, SharedBottom)


def test_gates_sum_to_one_and_say_which_expert_is_taken() -> None:
    head, x = small("MMoE", num_experts=3), rows(7, 5)
    state = head.generator.get_state()
    for each in (x, rows(3, 7, 5)):
        gates = head.gate_weights(each)
        assert list(gates) == list(TARGETS)
        for number, (target, gate) in enumerate(gates.items()):
            own = each if each.dim() == 2 else each[number]
            assert gate.shape == (7, 3)
            expected = (own @ head.gates[number].T).softmax(1)
            torch.testing.assert_close(gate, expected, msg=target)
            torch.testing.assert_close(gate.sum(1), torch.ones(7).double())
    assert torch.equal(head.generator.get_state(), state)
    with torch.no_grad():
        head.gates[1][2] = 1e6 * x[0]
    assert float(head.gate_weights(x)["long_view"][0, 2].detach()) == 1


def test_dropout_masks_of_experts() -> None:
    experts = Experts(3, 5, (4, 2), 0.4).double()
    fill = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=fill))
    x = rows(9, 5)
    out = experts(x, torch.Generator().manual_seed(4))
    draws, factor = torch.Generator().manual_seed(4), scale(0.4)
    first = keep((9, 12), 0.4, draws, x.dtype).view(9, 3, 4)
    second = keep((9, 3, 2), 0.4, draws, x.dtype)
    for number in range(3):
        h = (x @ experts.weights[0][number].T + experts.biases[0][number]).clamp(min=0)
        h = h * first[:, number] * factor
        h = (h @ experts.weights[1][number].T + experts.biases[1][number]).clamp(min=0)
        torch.testing.assert_close(out[:, number], h * second[:, number] * factor)
    got = torch.autograd.grad(out.square().sum(), [x, *experts.parameters()])
    assert torch.autograd.gradcheck(
        lambda x: experts(x, torch.Generator().manual_seed(4)), x
    ) and all(bool(grad.isfinite().all()) for grad in got)


def test_the_grouped_product_differentiates_in_every_way() -> None:
    x = rows(4, 3, 5)
    weight, bias = rows(3, 2, 5, seed=1), rows(3, 2, seed=2)
    out = _Grouped.apply(x, weight, bias)
    for group in range(3):
        torch.testing.assert_close(out[:, group], x[:, group] @ weight[group].T + bias[group])
    assert torch.autograd.gradcheck(_Grouped.apply, (x, weight, bias))
    assert torch.autograd.gradgradcheck(_Grouped.apply, (x, weight, bias))
    many = torch.randn(6, *out.shape, dtype=torch.float64)
    batched = torch.autograd.grad(
        out, (x, weight, bias), many, is_grads_batched=True, retain_graph=True
    )
    for number in range(6):
        one = torch.autograd.grad(out, (x, weight, bias), many[number], retain_graph=True)
        for a, b in zip(batched, one, strict=True):
            torch.testing.assert_close(a[number], b)
    mapped = torch.vmap(_Grouped.apply, (0, None, 0))
    xs, biases = torch.stack([x, 2 * x]), torch.stack([bias, bias + 1])
    for number, value in enumerate(mapped(xs, weight, biases)):
        torch.testing.assert_close(value, _Grouped.apply(xs[number], weight, biases[number]))
    grads = torch.func.grad(lambda w: _Grouped.apply(x, w, bias).square().sum())(weight)
    expected = torch.func.grad(lambda w: _batched(x, w, bias).square().sum())(weight)
    torch.testing.assert_close(grads, expected)


def test_every_expert_is_drawn_as_if_alone() -> None:
    head = MMoE(5, TARGETS, num_experts=40)
    for weight in head.experts.weights:
        bound = (6 / (weight.size(1) + weight.size(2))) ** 0.5
        largest = weight.detach().abs().amax((1, 2))  # [E]
        assert 0.95 * bound < float(largest.min()) and float(largest.max()) <= bound
        assert len(weight.detach()[:, 0, 0].unique()) == 40


def test_repr_and_bad_input() -> None:
    assert repr(MMoE(2, {"click": "binary"})) == "MMoE(2, click: binary, num_experts=4)"
    with pytest.raises(InputError, match=r"'num_experts' needs to be positive in 'MMoE'.*got 0"):
        MMoE(2, {"click": "binary"}, num_experts=0)
    with pytest.raises(InputError, match="'x' needs to have the shape"):
        MMoE(2, {"click": "binary"}).gate_weights(torch.zeros(2, 3))
