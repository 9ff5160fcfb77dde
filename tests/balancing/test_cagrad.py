import itertools

import mpmath
import numpy as np
import pytest
import torch
import torchjd.aggregation
from gradient_bank import BANK, draw, gradients, task_gradients, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import MGDA, CAGrad, Mean

SEED = st.integers(0, 10**6)
RADIUS = st.sampled_from([0.1, 0.4, 0.9, 1.5])
SCOPES = ["table", "row"]


def value(mixture: np.ndarray, vectors: np.ndarray, c: float) -> np.ndarray:
    """What the paper minimises, of mixtures [k, T] of vectors [T, n]."""
    mean = vectors.mean(axis=0)
    points = mixture @ vectors
    return points @ mean + c * np.linalg.norm(mean) * np.linalg.norm(points, axis=1)


def certificate(out: np.ndarray, vectors: np.ndarray, c: float, tolerance: float) -> None:
    """Nothing in the ball is better for the worst-off task.

    The best that the ball has is the least value of any mixture (strong duality), so that one
    mixture whose value the update reaches proves both. It is the one that the bonus is made of.
    """
    mean = vectors.mean(axis=0)
    radius = c * np.linalg.norm(mean)
    bonus = out - mean
    norms = np.linalg.norm(vectors, axis=1)
    assert np.linalg.norm(bonus) <= radius * (1 + 1e-9) + 1e-9 * norms.sum()
    live = norms > 0
    if radius <= 1e-6 * norms.sum():
        return
    if np.linalg.norm(bonus) < radius * (1 - 1e-6):
        shortest = MGDA()(torch.from_numpy(vectors[live])[:, None])  # g_w vanishes
        assert float(shortest.norm()) < 1e-4 * norms[live].sum()
        return
    units = vectors[live] / norms[live, None]
    if np.linalg.matrix_rank(units, tol=1e-3) < len(units):
        return  # many mixtures make the same bonus
    lengths = np.linalg.lstsq(units.T, bonus / radius, rcond=None)[0]
    np.testing.assert_allclose(lengths @ units, bonus / radius, rtol=0, atol=1e-7)
    assert (lengths >= -1e-7).all()
    mixture = np.zeros(len(vectors))
    mixture[live] = lengths / norms[live]
    mixture /= mixture.sum()
    bound = value(mixture[None], vectors, c)[0]
    size = np.linalg.norm(mean) * (mixture @ norms)
    assert abs((vectors[live] @ out).min() - bound) <= tolerance * size


def descent(vectors: np.ndarray, c: float, steps: int = 20_000) -> np.ndarray:
    """Projected descent on the simplex with shrinking steps, for gradients [R, T, n]."""
    mean = vectors.mean(axis=1)
    length = np.linalg.norm(mean, axis=1)[:, None]
    scale = np.linalg.norm(vectors, axis=2).max(axis=1)[:, None]
    tasks = vectors.shape[1]
    weights = np.full(vectors.shape[:2], 1 / tasks)
    best = np.full(len(vectors), np.inf)
    for step in range(1, steps + 1):
        point = np.einsum("rt,rtn->rn", weights, vectors)
        norm = np.linalg.norm(point, axis=1)[:, None]
        found = (point * mean).sum(1) + c * length[:, 0] * norm[:, 0]
        best = np.minimum(best, found)
        slope = np.einsum("rtn,rn->rt", vectors, mean + c * length * point / norm)
        moved = weights - slope / (length * scale) / step**0.7
        ordered = -np.sort(-moved, axis=1)
        excess = (ordered.cumsum(axis=1) - 1) / np.arange(1, tasks + 1)
        last = (ordered > excess).sum(axis=1) - 1
        weights = np.maximum(moved - excess[np.arange(len(excess)), last][:, None], 0)
    return best


def reached(grads: Tensor, c: float) -> np.ndarray:
    out = CAGrad(c, "row")(grads)
    return torch.einsum("rd,trd->rt", out, grads).amin(dim=1).numpy()


