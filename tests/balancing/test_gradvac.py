import inspect
import io
import math

import numpy as np
import pytest
import torch
import torchjd.aggregation
from gradient_bank import BANK, task_gradients, whole
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import GradVac, PCGrad
from pyg_mtrec.balancing._task_orders import task_orders

EPS = float(torch.finfo(torch.float32).eps)
SEED = st.integers(0, 10**6)
BETA = st.sampled_from([0.01, 0.5, 1.0])


def by_hand(
    vectors: np.ndarray, phi: np.ndarray, orders: list[list[int]], beta: float
) -> np.ndarray:
    """The paper's algorithm on vectors [T, n]; moves `phi`."""
    norms = np.linalg.norm(vectors, axis=1)
    total = np.zeros(vectors.shape[1])
    for t, order in enumerate(orders):
        own, parts = vectors[t].copy(), 1.0  # parts: lengths added up, in units of n_t
        for s in order:
            size = float(np.linalg.norm(own))
            if size == 0 or norms[s] == 0 or size <= math.sqrt(EPS) * parts * norms[t]:
                continue
            cosine = min(max(float(own @ (vectors[s] / norms[s])) / size, -1.0), 1.0)
            target = phi[t, s]
            if cosine < target:
                sine, target_sine = (math.sqrt(1 - x * x) for x in (cosine, target))
                target_sine = max(target_sine, math.sqrt(EPS))
                length = size * (target * sine / target_sine - cosine)
                own += length * (vectors[s] / norms[s])
                parts += abs(length) / norms[t]
            phi[t, s] = (1 - beta) * target + beta * cosine
        total += own
    return total


