import io

import pytest
import torch
from head_bank import HEADS, TARGETS, reach, rows, small
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import Head


@pytest.mark.parametrize("name", HEADS)
def test_one_input_for_all_targets_is_the_same_input_for_each(name: str) -> None:
    head, x = small(name).eval(), rows(6, 5)
    one, each = head(x), head(x.expand(3, 6, 5))
    for target in TARGETS:
        torch.testing.assert_close(one[target], each[target])


@pytest.mark.parametrize("name", HEADS)
def test_a_target_that_reads_another_input_changes_only_what_may(name: str) -> None:
    head, x = small(name).eval(), rows(3, 6, 5)
    moved = x.detach().clone()
    moved[1] += 1
    before, after = head(x), head(moved)
    assert not torch.equal(before["long_view"], after["long_view"])
    assert torch.equal(before["click"], after["click"]) == (name != "PLE")  # its shared stream
    beside = name in ("SingleTask", "SharedBottom", "MMoE", "ESMM", "AITM")
    assert torch.equal(before["watch_time"], after["watch_time"]) == beside


@pytest.mark.parametrize("name", HEADS)
def test_evaluation_is_deterministic_and_draws_nothing(name: str) -> None:
    head, x = small(name, dropout=0.5).eval(), rows(6, 5)
    before = head.generator.get_state()
    first, second = head(x), head(x)
    assert all(torch.equal(first[target], second[target]) for target in TARGETS)
    assert torch.equal(head.generator.get_state(), before)


@pytest.mark.parametrize("name", HEADS)
def test_training_draws_from_the_generator_alone(name: str) -> None:
    x = rows(40, 5)
    one, two = small(name, dropout=0.5), small(name, dropout=0.5)
    state = torch.get_rng_state()
    first, second, same = one(x), one(x), two(x)
    HEADS[name](5, TARGETS)
    assert torch.equal(torch.get_rng_state(), state)
    for target in TARGETS:
        assert torch.equal(first[target], same[target])
        assert not torch.equal(first[target], second[target])


@pytest.mark.parametrize("name", HEADS)
def test_a_saved_state_goes_on_where_it_was(name: str) -> None:
    x, buffer = rows(40, 5), io.BytesIO()
    head = small(name, dropout=0.5)
    head(x)
    torch.save(head.state_dict(), buffer)
    expected = [head(x) for _ in range(2)]
    buffer.seek(0)
    other = small(name, dropout=0.5, generator=torch.Generator().manual_seed(99))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for out in expected:
        again = other(x)
        assert all(torch.equal(out[target], again[target]) for target in TARGETS)


@pytest.mark.parametrize("name", HEADS)
def test_first_weights_come_from_the_generator_and_biases_are_zero(name: str) -> None:
    one, two = HEADS[name](5, TARGETS), HEADS[name](5, TARGETS)
    other = HEADS[name](5, TARGETS, generator=torch.Generator().manual_seed(1))
    for (key, a), b, c in zip(
        one.named_parameters(), two.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b)
        if "bias" in key:
            assert not bool(a.any())
        else:
            assert not torch.equal(a, c)
            bound = (6 / sum(a.shape[-2:])) ** 0.5  # Xavier's, of every single matrix
            assert 0.5 * bound < float(a.detach().abs().max()) <= bound


@pytest.mark.parametrize("name", HEADS)
def test_dropout_is_drawn_once_and_keeps_the_mean(name: str) -> None:
    kwargs = {"hidden": (400,), "tower": ()} if name != "HTLNet" else {"tower": (400,)}
    kwargs |= {"num_levels": 1} if name == "PLE" else {}  # gates are not linear
    head = small(name, dropout=0.2, **kwargs)
    x = rows(1, 5).detach().expand(4000, 5)
    with torch.no_grad():
        noisy, quiet = head.train()(x)["click"], head.eval()(x)["click"]
    assert float(noisy.std()) > 0
    error = float(noisy.std()) / 4000**0.5
    assert abs(float(noisy.mean() - quiet[0])) < 5 * error


OWN = [
    ("SingleTask", {}),
    ("SharedBottom", {}),
    ("MMoE", {"num_experts": 3}),
    *[
        ("PLE", {"num_own": own, "num_shared": shared, "num_levels": levels})
        for own, shared in ((2, 2), (1, 1), (0, 2), (2, 0))
        for levels in (1, 2, 3)
    ],
    ("ESMM", {}),
    ("AITM", {}),
    ("AITM", {"alpha": 0.0}),
    *[
        ("HTLNet", {"stop_gradient": stop, "label_embedding": label, "fusion": fusion})
        for stop in ("inputs", "leu_output", "none")
        for label in (True, False)
        for fusion in ("attention", "concat")
    ],
]
CHAINS = {
    "core": TARGETS,
    "discrete core": {"click": "binary", "like": "binary", "buy": "binary"},
    "two cores": {
        "click": "binary",
        "like": "binary",
        "time": "continuous",
        "amount": "continuous",
    },
    "one": {"click": "binary"},
}


