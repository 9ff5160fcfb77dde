from itertools import product

import numpy as np
import pytest
import torch
import torchjd.aggregation
from gradient_bank import BANK, draw, task_gradients, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Mean, PCGrad, UPGrad

SEED = st.integers(0, 10**6)
SCOPES = ["table", "row"]


def by_hand(vectors: np.ndarray) -> np.ndarray:
    """The mean of the projections of [T, n], from least squares on every subset of the gradients.

    What a projection removes is the best approximation of -g by vectors of the cone that the
    gradients span (Moreau).
    """
    norms = np.linalg.norm(vectors, axis=1)
    units = vectors[norms > 0] / norms[norms > 0, None]
    projections = units.copy()
    for subset in product([False, True], repeat=len(units)):
        cone = units[np.array(subset, dtype=bool)]
        if len(cone):
            factors = np.linalg.lstsq(cone.T, -units.T, rcond=1e-12)[0]  # [S, T]
            found = units + factors.T @ cone
            shorter = np.linalg.norm(found, axis=1) < np.linalg.norm(projections, axis=1)
            better = shorter & (factors >= -1e-12).all(axis=0)
            projections[better] = found[better]
    return norms[norms > 0] @ projections / len(vectors)


@pytest.mark.parametrize("tasks", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("dim", [1, 2, 4, 8, 32])
def test_mean_of_projections(tasks: int, dim: int) -> None:
    grads = draw(seed=tasks * dim, tasks=tasks, rows=15, dim=dim)
    out = UPGrad("row")(grads)
    for row in range(15):
        want = by_hand(grads[:, row].numpy())
        np.testing.assert_allclose(out[row].numpy(), want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("tasks", [2, 3, 5])
def test_no_conflict_is_left_and_nothing_given_up_without(tasks: int) -> None:
    grads = draw(seed=tasks, tasks=tasks, rows=500, dim=8)
    out = UPGrad("row")(grads)
    gains = torch.einsum("rd,trd->rt", out, grads)
    size = grads.norm(dim=2).amax(dim=0).square()
    assert (gains.amin(dim=1) >= -1e-12 * size).all()
    products = torch.einsum("srd,trd->rst", grads, grads)
    peace = (products >= 0).flatten(1).all(dim=1)
    assert 0 < int(peace.sum()) < 500
    torch.testing.assert_close(out[peace], Mean()(grads)[peace], rtol=1e-12, atol=1e-12)


@given(BANK)
def test_table_scope(grads: Tensor) -> None:
    want = by_hand(grads.flatten(1).numpy())
    size = float(grads.flatten(1).norm(dim=1).sum())
    found = UPGrad()(grads).flatten().numpy()
    np.testing.assert_allclose(found, want, rtol=1e-8, atol=1e-8 * size)


@given(BANK)
def test_row_scope_is_the_loop_over_rows(grads: Tensor) -> None:
    out = UPGrad("row")(grads)
    for row in range(grads.size(1)):
        size = float(grads[:, row].norm(dim=1).sum())
        if size == 0:
            assert not out[row].any()
            continue
        want = by_hand(grads[:, row].numpy())
        np.testing.assert_allclose(out[row].numpy(), want, rtol=1e-8, atol=1e-8 * size)
        alone = UPGrad()(grads[:, row : row + 1])[0]
        torch.testing.assert_close(out[row], alone, rtol=1e-9, atol=1e-9 * size)


def test_two_tasks_get_half_of_pcgrad() -> None:
    for seed, dim in ((0, 1), (1, 2), (2, 16)):
        grads = draw(seed, tasks=2, rows=500, dim=dim)
        want = PCGrad("row")(grads) / 2
        torch.testing.assert_close(UPGrad("row")(grads), want, rtol=1e-9, atol=1e-9)


@settings(max_examples=20)
@given(SEED, st.integers(1, 5))
def test_equals_torchjd(seed: int, tasks: int) -> None:
    reason = "TorchJD projects with quadprog: torchjd[quadprog_projector]"
    pytest.importorskip("qpsolvers", reason=reason)
    pytest.importorskip("quadprog", reason=reason)
    from torchjd.linalg import QuadprogProjector

    projector = QuadprogProjector(norm_eps=1e-12, reg_eps=1e-10)
    grads = draw(seed, tasks, rows=1, dim=16)
    want = torchjd.aggregation.UPGrad(projector=projector)(grads[:, 0])
    size = float(grads.norm(dim=2).sum())
    torch.testing.assert_close(UPGrad()(grads)[0], want, rtol=0, atol=1e-6 * size)


def test_degenerate_rows() -> None:
    x, y, zero = torch.tensor([3.0, 4.0]), torch.tensor([-4.0, 3.0]), torch.zeros(2)
    cases = [
        ((x, zero, zero), x / 3),
        ((zero, zero, zero), zero),
        ((x, x, x), x),
        ((x, -x, y), y / 3),  # only what helps neither nor harms
        ((x, -3 * x, zero), zero),
        ((x, y, -x - y), zero),
        ((x, -x, -x), zero),
        ((1e-8 * x, 1e8 * y, -1e8 * y), 1e-8 * x / 3),
    ]
    grads = torch.stack([torch.stack(three) for three, _ in cases], dim=1)
    want = torch.stack([out for _, out in cases])
    for dtype in (torch.float32, torch.float64):
        found = UPGrad("row")(grads.to(dtype))
        size = grads.norm(dim=2).amax(dim=0).clamp(min=1).unsqueeze(1)
        torch.testing.assert_close(found / size, want.to(dtype) / size, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scope", SCOPES)
@given(grads=BANK)
def test_finite(dtype: torch.dtype, scope: str, grads: Tensor) -> None:
    out = UPGrad(scope)(grads.to(dtype))  # type: ignore[arg-type]
    assert out.dtype == dtype and out.isfinite().all()
    assert not out[(grads == 0).all(dim=2).all(dim=0)].any()


@given(BANK)
def test_one_task_gives_its_gradient(grads: Tensor) -> None:
    for scope in SCOPES:
        assert torch.equal(UPGrad(scope)(grads[:1]), grads[0])  # type: ignore[arg-type]


@given(SEED, st.integers(1, 5), st.sampled_from([1e-10, 1.0, 1e10]))
def test_float32_gradients(seed: int, tasks: int, scale: float) -> None:
    """Also those of rows that one interaction touched: all parallel, up to rounding."""
    grads = (draw(seed, tasks, rows=50, dim=8) * scale).float()
    grads[:, 25:] = grads[:, 25:, :1] * (grads[:1, 25:] / scale)
    size = grads.double().norm(dim=2).amax(dim=0).unsqueeze(1)
    exact = UPGrad("row")(grads.double()) / size
    torch.testing.assert_close(UPGrad("row")(grads).double() / size, exact, rtol=0, atol=1e-3)


def test_tables_and_dense_parameters() -> None:
    given_ = task_gradients(seed=0)
    update = UPGrad().update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*update.rows.values(), *update.dense.values()]])
    np.testing.assert_allclose(found.numpy(), by_hand(whole(given_).numpy()), rtol=1e-9)
    row = UPGrad("row").update(given_, epoch=1)
    dense = torch.cat([grads.flatten(1) for grads in given_.dense.values()], dim=1)
    found = torch.cat([grad.flatten() for grad in row.dense.values()])
    np.testing.assert_allclose(found.numpy(), by_hand(dense.numpy()), rtol=1e-9)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_nothing_waits_for_the_device(scope: str, rows: int) -> None:
    grads = torch.randn(3, rows, 4, generator=torch.Generator().manual_seed(0))
    with NoSync():
        UPGrad(scope)(grads)  # type: ignore[arg-type]


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="'scope' needs to be 'table' or 'row' in 'UPGrad'"):
        UPGrad("column")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"aggregation.UPGrad\(...\)\)' for more"):
        UPGrad()(torch.ones(9, 1, 2))
    assert repr(UPGrad("row")) == "UPGrad(scope='row')"
    assert not UPGrad().state_dict()
