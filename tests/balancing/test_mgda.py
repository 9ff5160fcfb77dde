import itertools

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
from pyg_mtrec.balancing import MGDA, _simplex

SEED = st.integers(0, 10**6)
SCOPES = ["table", "row"]
NORMALIZE = ["none", "l2"]


def draw(seed: int, tasks: int, rows: int, dim: int) -> Tensor:
    """Gradients of which about as many conflict as agree, and some are much longer."""
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, rows, dim, generator=generator, dtype=torch.float64)
    shift = torch.rand(1, rows, 1, generator=generator, dtype=torch.float64)
    lengths = torch.rand(tasks, rows, 1, generator=generator, dtype=torch.float64) * 3
    return (grads + shift) * lengths.exp()


def gram(grads: Tensor) -> Tensor:
    return torch.einsum("srd,trd->rst", grads, grads)


def certificate(point: np.ndarray, vectors: np.ndarray, tolerance: float) -> None:
    """A mean of vectors is the shortest one if and only if <x, g_t> >= |x|^2 for all of them."""
    norms = np.linalg.norm(vectors, axis=1)
    live = norms > 0
    if not live.any():
        assert not point.any()
        return
    slack = vectors[live] @ point - point @ point
    assert (slack >= -tolerance * norms[live].min() * norms[live]).all()


@pytest.mark.parametrize("tasks", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("dim", [1, 2, 4, 32])
def test_shortest_mean(tasks: int, dim: int) -> None:
    grads = draw(seed=tasks * dim, tasks=tasks, rows=100, dim=dim)
    weights = MGDA("row").weights(gram(grads))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(100).double())
    points = torch.einsum("rt,trd->rd", weights, grads)
    for row in range(100):
        certificate(points[row].numpy(), grads[:, row].numpy(), tolerance=1e-9)


@given(BANK)
def test_table_scope(grads: Tensor) -> None:
    certificate(MGDA()(grads).flatten().numpy(), grads.flatten(1).numpy(), tolerance=1e-9)


@given(BANK, st.sampled_from(NORMALIZE))
def test_row_scope_is_the_loop_over_rows(grads: Tensor, normalize: str) -> None:
    out = MGDA("row", normalize)(grads)  # type: ignore[arg-type]
    for row in range(grads.size(1)):
        if normalize == "none":
            certificate(out[row].numpy(), grads[:, row].numpy(), tolerance=1e-9)
        alone = MGDA(normalize=normalize)(grads[:, row : row + 1])[0]  # type: ignore[arg-type]
        size = float(grads[:, row].norm(dim=1).sum())
        torch.testing.assert_close(out[row], alone, rtol=1e-9, atol=1e-9 * size)
        if size == 0:
            assert not out[row].any()


def test_two_tasks_have_a_closed_form() -> None:
    grads = draw(seed=0, tasks=2, rows=1000, dim=3)
    products = gram(grads)
    first, second, both = products[:, 0, 0], products[:, 1, 1], products[:, 0, 1]
    share = ((second - both) / (first + second - 2 * both)).clamp(0, 1)
    assert 0.1 < float(((share > 0) & (share < 1)).double().mean()) < 0.9
    found = MGDA().weights(products)
    torch.testing.assert_close(found, torch.stack([share, 1 - share], dim=1), rtol=0, atol=1e-9)


def test_no_point_of_a_grid_is_shorter() -> None:
    grads = draw(seed=1, tasks=3, rows=50, dim=4)
    steps = np.arange(0, 101) / 100
    grid = np.array([(a, b, 1 - a - b) for a, b in itertools.product(steps, steps) if a + b <= 1])
    points = np.einsum("kt,trd->krd", grid, grads.numpy())
    best = (points**2).sum(-1).min(axis=0)
    ours = MGDA("row")(grads).square().sum(dim=1).numpy()
    longest = grads.square().sum(dim=2).amax(dim=0).numpy()
    assert (ours <= best * (1 + 1e-9)).all()
    assert (ours >= best - 0.02 * longest).all()


@settings(max_examples=20)
@given(SEED, st.integers(1, 5), st.sampled_from([1e-4, 1.0, 1e4]))
def test_torchjd_comes_near(seed: int, tasks: int, scale: float) -> None:
    """Its Frank-Wolfe steps converge slowly, from above."""
    grads = draw(seed, tasks, rows=1, dim=16) * scale
    near = torchjd.aggregation.MGDA(epsilon=1e-9, max_iters=500)(grads[:, 0])
    ours = MGDA()(grads)[0]
    size = float(grads.norm(dim=2).min())
    assert float(ours.norm()) <= float(near.norm()) + 1e-9 * size
    torch.testing.assert_close(ours, near, rtol=0, atol=0.05 * size)
    certificate(ours.numpy(), grads[:, 0].numpy(), tolerance=1e-9)


@given(SEED, st.integers(1, 5))
def test_unit_gradients(seed: int, tasks: int) -> None:
    grads = draw(seed, tasks, rows=5, dim=4)
    norms = grads.norm(dim=2, keepdim=True)
    rule = MGDA("row", "l2")
    want = MGDA("row")(grads / norms) * norms.mean(dim=0)
    torch.testing.assert_close(rule(grads), want, rtol=1e-9, atol=1e-9)
    # Lengths of tasks do not turn it; where all have the same, nothing is different.
    scales = torch.tensor([1e-10, 1e10, 1.0, 1e5, 1e-3], dtype=torch.float64)[:tasks, None, None]
    turned = rule(grads * scales)
    length = (norms * scales).mean(dim=0)
    torch.testing.assert_close(turned / length, want / norms.mean(dim=0), rtol=0, atol=1e-9)
    torch.testing.assert_close(rule(grads / norms), MGDA("row")(grads / norms))