@pytest.mark.parametrize("targets", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize(("name", "kwargs"), OWN, ids=str)
def test_own_parameters_are_those_that_one_loss_reaches(
    name: str, kwargs: dict, targets: dict[str, str]
) -> None:
    head = small(name, targets, dropout=0.0, **kwargs)
    with torch.no_grad():
        for key, parameter in head.named_parameters():  # no dead unit, and some of every order
            parameter.copy_(parameter.abs() if "bias" in key else 3 * parameter)
    found = reach(head, rows(200, 5))
    assert {key: list(head.reached_by(key)) for key in found} == found
    own = head.own_parameters()
    assert list(own) == list(targets)
    for target in targets:
        assert list(own[target]) == [key for key, by in found.items() if by == [target]]
        assert all(own[target][key] is head.get_parameter(key) for key in own[target])


@pytest.mark.parametrize("name", HEADS)
@given(
    in_dim=st.integers(1, 3),
    hidden=st.sampled_from([(1,), (1, 1), (3, 2), (2, 1, 3)]),
    tower=st.sampled_from([(), (1,), (2, 1)]),
    kinds=st.lists(st.sampled_from(["binary", "continuous"]), min_size=1, max_size=4),
    size=st.integers(0, 3),
    scale=st.sampled_from([1e-10, 1.0, 1e10]),
    each=st.booleans(),
)
def test_rows_do_not_see_each_other(
    name: str,
    in_dim: int,
    hidden: tuple[int, ...],
    tower: tuple[int, ...],
    kinds: list[str],
    size: int,
    scale: float,
    each: bool,
) -> None:
    kinds = sorted(kinds)  # the binary ones first
    if name in ("ESMM", "AITM"):
        kinds[0] = "binary"
    targets = {f"t{number}": kind for number, kind in enumerate(kinds)}
    widths = {"tower": hidden} if name == "HTLNet" else {"hidden": hidden, "tower": tower}
    head = small(name, targets, in_dim, **widths).eval()
    shape = (len(kinds), size, in_dim) if each else (size, in_dim)
    x = (rows(*shape).detach() * scale).requires_grad_()
    out = head(x)
    (grad,) = torch.autograd.grad(sum(value.sum() for value in out.values()), x)
    assert bool(grad.isfinite().all())
    for target in targets:
        assert out[target].shape == (size,)
        assert bool(out[target].isfinite().all())
        for row in range(size):
            alone = head(x[..., row : row + 1, :])[target]
            torch.testing.assert_close(out[target][row : row + 1], alone, rtol=1e-8, atol=1e-10)
    assert all(bool(p.isfinite().all()) for p in head.train().penalties(out).values())
    assert all(bool(value.isfinite().all()) for value in head(x).values())


@pytest.mark.parametrize("name", HEADS)
def test_half_precision_by_autocast(name: str) -> None:
    head, x = small(name, dropout=0.1).float(), rows(64, 5).float().detach()
    with torch.autocast("cpu", torch.bfloat16):
        out = head(x)
    sum(value.float().sum() for value in out.values()).backward()
    head.eval()
    with torch.autocast("cpu", torch.bfloat16):
        low = head(x)
    for target, value in head(x).items():
        torch.testing.assert_close(low[target].float(), value, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("name", HEADS)
def test_bad_arguments_get_one_line(name: str) -> None:
    targets = {"click": "binary"}
    for kwargs, message in (
        ({"in_dim": 0}, "'in_dim' needs to be positive.*got 0"),
        ({"targets": {}}, "'targets' needs to hold at least one target.*got none"),
        ({"targets": {"click": "label"}}, "kind of 'click' needs to be 'binary' or .*got 'label'"),
        ({"dropout": 1.0}, r"'dropout' needs to lie in \[0, 1\).*got 1.0"),
        ({"tower": (3, 0)}, r"'tower' needs to hold .*got \[3, 0\]"),
    ):
        with pytest.raises(InputError, match=f"{message}") as error:
            HEADS[name](**{"in_dim": 4, "targets": targets, **kwargs})
        assert f"'{name}'" in str(error.value) and "\n" not in str(error.value)
    if name != "HTLNet":
        with pytest.raises(InputError, match=r"'hidden' needs to hold at least 1 positive width"):
            HEADS[name](4, targets, hidden=())
    head = HEADS[name](4, TARGETS)
    for shape in ((2, 5), (4,), (2, 3, 4), (1, 3, 2, 4)):
        with pytest.raises(
            InputError, match=r"'x' needs to have the shape \[B, 4\] or \[3, B, 4\]"
        ):
            head(torch.zeros(shape))


def test_a_head_of_ones_own_shares_everything_unless_it_says_otherwise() -> None:
    class Linear(Head):
        def __init__(self, in_dim: int, targets: dict[str, str]) -> None:
            super().__init__(in_dim, targets)
            self.weight = torch.nn.Parameter(torch.empty(len(targets), in_dim))
            self.reset_parameters()

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            inputs, draws = self.begin(x)
            assert draws is None
            return {t: x @ w for t, x, w in zip(self.targets, inputs, self.weight, strict=True)}

    head = Linear(4, TARGETS)
    assert head.own_parameters() == {target: {} for target in TARGETS}
    assert head.penalties(head(torch.ones(2, 4))) == {}
    assert repr(head) == "Linear(4, click: binary, long_view: binary, watch_time: continuous)"
    alone = Linear(4, {"click": "binary"})
    assert list(alone.own_parameters()["click"]) == ["weight"]
