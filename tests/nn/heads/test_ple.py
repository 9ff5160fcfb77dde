import pytest
import torch
from head_bank import TARGETS, assert_same, expert, mlp, rows, small
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import PLE


def _gated(gate: Tensor, x: Tensor, outs: list[Tensor]) -> Tensor:
    assert len(gate) == len(outs)
    logits = torch.stack([x @ row for row in gate], dim=1)
    weights = logits.exp() / logits.exp().sum(1, keepdim=True)
    return sum(weights[:, e : e + 1] * out for e, out in enumerate(outs))


def _loop(head: PLE, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Every expert by itself, all targets of a level from the level before."""
    streams, shared_stream = list(inputs), sum(inputs) / len(inputs)
    for number, level in enumerate(head.levels):
        own: list[list[Tensor]] = [[] for _ in streams]
        shared = []
        for group, experts in enumerate(level.experts):
            is_own = head.num_own > 0 and group < len(streams)
            for e in range(head.num_own if is_own else head.num_shared):
                out = expert(experts, e, streams[group] if is_own else shared_stream)
                (own[group] if is_own else shared).append(out)
        new = [_gated(level.gates[t], streams[t], [*own[t], *shared]) for t in range(len(streams))]
        if number < head.num_levels - 1 and head.num_shared > 0:
            everything = [out for outs in own for out in outs] + shared
            shared_stream = _gated(level.gates[len(streams)], shared_stream, everything)
        streams = new
    outs = [mlp(tower, stream) for tower, stream in zip(head.towers, streams, strict=True)]
    return dict(zip(TARGETS, outs, strict=True))


@pytest.mark.parametrize(("own", "shared"), [(2, 2), (1, 3), (0, 2), (2, 0)])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_is_the_loop_over_experts(own: int, shared: int, levels: int) -> None:
    head = small("PLE", dropout=0.0, num_own=own, num_shared=shared, num_levels=levels)
    x, each = rows(7, 5), rows(3, 7, 5)
    assert_same(head, x, _loop(head, [x] * 3))
    assert_same(head, each, _loop(head, list(each)))


def test_one_level_is_customized_gate_control() -> None:
    head, x = small("PLE", num_levels=1).eval(), rows(7, 5)
    (level,) = head.levels
    assert len(level.gates) == 3  # no gate of a stream that nobody reads
    for t, target in enumerate(TARGETS):
        outs = [expert(level.experts[t], e, x) for e in range(2)]
        outs += [expert(level.experts[3], e, x) for e in range(2)]
        expected = mlp(head.towers[t], _gated(level.gates[t], x, outs))
        torch.testing.assert_close(head(x)[target], expected)


def test_one_level_without_own_experts_is_mmoe() -> None:
    x = rows(7, 5)
    ple = small("PLE", num_own=0, num_shared=3, num_levels=1).eval()
    mmoe = small("MMoE", num_experts=3, generator=torch.Generator().manual_seed(5)).eval()
    names = (("levels.0.experts.0.", "experts."), ("levels.0.gates.", "gates."))
    state = ple.state_dict()
    for old, new in names:
        state = {name.replace(old, new): value for name, value in state.items()}
    mmoe.load_state_dict(state)
    for target, value in mmoe(x).items():
        torch.testing.assert_close(ple(x)[target], value)
        torch.testing.assert_close(ple.gate_weights(x)[target], mmoe.gate_weights(x)[target])


def test_gates_of_every_level_sum_to_one_without_dropout() -> None:
    head, x = small("PLE", dropout=0.5, num_own=1, num_shared=3), rows(7, 5)
    state = head.generator.get_state()
    for each in (x, rows(3, 7, 5)):
        for level in (0, 1, -1, -2):
            for target, gate in head.gate_weights(each, level).items():
                assert gate.shape == (7, 4)
                torch.testing.assert_close(gate.sum(1), torch.ones(7).double(), msg=target)
    assert torch.equal(head.generator.get_state(), state)
    first = head.gate_weights(x, 0)["click"]
    torch.testing.assert_close(first, (x @ head.levels[0].gates[0].T).softmax(1))
    assert torch.equal(head.gate_weights(x)["click"], head.gate_weights(x, 1)["click"])
    for level in (2, -3):
        with pytest.raises(InputError, match=rf"'level' needs to lie in \[0, 2\).*got {level}"):
            head.gate_weights(x, level)


def test_repr_and_bad_input() -> None:
    targets = {"click": "binary"}
    assert repr(PLE(2, targets)) == "PLE(2, click: binary, num_own=2, num_shared=2, num_levels=2)"
    for kwargs, message in (
        ({"num_levels": 0}, "'num_levels' needs to be positive.*got 0"),
        ({"num_own": 0, "num_shared": 0}, "one of them positive, in 'PLE' .got 0 and 0."),
        ({"num_own": -1}, "need to be at least 0.*got -1 and 2"),
    ):
        with pytest.raises(InputError, match=message):
            PLE(2, targets, **kwargs)
