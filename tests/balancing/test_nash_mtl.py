import warnings

import numpy as np
import pytest
import torch
import torchjd.aggregation
from gradient_bank import BANK, task_gradients, whole
from hypothesis import given, settings
from hypothesis import strategies as st
from no_sync import NoSync
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import NashMTL

SEED = st.integers(0, 10**6)
SCOPES = ["table", "row"]
SHRINKAGE = 1e-6


def draw(seed: int, tasks: int, rows: int, dim: int) -> Tensor:
    """Gradients of which about as many conflict as agree, of very different lengths."""
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, rows, dim, generator=generator, dtype=torch.float64)
    lengths = torch.randn(tasks, rows, 1, generator=generator, dtype=torch.float64) * 3
    return grads * lengths.exp()


def gram(grads: Tensor) -> Tensor:
    return torch.einsum("srd,trd->rst", grads, grads)


def by_hand(vectors: np.ndarray) -> np.ndarray:
    """Newton's method on the barrier problem of [T, n], with backtracking, for one vector."""
    norms = np.linalg.norm(vectors, axis=1)
    units = vectors[norms > 0] / norms[norms > 0, None]
    tasks = len(units)
    if not tasks:
        return np.zeros(vectors.shape[1])
    matrix = (units @ units.T) * (1 - SHRINKAGE)
    np.fill_diagonal(matrix, 1.0)

    def barrier(b: np.ndarray) -> float:
        return float(b @ matrix @ b / 2 - np.log(b).sum()) if (b > 0).all() else np.inf

    b = np.ones(tasks)
    for _ in range(500):
        slope = matrix @ b - 1 / b
        step = np.linalg.solve(matrix + np.diag(1 / b**2), slope)
        size = 1.0
        while barrier(b - size * step) > barrier(b) - 0.1 * size * slope @ step and size > 1e-12:
            size /= 2
        b = b - size * step
        if slope @ step < 1e-20:
            break
    return b @ units


@pytest.mark.parametrize("tasks", [1, 2, 3, 5, 8, 12])
@pytest.mark.parametrize("dim", [24, 64])
def test_every_task_has_the_same_share(tasks: int, dim: int) -> None:
    grads = draw(seed=tasks * dim, tasks=tasks, rows=100, dim=dim)
    weights = NashMTL("row", max_norm=None).weights(gram(grads))
    assert (weights > 0).all()
    out = torch.einsum("rt,trd->rd", weights, grads)
    shares = weights * torch.einsum("rd,trd->rt", out, grads)
    torch.testing.assert_close(shares, torch.ones_like(shares), rtol=0, atol=5e-5)
    lengths = torch.full((100,), tasks**0.5, dtype=torch.float64)
    torch.testing.assert_close(out.norm(dim=1), lengths, rtol=1e-5, atol=0)


def test_two_tasks_have_a_closed_form() -> None:
    grads = draw(seed=0, tasks=2, rows=500, dim=3)
    norms = grads.norm(dim=2).t()
    cosine = (grads[0] * grads[1]).sum(dim=1, keepdim=True) / norms.prod(dim=1, keepdim=True)
    want = 1 / (norms * (1 + cosine * (1 - SHRINKAGE)).sqrt())
    found = NashMTL(max_norm=None).weights(gram(grads))
    torch.testing.assert_close(found, want, rtol=1e-9, atol=0)


def test_no_direction_has_a_larger_product_of_gains() -> None:
    grads = draw(seed=1, tasks=3, rows=20, dim=4)
    grads = grads / grads.norm(dim=2, keepdim=True)
    out = NashMTL("row")(grads)
    ours = torch.einsum("rd,trd->rt", out, grads).log().sum(dim=1)
    others = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0)).double()
    others = others / others.norm(dim=1, keepdim=True)
    gains = torch.einsum("kd,trd->rtk", others, grads).clamp(min=0).log().sum(dim=1)
    best = gains.amax(dim=1)
    assert (ours >= best - 1e-5).all()
    assert (best > ours - 0.2).all()  # and some are nearly as good


@settings(max_examples=15)
@given(SEED, st.integers(2, 5))
def test_equals_torchjd(seed: int, tasks: int) -> None:
    reason = "TorchJD solves Nash-MTL with cvxpy and ecos: torchjd[nash_mtl]"
    pytest.importorskip("cvxpy", reason=reason)
    pytest.importorskip("ecos", reason=reason)
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, 1, 32, generator=generator, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = torchjd.aggregation.NashMTL(n_tasks=tasks)(grads[:, 0]).double()
    found = NashMTL()(grads)[0]
    assert float(torch.cosine_similarity(found, want, dim=0)) > 1 - 1e-4
    torch.testing.assert_close(found, want, rtol=0, atol=1e-2)


@given(BANK)
def test_table_scope(grads: Tensor) -> None:
    want = by_hand(grads.flatten(1).numpy())
    found = NashMTL(max_norm=None)(grads).flatten().numpy()
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-4)


@given(BANK)
def test_row_scope_is_the_loop_over_rows(grads: Tensor) -> None:
    out = NashMTL("row", max_norm=None)(grads)
    for row in range(grads.size(1)):
        want = by_hand(grads[:, row].numpy())
        np.testing.assert_allclose(out[row].numpy(), want, rtol=0, atol=1e-4)
        alone = NashMTL(max_norm=None)(grads[:, row : row + 1])[0]
        torch.testing.assert_close(out[row], alone, rtol=0, atol=1e-6)
        if not grads[:, row].any():
            assert not out[row].any()