@pytest.mark.parametrize("tasks", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("dim", [8, 32])
@pytest.mark.parametrize("c", [0.1, 0.5, 0.9])
def test_best_for_the_worst_off(tasks: int, dim: int, c: float) -> None:
    grads = draw(seed=tasks * dim, tasks=tasks, rows=40, dim=dim)
    out = CAGrad(c, "row")(grads)
    for row in range(40):
        certificate(out[row].numpy(), grads[:, row].numpy(), c, tolerance=1e-9)


@pytest.mark.parametrize("c", [0.2, 0.7])
def test_two_tasks_have_a_closed_form(c: float) -> None:
    grads = draw(seed=0, tasks=2, rows=2000, dim=3)
    first, second = (grads[task].square().sum(dim=1) for task in (0, 1))
    both = (grads[0] * grads[1]).sum(dim=1)
    mean = grads.mean(dim=0)
    half, apart = (first - second) / 2, first + second - 2 * both
    shortest, least = (second - both) / apart, (first * second - both**2) / apart
    pull = c * c * mean.square().sum(dim=1) * apart
    inner = pull > half**2
    root = (half**2 * least / (apart * (pull - half**2).clamp(min=1e-300))).sqrt()
    share = torch.where(inner, (shortest - half.sign() * root).clamp(0, 1), (half < 0).double())
    assert 0.05 < float(((share > 0) & (share < 1)).double().mean()) < 0.9
    point = share[:, None] * grads[0] + (1 - share)[:, None] * grads[1]
    bonus = c * mean.norm(dim=1, keepdim=True) * point / point.norm(dim=1, keepdim=True)
    torch.testing.assert_close(CAGrad(c, "row")(grads), mean + bonus, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("dim", [1, 2, 4])
@pytest.mark.parametrize("c", [0.3, 0.8, 1.2])
def test_no_mixture_of_a_grid_is_better(c: float, dim: int) -> None:
    grads = draw(seed=1, tasks=3, rows=40, dim=dim)
    steps = np.arange(0, 101) / 100
    grid = np.array([(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1])
    ours = reached(grads, c)
    bonus = (CAGrad(c, "row")(grads) - grads.mean(dim=0)).norm(dim=1)
    full = (bonus > c * grads.mean(dim=0).norm(dim=1) * (1 - 1e-6)).tolist()
    for row in range(40):
        vectors = grads[:, row].numpy()
        best = value(grid, vectors, c).min()
        size = np.linalg.norm(vectors.mean(axis=0)) * np.linalg.norm(vectors, axis=1).max()
        if full[row]:
            assert best - 0.03 * size <= ours[row] <= best + 1e-9 * size
        else:  # the least value is the zero of g_w = 0
            assert best >= -1e-9 * size
    assert sum(full) > 10


@pytest.mark.parametrize("tasks", [2, 3, 4])
def test_gradients_of_all_scales_in_one_matrix(tasks: int) -> None:
    """The best face of the simplex, in 60 digits."""
    for seed in range(8):
        grads = gradients("mixed scales", tasks, 1, 6, 1.0, seed)
        with mpmath.workdps(60):
            want = by_hand(mpmath.matrix(grads[:, 0].tolist()), mpmath.mpf(1) / 2)
        found = CAGrad(0.5)(grads)[0].numpy()
        np.testing.assert_allclose(found, want, rtol=0, atol=1e-12 * np.abs(want).max())


def by_hand(vectors: mpmath.matrix, c: mpmath.mpf) -> np.ndarray:
    tasks = vectors.rows
    products = vectors * vectors.T
    with_mean = products * mpmath.ones(tasks, 1) / tasks
    radius = c * mpmath.sqrt(sum(with_mean) / tasks)
    least, bonus = mpmath.inf, None
    for face in (
        list(f) for k in range(tasks) for f in itertools.combinations(range(tasks), k + 1)
    ):
        part = mpmath.matrix([[products[s, t] for t in face] for s in face])
        right = mpmath.matrix([with_mean[t] for t in face])
        one, along = part**-1 * mpmath.ones(len(face), 1), part**-1 * right
        a, h, k = sum(one), sum(along), (right.T * along)[0]
        if h * h <= a * (k - radius**2):
            continue
        point = (h + mpmath.sqrt(h * h - a * (k - radius**2))) / a * one - along
        if min(point) >= 0:
            mixture = mpmath.zeros(1, tasks)
            for task, weight in zip(face, point / sum(point), strict=True):
                mixture[task] = weight
            vector = mixture * vectors
            found = (mixture * with_mean)[0] + radius * mpmath.norm(vector)
            if found < least:
                least, bonus = found, vector * radius / mpmath.norm(vector)
    assert bonus is not None
    update = mpmath.ones(1, tasks) * vectors / tasks + bonus
    return np.array([float(x) for x in update])


@pytest.mark.parametrize("tasks", [3, 5])
def test_descent_ends_there(tasks: int) -> None:
    grads = draw(seed=2, tasks=tasks, rows=30, dim=6)
    vectors = grads.transpose(0, 1).numpy()
    ours, found = reached(grads, 0.5), descent(vectors, 0.5)
    size = np.linalg.norm(vectors.mean(axis=1), axis=1) * np.linalg.norm(vectors, axis=2).max(1)
    assert (ours <= found + 1e-12 * size).all()
    assert (ours >= found - 1e-3 * size).all()


@settings(max_examples=20)
@given(SEED, st.integers(1, 5), st.sampled_from([0.1, 0.5, 0.9]))
def test_equals_torchjd(seed: int, tasks: int, c: float) -> None:
    for name in ("cvxpy", "clarabel"):
        pytest.importorskip(name, reason=f"TorchJD solves CAGrad with {name}: torchjd[cagrad]")
    grads = draw(seed, tasks, rows=1, dim=16)
    want = torchjd.aggregation.CAGrad(c=c, norm_eps=1e-9)(grads[:, 0])
    size = float(grads.mean(dim=0).norm())
    torch.testing.assert_close(CAGrad(c)(grads)[0], want, rtol=0, atol=1e-3 * size)


@given(BANK, RADIUS)
def test_row_scope_is_the_loop_over_rows(grads: Tensor, c: float) -> None:
    out = CAGrad(c, "row")(grads)
    for row in range(grads.size(1)):
        norms = grads[:, row].norm(dim=1)
        if float(norms.max()) < 1e6 * float(norms[norms > 0].amin() if norms.any() else 1):
            certificate(out[row].numpy(), grads[:, row].numpy(), c, tolerance=1e-6)
        alone = CAGrad(c)(grads[:, row : row + 1])[0]
        size = float(grads[:, row].norm(dim=1).sum())
        torch.testing.assert_close(out[row], alone, rtol=1e-9, atol=1e-9 * size)
        if size == 0:
            assert not out[row].any()


def test_a_task_without_gradient_takes_no_part() -> None:
    grads = draw(seed=3, tasks=4, rows=40, dim=4)
    for silent in range(4):
        others = [task for task in range(4) if task != silent]
        quiet = grads.clone()
        quiet[silent] = 0
        want = CAGrad(0.5, "row")(grads[others]) * 3 / 4  # the mean is over all tasks
        torch.testing.assert_close(CAGrad(0.5, "row")(quiet), want, rtol=1e-9, atol=1e-9)


def test_degenerate_rows() -> None:
    x, y, zero = torch.tensor([3.0, 4.0]), torch.tensor([-4.0, 3.0]), torch.zeros(2)
    cases = [
        ((x, zero, zero), x / 2),
        ((zero, zero, zero), zero),
        ((x, x, x), 1.5 * x),
        ((x, 4 * x, x), 3 * x),
        ((x, -x, zero), zero),  # the mean is zero
        ((x, -4 * x, zero), -x / 2),  # the first task stands against the mean -x
        ((x, -x, 3 * y), y),  # the mean y helps nobody who does not gain anyway
    ]
    grads = torch.stack([torch.stack(three) for three, _ in cases], dim=1)
    want = torch.stack([out for _, out in cases])
    for dtype in (torch.float32, torch.float64):
        found = CAGrad(0.5, "row")(grads.to(dtype))
        torch.testing.assert_close(found, want.to(dtype), rtol=1e-5, atol=1e-5)


@given(BANK, RADIUS)
def test_one_task_and_no_radius(grads: Tensor, c: float) -> None:
    for scope in SCOPES:
        out = CAGrad(c, scope)(grads[:1])  # type: ignore[arg-type]
        torch.testing.assert_close(out, (1 + c) * grads[0], rtol=1e-9, atol=0)
        out = CAGrad(0.0, scope)(grads)  # type: ignore[arg-type]
        torch.testing.assert_close(out, Mean()(grads), rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scope", SCOPES)
@given(grads=BANK, c=RADIUS)
def test_finite(dtype: torch.dtype, scope: str, grads: Tensor, c: float) -> None:
    out = CAGrad(c, scope)(grads.to(dtype))  # type: ignore[arg-type]
    assert out.dtype == dtype and out.isfinite().all()
    assert not out[(grads == 0).all(dim=2).all(dim=0)].any()


@given(SEED, st.integers(1, 5), st.sampled_from([1e-10, 1.0, 1e10]))
def test_float32_gradients(seed: int, tasks: int, scale: float) -> None:
    """Also those of rows that one interaction touched: all parallel, up to rounding."""
    grads = (draw(seed, tasks, rows=50, dim=8) * scale).float()
    grads[:, 25:] = grads[:, 25:, :1] * (grads[:1, 25:] / scale)
    size = grads.double().norm(dim=2).amax(dim=0).unsqueeze(1)
    exact = CAGrad(0.5, "row")(grads.double()) / size
    out = CAGrad(0.5, "row")(grads).double() / size
    torch.testing.assert_close(out, exact, rtol=0, atol=1e-3)


def test_tables_and_dense_parameters() -> None:
    given_ = task_gradients(seed=0)
    update = CAGrad(0.5).update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*update.rows.values(), *update.dense.values()]])
    certificate(found.numpy(), whole(given_).numpy(), 0.5, tolerance=1e-9)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_nothing_waits_for_the_device(scope: str, rows: int) -> None:
    grads = torch.randn(3, rows, 4, generator=torch.Generator().manual_seed(0))
    with NoSync():
        CAGrad(0.5, scope)(grads)  # type: ignore[arg-type]


def test_bad_arguments() -> None:
    for c in (-0.1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="'c' needs to be finite and not negative in 'CAGrad'"):
            CAGrad(c)
    with pytest.raises(InputError, match="'scope' needs to be 'table' or 'row' in 'CAGrad'"):
        CAGrad(scope="column")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"aggregation.CAGrad\(...\)\)' for more"):
        CAGrad()(torch.ones(9, 1, 2))
    assert repr(CAGrad(0.4, "row")) == "CAGrad(c=0.4, scope='row')"
