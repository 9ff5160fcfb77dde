import importlib.util
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchjd.aggregation as torchjd
from gradient_bank import BANK, Training, task_gradients, whole
from hypothesis import given
from torch import Tensor

from pyg_mtrec import balancing
from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import FromTorchJD
from pyg_mtrec.gradients import RowGradients, TaskGradients, Update
from pyg_mtrec.nn import MF, LightGCN
from pyg_mtrec.runs import Checkpoint

Make = Callable[[], torchjd.Aggregator]

# For three tasks.
MAKERS: dict[str, Make] = {
    "AlignedMTL": torchjd.AlignedMTL,
    "AlignedMTL, rmse": lambda: torchjd.AlignedMTL(torch.tensor([1.0, 0.5, 0.2]).double(), "rmse"),
    "ConFIG": torchjd.ConFIG,
    "Constant": lambda: torchjd.Constant(torch.tensor([1.0, 0.5, 0.2]).double()),
    "ExcessMTL": torchjd.ExcessMTL,
    "ExcessMTL, warm-up": lambda: torchjd.ExcessMTL(0.1, n_warmup_steps=3),
    "FairGrad": lambda: torchjd.FairGrad(alpha=2.0),
    "GradDrop": torchjd.GradDrop,
    "GradDrop, leak": lambda: torchjd.GradDrop(leak=torch.tensor([0.1, 0.0, 0.9]).double()),
    "GradVac": torchjd.GradVac,
    "IMTLG": torchjd.IMTLG,
    "Krum": lambda: torchjd.Krum(n_byzantine=0, n_selected=2),
    "MGDA": torchjd.MGDA,
    "Mean": torchjd.Mean,
    "PCD": torchjd.PCD,
    "PCGrad": torchjd.PCGrad,
    "Random": torchjd.Random,
    "Sum": torchjd.Sum,
    "TrimmedMean": lambda: torchjd.TrimmedMean(trim_number=1),
}
EXTRA: dict[str, tuple[list[str], Make]] = {
    "CAGrad": (["cvxpy", "clarabel"], lambda: torchjd.CAGrad(c=0.4)),
    "DualProj": (["qpsolvers", "quadprog"], lambda: torchjd.DualProj()),
    "NashMTL": (["cvxpy", "ecos"], lambda: torchjd.NashMTL(n_tasks=3)),
    "NashMTL, every 2": (
        ["cvxpy", "ecos"],
        lambda: torchjd.NashMTL(n_tasks=3, update_weights_every=2),
    ),
    "UPGrad": (["qpsolvers", "quadprog"], lambda: torchjd.UPGrad()),
}
ELEMENTS = {"ConFIG", "Constant", "ExcessMTL", "GradDrop", "Mean", "NashMTL", "Random", "Sum"}
ELEMENTS |= {"TrimmedMean"}


@pytest.fixture(params=[*MAKERS, *EXTRA])
def name(request: pytest.FixtureRequest) -> str:
    for package in EXTRA.get(request.param, ([],))[0]:
        pytest.importorskip(package, reason=f"TorchJD's {request.param} needs {package}")
    return str(request.param)


def make(name: str) -> torchjd.Aggregator:
    return MAKERS[name]() if name in MAKERS else EXTRA[name][1]()


def flat(update: Update) -> Tensor:
    return torch.cat([grad.flatten() for grad in (*update.rows.values(), *update.dense.values())])


def given_whole(seed: int, scale: float = 1.0) -> TaskGradients:
    """Gradients of whole tables, which rules with a memory for every entry need."""
    found = task_gradients(seed, scale=scale)
    found.rows = {name: RowGradients(None, rows.grads) for name, rows in found.rows.items()}
    return found