@pytest.mark.parametrize("normalize", NORMALIZE)
def test_a_task_without_gradient_takes_no_part(normalize: str) -> None:
    rule = MGDA("row", normalize)  # type: ignore[arg-type]
    grads = draw(seed=3, tasks=4, rows=40, dim=4)
    for silent in range(4):
        others = [task for task in range(4) if task != silent]
        quiet = grads.clone()
        quiet[silent] = 0
        torch.testing.assert_close(rule(quiet), rule(grads[others]), rtol=1e-9, atol=1e-9)
        assert not rule.weights(gram(quiet))[:, silent].any()


def test_degenerate_rows() -> None:
    x, y, zero = torch.tensor([3.0, 4.0]), torch.tensor([-4.0, 3.0]), torch.zeros(2)
    cases = [
        ((x, zero, zero), x),
        ((zero, zero, zero), zero),
        ((x, x, x), x),
        ((x, 3 * x, 2 * x), x),
        ((x, -x, y), zero),
        ((x, -3 * x, zero), zero),
        ((x, y, -x - y), zero),
        ((x, y, x + y), (x + y) / 2),
        ((1e-8 * x, 1e8 * y, -1e8 * y), zero),
        ((1e-8 * x, -1e8 * x, y), zero),
    ]
    grads = torch.stack([torch.stack(three) for three, _ in cases], dim=1)
    want = torch.stack([out for _, out in cases])
    for dtype in (torch.float32, torch.float64):
        found = MGDA("row")(grads.to(dtype))
        torch.testing.assert_close(found, want.to(dtype), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("normalize", NORMALIZE)
@pytest.mark.parametrize("scope", SCOPES)
@given(grads=BANK)
def test_finite(dtype: torch.dtype, normalize: str, scope: str, grads: Tensor) -> None:
    out = MGDA(scope, normalize)(grads.to(dtype))  # type: ignore[arg-type]
    assert out.dtype == dtype and out.isfinite().all()
    assert not out[(grads == 0).all(dim=2).all(dim=0)].any()


@given(BANK)
def test_one_task_gives_its_gradient(grads: Tensor) -> None:
    for scope in SCOPES:
        assert torch.equal(MGDA(scope)(grads[:1]), grads[0])  # type: ignore[arg-type]


@given(SEED, st.integers(1, 5), st.sampled_from([1e-10, 1.0, 1e10]))
def test_float32_gradients(seed: int, tasks: int, scale: float) -> None:
    """Also those of rows that one interaction touched: all parallel, up to rounding."""
    grads = (draw(seed, tasks, rows=50, dim=8) * scale).float()
    grads[:, 25:] = grads[:, 25:, :1] * (grads[:1, 25:] / scale)
    size = grads.double().norm(dim=2).amax(dim=0).unsqueeze(1)
    exact = MGDA("row")(grads.double()) / size
    torch.testing.assert_close(MGDA("row")(grads).double() / size, exact, rtol=0, atol=1e-3)


def test_tables_and_dense_parameters() -> None:
    given_ = task_gradients(seed=0)
    update = MGDA().update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*update.rows.values(), *update.dense.values()]])
    certificate(found.numpy(), whole(given_).numpy(), tolerance=1e-9)
    row = MGDA("row").update(given_, epoch=1)
    dense = torch.cat([grads.flatten(1) for grads in given_.dense.values()], dim=1)
    found = torch.cat([grad.flatten() for grad in row.dense.values()])
    certificate(found.numpy(), dense.numpy(), tolerance=1e-9)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("rows", [0, 1, 300])
def test_nothing_waits_for_the_device(scope: str, rows: int) -> None:
    grads = torch.randn(3, rows, 4, generator=torch.Generator().manual_seed(0))
    with NoSync():
        MGDA(scope)(grads)  # type: ignore[arg-type]
        MGDA(scope, "l2")(grads)  # type: ignore[arg-type]


def test_blocks_of_rows_are_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    products = gram(draw(seed=5, tasks=3, rows=50, dim=4))
    want = MGDA().weights(products)
    monkeypatch.setattr(_simplex, "_BLOCK", 7 * 24)
    assert torch.equal(MGDA().weights(products), want)
    torch.testing.assert_close(MGDA().weights(products.view(5, 10, 3, 3)), want.view(5, 10, 3))


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="'scope' needs to be 'table' or 'row' in 'MGDA'"):
        MGDA("column")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'none' or 'l2' in 'MGDA' \(got 'loss'\)"):
        MGDA(normalize="loss")  # type: ignore[arg-type]
    message = r"up to 8 of them \(got 9\): use 'FromTorchJD\(torchjd.aggregation.MGDA\(...\)\)'"
    with pytest.raises(InputError, match=message):
        MGDA()(torch.ones(9, 1, 2))
    assert repr(MGDA("row", "l2")) == "MGDA(scope='row', normalize='l2')"
    assert not MGDA().state_dict()
