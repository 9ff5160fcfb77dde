import pytest
import torch
from bottom_bank import TARGETS, assert_same_gradients, loop_refined, rows, shaken
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import TRM


@pytest.mark.parametrize("granularity", ["field", "dimension"])
@pytest.mark.parametrize("gate", ["sigmoid", "2sigmoid", "residual"])
def test_is_the_loop_over_targets(granularity: str, gate: str) -> None:
    trm = shaken(TRM(4, 3, TARGETS, granularity, gate))
    for x in (rows(5, 3, 4), rows(2, 5, 3, 4)):
        assert_same_gradients(trm, [x], trm(x), loop_refined(trm, x))
        weights = trm.gate_weights(x)
        assert list(weights) == TARGETS
        for number, weight in enumerate(weights.values()):
            own = x if x.dim() == 3 else x[number]
            factor = weight.unsqueeze(-1) if granularity == "field" else weight
            assert weight.shape == own.shape[: factor.dim() - (granularity == "field")]
            torch.testing.assert_close(own * factor, trm(x)[number])


@pytest.mark.parametrize(("gate", "factor"), [("sigmoid", 0.5), ("2sigmoid", 1), ("residual", 1.5)])
def test_all_fields_begin_with_one_weight(gate: str, factor: float) -> None:
    x = rows(5, 3, 4).float()
    torch.testing.assert_close(TRM(4, 3, TARGETS, gate=gate)(x), (factor * x).expand(2, 5, 3, 4))


def test_a_targets_loss_reaches_its_own_refinement_alone() -> None:
    trm = shaken(TRM(4, 3, ["a", "b", "c"]))
    out, own = trm(rows(5, 3, 4)), trm.own_parameters()
    for number, target in enumerate(own):
        grads = torch.autograd.grad(
            out[number].square().sum(), list(trm.parameters()), retain_graph=True, allow_unused=True
        )
        reached = [
            name
            for (name, _), grad in zip(trm.named_parameters(), grads, strict=True)
            if grad is not None and bool(grad.any())
        ]
        assert reached == list(own[target]) and len(reached) == 4


@given(
    dim=st.integers(1, 3),
    fields=st.integers(1, 3),
    targets=st.integers(1, 3),
    size=st.integers(0, 3),
    each=st.booleans(),
    scale=st.sampled_from([1e-10, 1.0, 1e10]),
    granularity=st.sampled_from(["field", "dimension"]),
)
def test_nasty_sizes(
    dim: int, fields: int, targets: int, size: int, each: bool, scale: float, granularity: str
) -> None:
    trm = shaken(TRM(dim, fields, [f"t{i}" for i in range(targets)], granularity))
    x = rows(*([targets] if each else []), size, fields, dim, scale=scale)
    out = trm(x)
    assert out.shape == (targets, size, fields, dim)
    torch.testing.assert_close(out, loop_refined(trm, x), rtol=1e-8, atol=1e-10)
    grads = torch.autograd.grad(out.sum(), [x, *trm.parameters()])
    assert all(bool(grad.isfinite().all()) for grad in grads)


def test_reduction_is_a_quarter_of_the_width_unless_given() -> None:
    assert TRM(4, 3, TARGETS).in_weights[0].shape == (3, 12)
    assert TRM(1, 1, TARGETS).in_weights[0].shape == (1, 1)
    assert TRM(4, 3, TARGETS, reduction=7).out_weights[1].shape == (3, 7)


def test_repr_and_bad_input() -> None:
    trm = TRM(4, 3, TARGETS)
    assert repr(trm) == (
        "TRM(4, num_fields=3, targets=['cart', 'buy'], granularity='field', gate='sigmoid')"
    )
    for kwargs, message in (
        ({"dim": 0}, "'dim' needs to be positive"),
        ({"num_fields": 0}, "'num_fields' needs to be positive"),
        ({"reduction": 0}, "'reduction' needs to be positive"),
        ({"gate": "relu"}, "'gate' needs to be one of 'sigmoid', '2sigmoid', 'residual'.*'relu'"),
        ({"granularity": "row"}, "'granularity' needs to be one of 'field', 'dimension'"),
        ({"targets": ["a", "a"]}, "'targets' needs to hold .*got a, a"),
    ):
        with pytest.raises(InputError, match=message) as error:
            TRM(**{"dim": 4, "num_fields": 3, "targets": TARGETS, **kwargs})
        assert "'TRM'" in str(error.value) and "\n" not in str(error.value)
    for shape in ((5, 3, 3), (5, 2, 4), (3, 5, 3, 4), (3, 4)):
        with pytest.raises(InputError, match=r"'x' needs .*\[B, 3, 4\] or \[2, B, 3, 4\]"):
            trm(torch.zeros(shape))