@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem that is not DPP")
def test_equals_torchjd_on_the_whole_matrix(name: str) -> None:
    rule, theirs = FromTorchJD(make(name), seed=3), make(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(3)
        for seed in range(6):
            given_ = given_whole(seed)
            want = theirs(whole(given_))
            state = torch.get_rng_state()
            update = rule.update(given_, epoch=1)
            assert torch.equal(torch.get_rng_state(), state)
            torch.testing.assert_close(flat(update), want, rtol=1e-6, atol=1e-8)
            assert update.rows.keys() == given_.rows.keys()
            assert update.own is given_.own
    kind = "elements" if name.partition(",")[0] in ELEMENTS else "gram"
    assert rule.needs == kind and FromTorchJD.needs == "gram"


@given(BANK)
@pytest.mark.parametrize("maker", ["AlignedMTL", "GradDrop", "IMTLG", "MGDA", "PCGrad", "Sum"])
def test_nasty_gradients(maker: str, grads: Tensor) -> None:
    for dtype in (torch.float32, torch.float64):
        out = FromTorchJD(make(maker))(grads.to(dtype))
        assert out.dtype == dtype and torch.isfinite(out).all()
        assert not out[(grads == 0).all(dim=0)].any()


def saved(rule: FromTorchJD) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(rule.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem that is not DPP")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_resumed_run_is_the_run(name: str, dtype: torch.dtype, tmp_path: Any) -> None:
    if name in ("AlignedMTL, rmse", "Constant", "GradDrop, leak"):
        dtype = torch.float64  # that of their arguments
    steps = [whole(given_whole(seed)).to(dtype).unsqueeze(1) for seed in range(7)]
    for cut in (0, 1, 4):
        rule, fresh = FromTorchJD(make(name)), FromTorchJD(make(name), seed=99)
        for grads in steps[:cut]:
            rule(grads)
        checkpoint = Checkpoint(tmp_path / f"{cut}.pt")
        checkpoint.save({"rule": rule.state_dict()})
        state = saved(rule)
        want = [rule(grads) for grads in steps[cut:]]  # which must not change what was saved
        if cut:
            fresh.load_state_dict(state)
        else:  # generators that were never used start from their own seed
            fresh = FromTorchJD(make(name))
            fresh.load_state_dict(state)
        between = saved(fresh)  # saved again before a step was taken
        again = FromTorchJD(make(name))
        again.load_state_dict(between)
        loaded = checkpoint.load()
        assert loaded is not None
        third = FromTorchJD(make(name))
        third.load_state_dict(loaded["rule"])
        for other in (fresh, again, third):
            for grads, expected in zip(steps[cut:], want, strict=True):
                assert torch.equal(other(grads), expected)


@pytest.mark.parametrize("maker", ["ExcessMTL", "GradVac", "PCD"])
def test_a_state_in_memory_stays_what_it_was(maker: str) -> None:
    steps = [whole(given_whole(seed)).unsqueeze(1) for seed in range(6)]
    rule = FromTorchJD(make(maker))
    for grads in steps[:3]:
        rule(grads)
    state = rule.state_dict()
    want = [rule(grads) for grads in steps[3:]]  # rules change their tensors in place
    for _ in range(2):
        fresh = FromTorchJD(make(maker))
        fresh.load_state_dict(state)
        found = [fresh(grads) for grads in steps[3:]]
        assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))


def test_gradvac_remembers_its_targets() -> None:
    rule = FromTorchJD(torchjd.GradVac(beta=0.3))
    grads = task_gradients(seed=0).rows["item"].grads
    for _ in range(3):
        rule(grads)
    fresh = FromTorchJD(torchjd.GradVac(beta=0.9))  # an argument, not state
    fresh.load_state_dict(saved(rule))
    assert fresh.aggregator.gramian_weighting._phi_t is None  # until the device is known
    twin = FromTorchJD(torchjd.GradVac(beta=0.3))
    twin.load_state_dict(saved(rule))
    for other in (fresh, twin):
        other.update(TaskGradients(torch.zeros(3), {"": RowGradients(None, grads)}), epoch=1)
    rule(grads)
    ours, theirs = twin.aggregator.gramian_weighting, rule.aggregator.gramian_weighting
    assert torch.equal(ours._phi_t, theirs._phi_t) and theirs._phi_t.abs().sum() > 0
    assert ours._state_key == theirs._state_key == (3, torch.float64)
    assert fresh.aggregator.beta == 0.9
    assert not torch.equal(fresh.aggregator.gramian_weighting._phi_t, theirs._phi_t)