def steps(seed: int, tasks: int, count: int, dim: int = 6) -> Tensor:
    """Gradients [count, T, 1, d] with angles that vary around those of a base."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(tasks, 1, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(count, tasks, 1, dim, generator=generator, dtype=torch.float64)
    return base + 0.7 * noise


@given(SEED, st.integers(1, 5), BETA, st.sampled_from([1e-10, 1.0, 1e10]))
def test_equals_the_papers_loop_over_many_steps(
    seed: int, tasks: int, beta: float, scale: float
) -> None:
    rule = GradVac(beta, seed)
    generator, phi = torch.Generator().manual_seed(seed), np.zeros((tasks, tasks))
    for grads in steps(seed, tasks, 6):
        out = rule(grads * scale).flatten().numpy()
        want = by_hand(grads.flatten(1).numpy(), phi, task_orders(tasks, generator).tolist(), beta)
        size = np.abs(want).max()
        np.testing.assert_allclose(out / scale, want, rtol=1e-7, atol=1e-7 * size)
        np.testing.assert_allclose(rule.phi.numpy(), phi, rtol=1e-8, atol=1e-8)


@given(SEED, st.integers(1, 5), st.sampled_from([0.0, 0.01, 0.5]))
def test_equals_torchjd_over_many_steps(seed: int, tasks: int, beta: float) -> None:
    # Its `eps` is not relative to the gradients; it draws the same numbers as we do.
    rule, theirs = GradVac(beta, seed), torchjd.aggregation.GradVac(beta, eps=1e-30)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for grads in steps(seed, tasks, 6):
            want = theirs(grads.flatten(1))
            out = rule(grads).flatten()
            torch.testing.assert_close(out, want, rtol=1e-7, atol=1e-7 * float(want.abs().max()))


@given(BANK, SEED)
def test_a_first_step_is_that_of_pcgrad(grads: Tensor, seed: int) -> None:
    out, want = GradVac(seed=seed)(grads), PCGrad(seed=seed)(grads)
    scale = float(grads.abs().max()) if grads.numel() else 1.0
    # What opposite gradients leave of each other counts as nothing up to a float32's rounding.
    torch.testing.assert_close(out, want, rtol=1e-9, atol=1e-3 * scale)
    if len(grads) <= 2:
        torch.testing.assert_close(out, want, rtol=1e-9, atol=1e-9 * scale)


def test_beta_zero_stays_pcgrad() -> None:
    rule, want = GradVac(beta=0.0, seed=4), PCGrad(seed=4)
    for grads in steps(0, 4, 8):
        torch.testing.assert_close(rule(grads), want(grads), rtol=1e-9, atol=1e-9)
    assert not rule.phi.any()


def test_targets_are_averages_of_cosines() -> None:
    rule = GradVac(beta=0.25)
    cosines = [0.2, 0.6, 0.9]  # rising, so that no gradient is changed
    want = 0.0
    for cosine in cosines:
        grads = torch.tensor([[[2.0, 0.0]], [[3 * cosine, 3 * math.sqrt(1 - cosine**2)]]]).double()
        torch.testing.assert_close(rule(grads), grads.sum(dim=0))
        want = 0.75 * want + 0.25 * cosine
        assert rule.phi[0, 1].item() == pytest.approx(want, abs=1e-7)
        assert rule.phi[1, 0].item() == pytest.approx(want, abs=1e-7)
    assert not rule.phi.diagonal().any()


def test_a_changed_gradient_has_the_targets_angle() -> None:
    rule = GradVac(beta=1.0)
    rule(torch.tensor([[[1.0, 0.0]], [[3.0, 4.0]]]).double())  # targets 0.6
    grads = torch.tensor([[[1.0, 0.0]], [[-1.0, 2.0]]]).double()
    weights = rule.weights(torch.einsum("srd,trd->st", grads, grads))
    first = grads[0, 0] + (weights[1] - 1) * grads[1, 0]
    second = grads[1, 0] + (weights[0] - 1) * grads[0, 0]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(first, grads[1, 0], dim=0).item() == pytest.approx(0.6)
    assert cosine(second, grads[0, 0], dim=0).item() == pytest.approx(0.6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(grads=BANK, beta=BETA)
def test_finite(dtype: torch.dtype, grads: Tensor, beta: float) -> None:
    grads = grads.clamp(-1e15, 1e15)  # squares have to fit into a float32
    rule = GradVac(beta)
    for given_ in (grads, grads.flip(1), -grads, grads.flip(0), grads):
        out = rule(given_.to(dtype))
        assert out.dtype == dtype and out.isfinite().all()
        assert rule.phi.isfinite().all() and rule.phi.abs().max() <= 1
        assert not out[(given_ == 0).all(dim=2).all(dim=0)].any()  # a zero row stays zero


def test_parallel_for_long_and_then_not() -> None:
    """A target of one, which no multiple of the other gradient reaches."""
    rule = GradVac(beta=1.0)
    grads = torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]]])
    for _ in range(3):
        assert torch.equal(rule(grads), grads.sum(dim=0))
    out = rule(torch.tensor([[[1.0, 0.0]], [[0.0, 2.0]]]))
    assert out.isfinite().all() and out.abs().max() < 2 * 2 / math.sqrt(EPS)


def test_a_silent_task_changes_no_target() -> None:
    rule = GradVac(beta=0.5)
    grads = torch.tensor([[[1.0, 0.0]], [[3.0, 4.0]]]).double()
    rule(grads)
    before = rule.phi.clone()
    silent = grads * torch.tensor([1.0, 0.0])[:, None, None]
    assert torch.equal(rule(silent), grads[0])
    assert torch.equal(rule.phi, before)


@given(SEED, st.integers(2, 5))
def test_the_whole_table_and_dense_parameters_are_one_vector(seed: int, tasks: int) -> None:
    given_ = task_gradients(seed, tasks)
    update = GradVac(seed=seed).update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*update.rows.values(), *update.dense.values()]])
    orders = task_orders(tasks, torch.Generator().manual_seed(seed)).tolist()
    want = by_hand(whole(given_).numpy(), np.zeros((tasks, tasks)), orders, 0.5)
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-8, atol=1e-8)
    assert "scope" not in inspect.signature(GradVac).parameters


def test_nothing_waits_for_the_device() -> None:
    rule, given_ = GradVac(), task_gradients(seed=0, tasks=4)
    with NoSync():
        for _ in range(3):
            rule.update(given_, epoch=1)


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_state_loads_into_a_fresh_rule(tasks: int) -> None:
    grads = steps(1, tasks, 8)
    rule = GradVac(beta=0.3, seed=7)
    for given_ in grads[:4]:
        rule(given_)
    file = io.BytesIO()
    torch.save(rule.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    snapshot = rule.state_dict()["phi"]
    resumed = GradVac(beta=0.3)
    resumed.load_state_dict(state)
    for given_ in grads[4:]:
        assert torch.equal(rule(given_), resumed(given_))
    assert torch.equal(rule.phi, resumed.phi)
    assert torch.equal(snapshot, state["phi"])  # steps do not write into what was taken before
    unused = GradVac()
    unused.load_state_dict(GradVac().state_dict())
    rule.load_state_dict(unused.state_dict())
    assert rule.phi.numel() == 0


def test_reset_forgets() -> None:
    grads = steps(2, 3, 3)
    rule, fresh = GradVac(seed=1), GradVac(seed=1)
    for given_ in grads:
        rule(given_)
    with pytest.raises(InputError, match=r"targets for 3 tasks \(got gradients of 2\): call 'res"):
        rule(grads[0][:2])
    rule.reset()
    for given_ in grads[:, :2]:
        assert torch.equal(rule(given_), fresh(given_))


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_bad_beta(beta: float) -> None:
    with pytest.raises(InputError, match="'beta' needs to be between 0 and 1 in 'GradVac'"):
        GradVac(beta)
    assert "beta=0.5" in repr(GradVac())