@given(BANK, st.sampled_from([0.01, 1.0, 1.5, 100.0]))
def test_longer_updates_are_cut(grads: Tensor, max_norm: float) -> None:
    free = NashMTL("row", max_norm=None)(grads)
    length = free.norm(dim=1, keepdim=True)
    want = free * (max_norm / length.clamp(min=1e-300)).clamp(max=1)
    found = NashMTL("row", max_norm)(grads)
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5 * max_norm)
    assert (found.norm(dim=1) <= max_norm * (1 + 1e-6) + 1e-6).all()
    table = NashMTL("table", max_norm)(grads)
    assert float(table.norm()) <= max_norm * (1 + 1e-6) + 1e-6


@given(SEED, st.integers(1, 5))
def test_lengths_of_gradients_have_no_influence(seed: int, tasks: int) -> None:
    grads = draw(seed, tasks, rows=10, dim=8)
    scales = torch.tensor([1e-10, 1e10, 1.0, 1e5, 1e-3], dtype=torch.float64)[:tasks, None, None]
    torch.testing.assert_close(
        NashMTL("row")(grads * scales), NashMTL("row")(grads), rtol=0, atol=1e-7
    )


def test_a_task_without_gradient_takes_no_part() -> None:
    for tasks in (2, 3, 4):
        grads = draw(seed=3, tasks=tasks, rows=40, dim=8)
        for silent in range(tasks):
            others = [task for task in range(tasks) if task != silent]
            quiet = grads.clone()
            quiet[silent] = 0
            want = NashMTL("row", None)(grads[others])
            torch.testing.assert_close(NashMTL("row", None)(quiet), want, rtol=1e-7, atol=1e-7)
            assert not NashMTL().weights(gram(quiet))[:, silent].any()


def test_degenerate_rows() -> None:
    x, y, zero = torch.tensor([0.6, 0.8]), torch.tensor([-0.8, 0.6]), torch.zeros(2)
    cases = [
        ((3 * x, zero, zero), x),
        ((zero, zero, zero), zero),
        ((x, 2 * x, 3 * x), 3**0.5 * x),
        ((x, -2 * x, zero), zero),
        ((x, y, -x - y), zero),
        ((x, -x, -x), zero),
        ((1e-8 * x, 1e8 * y, zero), x + y),
        ((x, -x, y), y),
    ]
    grads = torch.stack([torch.stack(three) for three, _ in cases], dim=1)
    want = torch.stack([out for _, out in cases])
    for dtype in (torch.float32, torch.float64):
        found = NashMTL("row", None)(grads.to(dtype))
        torch.testing.assert_close(found, want.to(dtype), rtol=0, atol=5e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("max_norm", [None, 1.0])
@pytest.mark.parametrize("scope", SCOPES)
@given(grads=BANK)
def test_finite(dtype: torch.dtype, max_norm: float | None, scope: str, grads: Tensor) -> None:
    out = NashMTL(scope, max_norm)(grads.to(dtype))  # type: ignore[arg-type]
    assert out.dtype == dtype and out.isfinite().all()
    assert not out[(grads == 0).all(dim=2).all(dim=0)].any()


@given(BANK)
def test_one_task_gives_its_direction(grads: Tensor) -> None:
    norms = grads[:1].norm(dim=2, keepdim=True)
    want = (grads[:1] / norms.clamp(min=1e-300))[0]
    torch.testing.assert_close(NashMTL("row")(grads[:1]), want, rtol=1e-9, atol=1e-12)


@given(SEED, st.integers(1, 5), st.sampled_from([1e-10, 1.0, 1e10]))
def test_float32_gradients(seed: int, tasks: int, scale: float) -> None:
    """Also those of rows that one interaction touched: all parallel, up to rounding."""
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, 50, 8, generator=generator) * scale
    grads[:, 25:] = grads[:, 25:, :1] * (grads[:1, 25:] / scale)
    exact = NashMTL("row")(grads.double())
    torch.testing.assert_close(NashMTL("row")(grads).double(), exact, rtol=0, atol=5e-3)


def test_tables_and_dense_parameters() -> None:
    given_ = task_gradients(seed=0)
    update = NashMTL(max_norm=None).update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*update.rows.values(), *update.dense.values()]])
    np.testing.assert_allclose(found.numpy(), by_hand(whole(given_).numpy()), rtol=1e-7)
    row = NashMTL("row", max_norm=None).update(given_, epoch=1)
    dense = torch.cat([grads.flatten(1) for grads in given_.dense.values()], dim=1)
    found = torch.cat([grad.flatten() for grad in row.dense.values()])
    np.testing.assert_allclose(found.numpy(), by_hand(dense.numpy()), rtol=1e-7)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_nothing_waits_for_the_device(scope: str, rows: int) -> None:
    grads = torch.randn(3, rows, 4, generator=torch.Generator().manual_seed(0))
    with NoSync():
        NashMTL(scope)(grads)  # type: ignore[arg-type]


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="'scope' needs to be 'table' or 'row' in 'NashMTL'"):
        NashMTL("column")  # type: ignore[arg-type]
    for max_norm in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="'max_norm' needs to be positive in 'NashMTL'"):
            NashMTL(max_norm=max_norm)
    assert repr(NashMTL("row", None)) == "NashMTL(scope='row', max_norm=None)"
    assert not NashMTL().state_dict()