class Remembers(torchjd.Aggregator):
    """Keeps one attribute of every kind."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self._factor = factor + 1  # an argument under a private name
        self.register_buffer("total", None)
        self.kept: Any = (0, None, "none")
        self.solver: Any = None

    def forward(self, matrix: Tensor, /) -> Tensor:
        before = 0.0 if self.total is None else self.total
        self.total = before + matrix.sum(dim=0)
        self.kept = (
            int(matrix.size(0)),
            (matrix.dtype, matrix.device, matrix.shape),
            [np.full(2, 3.0), np.float64(2.0), True],
        )
        self.solver = io.StringIO()  # no plain form
        return self.factor * self.total


def test_every_kind_of_plain_attribute() -> None:
    rule, fresh = FromTorchJD(Remembers(2.0)), FromTorchJD(Remembers(5.0))
    grads = torch.arange(6.0).view(3, 1, 2)
    rule(grads)
    fresh.load_state_dict(saved(rule))
    assert torch.equal(fresh(grads), 5.0 * 2 * grads.sum(dim=0))
    other = FromTorchJD(Remembers(5.0))
    other.load_state_dict(saved(rule))
    other._restore(other._loaded or {}, torch.device("cpu"))
    kept = other.aggregator.kept
    assert kept[:2] == (3, (torch.float32, torch.device("cpu"), (3, 2)))
    assert kept[2][0].tolist() == [3.0, 3.0] and kept[2][1:] == [2.0, True]
    assert isinstance(kept[2][0], np.ndarray)
    assert other.aggregator._factor == 6.0 and other.aggregator.solver is None


def test_what_was_on_a_device_goes_to_the_gradients_device() -> None:
    rule = FromTorchJD(Remembers(1.0))
    rule.aggregator.kept = (torch.device("cuda", 1), torch.ones(2, device="meta"), torch.ones(1))
    rule.aggregator.total = torch.ones(2, device="meta")
    state = rule.state_dict()
    fresh = FromTorchJD(Remembers(1.0))
    fresh.load_state_dict(state)
    fresh._restore(fresh._loaded or {}, torch.device("meta"))
    device, there, here = fresh.aggregator.kept
    assert device.type == there.device.type == fresh.aggregator.total.device.type == "meta"
    assert here.device.type == "cpu"


def test_a_state_of_another_rule() -> None:
    rule = FromTorchJD(torchjd.MGDA())
    with pytest.raises(InputError, match="a state of 'GradVac' cannot be loaded into 'MGDA'"):
        rule.load_state_dict(FromTorchJD(torchjd.GradVac()).state_dict())


def test_global_random_state_is_as_before_after_an_error() -> None:
    class Fails(torchjd.Aggregator):
        def forward(self, matrix: Tensor, /) -> Tensor:
            torch.rand(3)
            raise RuntimeError("no")

    state = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="no"):
        FromTorchJD(Fails())(torch.ones(2, 1, 1))
    assert torch.equal(torch.get_rng_state(), state)


def test_draws_are_the_seeds_and_nobody_elses() -> None:
    grads = task_gradients(seed=0).rows["item"].grads
    rule = FromTorchJD(torchjd.Random(), seed=1)
    first, second = rule(grads), rule(grads)
    assert not torch.equal(first, second)
    torch.rand(5)
    assert torch.equal(FromTorchJD(torchjd.Random(), seed=1)(grads), first)
    assert not torch.equal(FromTorchJD(torchjd.Random(), seed=2)(grads), first)
    rule.reset()
    assert torch.equal(rule(grads), first)


def test_reset_forgets() -> None:
    grads = task_gradients(seed=1).rows["item"].grads
    for name in ("GradVac", "PCD", "ExcessMTL"):
        rule = FromTorchJD(make(name))
        first = rule(grads)
        rule(-2 * grads.flip(0))
        rule(grads)
        rule.reset()
        assert torch.equal(rule(grads), first)


@pytest.mark.parametrize("encoder", [MF(), LightGCN(2)], ids=["mf", "lightgcn"])
@pytest.mark.parametrize("maker", MAKERS)
def test_a_step_of_training(maker: str, encoder: Any) -> None:
    training = Training(FromTorchJD(make(maker)), encoder)
    batches = next(iter(training.loader))
    if maker.startswith("ExcessMTL") and encoder.local:
        with pytest.raises(InputError, match="'ExcessMTL' keeps a number for every entry"):
            training.step(batches, epoch=1)
        return
    losses = training.step(batches, epoch=1)
    assert torch.isfinite(losses).all()
    grads = training.grads()
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert sum(grad.abs().sum() for grad in grads.values()) > 0


def test_at_is_where_the_step_takes_gradients() -> None:
    found = {}
    for key, rule_at, collector_at in [
        ("rule", "representation", "embedding"),
        ("collector", None, "representation"),
        ("embedding", "embedding", "representation"),
        ("default", None, "embedding"),
    ]:
        rule = FromTorchJD(torchjd.MGDA(), at=rule_at)  # type: ignore[arg-type]
        training = Training(rule, LightGCN(2), at=collector_at)
        training.step(next(iter(training.loader)), epoch=1)
        found[key] = training.grads()["weight_dict.user"]
    assert torch.equal(found["rule"], found["collector"])
    assert torch.equal(found["embedding"], found["default"])
    assert not torch.allclose(found["rule"], found["embedding"], rtol=1e-3)


def test_the_gram_matrix_has_the_gradients_precision() -> None:
    seen = []
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        rule = FromTorchJD(torchjd.MGDA())
        weighting = rule.aggregator.gramian_weighting
        weighting.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
        assert rule(torch.ones(2, 3, 4, dtype=dtype)).dtype == dtype
    assert seen == [torch.float32, torch.float64, torch.float32]
    # Two tasks with one direction are one direction, whatever float32 makes of their products.
    grads = torch.randn(1, 50, 8, generator=torch.Generator().manual_seed(0))
    out = FromTorchJD(torchjd.AlignedMTL())(torch.cat([grads, 0.3 * grads]))
    assert float(out.norm() / grads.norm()) > 0.1


def test_a_forward_of_its_own_is_called() -> None:
    class Halved(torchjd.MGDA):
        def forward(self, matrix: Tensor, /) -> Tensor:
            return super().forward(matrix) / 2

    grads = torch.tensor([[[2.0, 0.0]], [[0.0, 2.0]]])
    rule = FromTorchJD(Halved())
    assert rule.needs == "elements"
    torch.testing.assert_close(rule(grads), FromTorchJD(torchjd.MGDA())(grads) / 2)


def test_every_aggregator_is_tried() -> None:
    kinds = [getattr(torchjd, name) for name in torchjd.__all__]
    found = {k.__name__ for k in kinds if issubclass(k, torchjd.Aggregator)}
    found -= {"Aggregator", "WeightedAggregator", "GramianWeightedAggregator"}
    assert found == {name.partition(",")[0] for name in (*MAKERS, *EXTRA)}


def test_a_missing_extra_says_how_to_get_it() -> None:
    if importlib.util.find_spec("quadprog"):
        pytest.skip("quadprog is installed")
    with pytest.raises(ImportError, match=r"pip install \"torchjd\[quadprog_projector\]\""):
        FromTorchJD(torchjd.UPGrad())


def test_bad_arguments() -> None:
    for wrong in (torchjd.MGDA, torchjd.MGDAWeighting(), balancing.Sum(), "mgda"):
        with pytest.raises(InputError, match="'aggregator' needs to be an object of"):
            FromTorchJD(wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'at' needs to be .* in 'FromTorchJD' \(got 'table'\)"):
        FromTorchJD(torchjd.MGDA(), at="table")  # type: ignore[arg-type]
    assert "MGDA(epsilon=0.001, max_iters=100), at=None" in repr(FromTorchJD(torchjd.MGDA()))
