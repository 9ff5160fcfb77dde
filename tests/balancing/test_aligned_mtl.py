import math

import numpy as np
import pytest
import torch
import torchjd.aggregation
from gradient_bank import BANK, rotations, task_gradients, whole
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import AlignedMTL
from pyg_mtrec.balancing._symmetric_eigen import jacobi, symmetric_eigen

SCALE = st.sampled_from(["min", "median", "rmse"])
SEED = st.integers(0, 10**6)


def by_hand(vectors: np.ndarray, scale: str) -> np.ndarray:
    """The singular values of [T, n] set to one size, and the mean of the rows."""
    if vectors.shape[1] == 0:
        return np.zeros(0)
    u, sizes, vt = np.linalg.svd(vectors, full_matrices=False)
    live = sizes**2 > len(vectors) * np.finfo(vectors.dtype).eps * sizes[0] ** 2
    if not live.any():
        return vectors.mean(axis=0)
    kept = sizes[live]
    size = {"min": kept.min(), "median": np.sort(kept)[(len(kept) - 1) // 2]}
    size["rmse"] = math.sqrt((kept**2).mean())
    return size[scale] * (u[:, live] @ vt[live]).mean(axis=0)


def clear(vectors: np.ndarray) -> bool:
    """No singular value comes close to the tolerance, where rounding decides."""
    if not vectors.size:
        return True
    sizes = np.linalg.svd(vectors, compute_uv=False)
    share = (sizes / max(sizes[0], 1e-300)) ** 2
    return bool(((share < 1e-16) | (share > 1e-9)).all())


def largest(grads: Tensor) -> float:
    return float(grads.abs().max()) if grads.numel() else 1.0


@pytest.mark.parametrize("rotate", [False, True])
@given(grads=BANK, scale=SCALE)
def test_table_scope_sets_singular_values(rotate: bool, grads: Tensor, scale: str) -> None:
    vectors = grads.flatten(1).numpy()
    with rotations(rotate):
        out = AlignedMTL(scale_mode=scale)(grads).flatten().numpy()  # type: ignore[arg-type]
    if clear(vectors):
        np.testing.assert_allclose(
            out, by_hand(vectors, scale), rtol=1e-5, atol=1e-6 * largest(grads)
        )


@pytest.mark.parametrize("rotate", [False, True])
@given(grads=BANK, scale=SCALE)
def test_row_scope_is_the_loop_over_rows(rotate: bool, grads: Tensor, scale: str) -> None:
    with rotations(rotate):
        out = AlignedMTL("row", scale)(grads)  # type: ignore[arg-type]
    for row in range(grads.size(1)):
        vectors = grads[:, row].numpy()
        if clear(vectors):
            size = largest(grads[:, row])
            want = by_hand(vectors, scale)
            np.testing.assert_allclose(out[row].numpy(), want, rtol=1e-5, atol=1e-6 * size)
            alone = AlignedMTL(scale_mode=scale)(grads[:, row : row + 1])[0]  # type: ignore[arg-type]
            torch.testing.assert_close(out[row], alone, rtol=1e-5, atol=1e-6 * size)
        if not vectors.any():
            assert not out[row].any()


@given(BANK, SCALE)
def test_equals_torchjd(grads: Tensor, scale: str) -> None:
    vectors = grads.flatten(1)
    if not clear(vectors.numpy()):
        return
    want = torchjd.aggregation.AlignedMTL(scale_mode=scale)(vectors)  # type: ignore[arg-type]
    out = AlignedMTL(scale_mode=scale)(grads).flatten()  # type: ignore[arg-type]
    torch.testing.assert_close(out, want, rtol=1e-5, atol=1e-6 * largest(grads))


@given(SEED, SCALE, st.sampled_from([2, 3, 5]))
def test_equals_torchjd_on_float32(seed: int, scale: str, tasks: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, 1, 32, generator=generator)
    want = torchjd.aggregation.AlignedMTL(scale_mode=scale)(grads[:, 0])  # type: ignore[arg-type]
    torch.testing.assert_close(
        AlignedMTL(scale_mode=scale)(grads)[0],  # type: ignore[arg-type]
        want,
        rtol=1e-3,
        atol=1e-4,
    )


@given(SEED, st.sampled_from([1e-5, 1.0, 1e5]), st.floats(-0.999, 0.999))
def test_two_tasks_have_a_closed_form(seed: int, scale: float, cosine: float) -> None:
    n = torch.rand(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1
    a, b, c = (float(x) * scale**2 for x in (n[0] ** 2, n[0] * n[1] * cosine, n[1] ** 2))
    root = math.sqrt(a * c - b * b)
    length = math.sqrt(a + c + 2 * root)
    smallest = math.sqrt((a + c) / 2 - math.hypot((a - c) / 2, b))
    want = [smallest / 2 * (x + root - b) / (root * length) for x in (c, a)]
    for rotate in (False, True):
        with rotations(rotate):
            found = AlignedMTL().weights(torch.tensor([[a, b], [b, c]], dtype=torch.float64))
        np.testing.assert_allclose(found.numpy(), want, rtol=1e-9)


@given(SEED, st.integers(2, 5), SCALE)
def test_permuting_tasks_permutes_the_weights(seed: int, tasks: int, scale: str) -> None:
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, 7, generator=generator, dtype=torch.float64)
    order = torch.randperm(tasks, generator=generator)
    rule = AlignedMTL(scale_mode=scale)  # type: ignore[arg-type]
    weights = rule.weights(grads @ grads.t())
    found = rule.weights(grads[order] @ grads[order].t())
    torch.testing.assert_close(found, weights[order], rtol=1e-9, atol=1e-12)


@given(SEED, st.sampled_from([2, 3, 5]), st.sampled_from([8, 32]))
def test_parallel_float32_gradients_are_one_direction(seed: int, tasks: int, dim: int) -> None:
    """Their rounding is no second direction: as "min" it would make the step vanish."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(300, dim, generator=generator)
    lengths = torch.rand(tasks, 300, 1, generator=generator) + 0.1
    out = AlignedMTL("row")(lengths * direction)
    # Of rank one, the transformation is the projection on the vector of the lengths.
    sums = lengths.double().sum(dim=0)
    torch.testing.assert_close(out.double(), sums / tasks * direction, rtol=0, atol=1e-5 * dim)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(grads=BANK, scale=SCALE)
def test_finite(dtype: torch.dtype, grads: Tensor, scale: str) -> None:
    grads = grads.clamp(-1e15, 1e15)  # squares have to fit into a float32
    for scope in ("table", "row"):
        for rotate in (False, True):
            with rotations(rotate):
                out = AlignedMTL(scope, scale)(grads.to(dtype))  # type: ignore[arg-type]
            assert out.dtype == dtype and out.isfinite().all()
            assert not out[(grads == 0).all(dim=2).all(dim=0)].any()


@given(BANK)
def test_one_task_gives_its_gradient(grads: Tensor) -> None:
    for scope in ("table", "row"):
        out = AlignedMTL(scope)(grads[:1])  # type: ignore[arg-type]
        torch.testing.assert_close(out, grads[0], rtol=1e-14, atol=0)


def test_a_silent_task_leaves_the_mean_over_all() -> None:
    grads = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]], [[4.0, -3.0]]])
    torch.testing.assert_close(AlignedMTL()(grads), grads.sum(dim=0) / 3)


def test_tables_and_dense_parameters() -> None:
    given_ = task_gradients(seed=0)
    update = AlignedMTL().update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*update.rows.values(), *update.dense.values()]])
    np.testing.assert_allclose(found, by_hand(whole(given_).numpy(), "min"), rtol=1e-9)
    row = AlignedMTL("row").update(given_, epoch=1)
    dense = torch.cat([grads.flatten(1) for grads in given_.dense.values()], dim=1)
    found = torch.cat([grad.flatten() for grad in row.dense.values()])
    np.testing.assert_allclose(found, by_hand(dense.numpy(), "min"), rtol=1e-9)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
@pytest.mark.parametrize("rows", [1, 300])
def test_nothing_waits_for_the_device(scale: str, rows: int) -> None:
    grads = torch.randn(3, rows, 4, generator=torch.Generator().manual_seed(0))
    for scope in ("table", "row"):
        with NoSync(), rotations():
            AlignedMTL(scope, scale)(grads)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("kind", ["random", "graded", "deficient", "equal", "zero"])
def test_rotations_decompose(size: int, kind: str) -> None:
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(400, size, 6, generator=generator, dtype=torch.float64)
    if kind == "graded":
        x *= 10 ** (8 * torch.rand(400, size, 1, generator=generator, dtype=torch.float64) - 8)
    elif kind == "deficient":
        x[:, -1] = x[:, 0] * torch.randn(400, 1, generator=generator, dtype=torch.float64)
    elif kind == "equal":  # all eigenvalues but one
        x = torch.eye(size, dtype=torch.float64).expand(400, size, size) + 1e-9 * x[..., :1]
    elif kind == "zero":
        x.zero_()
    matrix = x @ x.transpose(1, 2)
    matrix /= matrix.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(min=1e-300)[:, None, None]
    values, vectors = jacobi(matrix)
    unit = torch.einsum("kir,lir->rkl", vectors, vectors)
    eye = torch.eye(size, dtype=torch.float64).expand_as(unit)
    torch.testing.assert_close(unit, eye, rtol=0, atol=1e-13)
    again = torch.einsum("kir,kr,kjr->rij", vectors, values, vectors)
    torch.testing.assert_close(again, matrix, rtol=0, atol=1e-13)
    want = np.linalg.eigvalsh(matrix.numpy())
    np.testing.assert_allclose(values.sort(dim=0).values.t().numpy(), want, rtol=0, atol=1e-13)
    for found in (jacobi(matrix[0]), symmetric_eigen(matrix[0])):  # one matrix, no leading axis
        again = torch.einsum("ki,k,kj->ij", found[1], found[0], found[1])
        torch.testing.assert_close(again, matrix[0], rtol=0, atol=1e-13)


def test_the_two_ways_to_decompose_meet() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 3, 5, generator=generator, dtype=torch.float64)
    gram = x @ x.transpose(1, 2)
    many = AlignedMTL().weights(gram)
    few = torch.cat([AlignedMTL().weights(part) for part in gram.split(100)])
    torch.testing.assert_close(many, few, rtol=1e-8, atol=1e-10)


def test_nan_stays_nan() -> None:
    """The trainer says in its own words what went wrong."""
    grads = torch.ones(2, 1, 3)
    grads[0, 0, 1] = torch.nan
    for scope in ("table", "row"):
        assert AlignedMTL(scope)(grads).isnan().any()  # type: ignore[arg-type]


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="'scale_mode' needs to be 'min', 'median' or 'rmse'"):
        AlignedMTL(scale_mode="max")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'scope' needs to be 'table' or 'row' in 'AlignedMTL'"):
        AlignedMTL("column")  # type: ignore[arg-type]
    assert repr(AlignedMTL("row")) == "AlignedMTL(scope='row', scale_mode='min')"
    assert not AlignedMTL().state_dict()
