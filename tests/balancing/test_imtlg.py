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
from pyg_mtrec.balancing import IMTLG

SEED = st.integers(0, 10**6)


def by_hand(vectors: np.ndarray) -> tuple[np.ndarray, bool]:
    """The rule on [T, n] by the pseudo-inverse; and whether rounding leaves it alone."""
    zero = np.zeros(vectors.shape[1])
    if not vectors.any():
        return zero, True
    unit = vectors / np.abs(vectors).max()
    gram = unit @ unit.T / (unit**2).sum()
    sizes = np.linalg.eigvalsh(gram)
    share = sizes / sizes[-1]
    v = np.linalg.pinv(gram, rcond=len(gram) * np.finfo(np.float64).eps) @ np.sqrt(np.diag(gram))
    sure = (share < 1e-16) | (share > 1e-7)
    balance = abs(v.sum()) / max(1, np.abs(v).sum())
    if balance < 1e-15:
        return zero, bool(sure.all())
    return v / v.sum() @ vectors, bool(sure.all() and balance > 1e-3)


def largest(grads: Tensor) -> float:
    return float(grads.abs().max()) if grads.numel() else 1.0


@pytest.mark.parametrize("rotate", [False, True])
@given(grads=BANK)
def test_table_scope(rotate: bool, grads: Tensor) -> None:
    want, sure = by_hand(grads.flatten(1).numpy())
    with rotations(rotate):
        out = IMTLG()(grads).flatten()
    if sure:
        np.testing.assert_allclose(out.numpy(), want, rtol=1e-5, atol=1e-5 * largest(grads))


@pytest.mark.parametrize("rotate", [False, True])
@given(grads=BANK)
def test_row_scope_is_the_loop_over_rows(rotate: bool, grads: Tensor) -> None:
    with rotations(rotate):
        out = IMTLG("row")(grads)
    for row in range(grads.size(1)):
        want, sure = by_hand(grads[:, row].numpy())
        size = largest(grads[:, row])
        if sure:
            np.testing.assert_allclose(out[row].numpy(), want, rtol=1e-5, atol=1e-5 * size)
            alone = IMTLG()(grads[:, row : row + 1])[0]
            torch.testing.assert_close(out[row], alone, rtol=1e-5, atol=1e-5 * size)
        if size == 0:
            assert not out[row].any()


@given(SEED, st.integers(1, 5), st.sampled_from([1e-4, 1.0, 1e4]))
def test_equals_torchjd(seed: int, tasks: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, 1, 32, generator=generator, dtype=torch.float64) * scale
    rule = torchjd.aggregation.IMTLG()
    torch.testing.assert_close(IMTLG()(grads)[0], rule(grads[:, 0]), rtol=1e-8, atol=1e-8 * scale)
    single = grads.float()
    torch.testing.assert_close(IMTLG()(single)[0], rule(single[:, 0]), rtol=1e-3, atol=1e-3 * scale)


@given(SEED, st.integers(2, 5))
def test_projections_are_equal(seed: int, tasks: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(tasks, 200, 8, generator=generator, dtype=torch.float64)
    gram = torch.einsum("srd,trd->rst", grads, grads)
    weights = IMTLG("row").weights(gram)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(200).double())
    out = IMTLG("row")(grads)
    projections = torch.einsum("rd,trd->rt", out, grads / grads.norm(dim=2, keepdim=True))
    mean = projections.mean(dim=1, keepdim=True).expand_as(projections)
    size = weights.abs().amax(dim=1, keepdim=True) * 10
    assert ((projections - mean).abs() < 1e-8 * size).all()
    order = torch.randperm(tasks, generator=generator)
    permuted = IMTLG("row").weights(gram[:, order][:, :, order])
    assert ((permuted - weights[:, order]).abs() < 1e-8 * size).all()


@given(SEED, st.sampled_from([1e-10, 1.0, 1e10]))
def test_two_tasks_have_a_closed_form(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    grads = torch.randn(2, 300, 8, generator=generator, dtype=torch.float64) * scale
    norms = grads.norm(dim=2)
    want = (norms.flip(0) / norms.sum(dim=0)).t()
    found = IMTLG().weights(torch.einsum("srd,trd->rst", grads, grads))
    torch.testing.assert_close(found, want, rtol=1e-7, atol=0)


def test_some_weights_of_three_tasks_are_negative() -> None:
    grads = torch.randn(3, 2000, 8, generator=torch.Generator().manual_seed(0)).double()
    gram = torch.einsum("srd,trd->rst", grads, grads)
    want = torch.linalg.solve(gram, gram.diagonal(dim1=1, dim2=2).sqrt())
    want = want / want.sum(dim=1, keepdim=True)
    found = IMTLG().weights(gram)
    torch.testing.assert_close(found, want, rtol=1e-6, atol=1e-6)
    assert 0.01 < float((found < 0).any(dim=1).double().mean()) < 0.6


def test_degenerate_rows() -> None:
    x = torch.tensor([3.0, 4.0])
    y, zero = torch.tensor([-4.0, 3.0]), torch.zeros(2)
    cases = [
        ((x, zero), x),  # a task without gradient
        ((zero, zero), zero),
        ((x, x), x),
        ((x, 3 * x), 2.5 * x),  # w = (1, 3) / 4: the minimum-norm weights
        ((x, -x), zero),  # nothing is equally far along both
        ((x, 2 * y), (2 * x + 2 * y) / 3),
    ]
    grads = torch.stack([torch.stack(pair) for pair, _ in cases], dim=1)
    want = torch.stack([out for _, out in cases])
    torch.testing.assert_close(IMTLG("row")(grads), want)
    with rotations():
        torch.testing.assert_close(IMTLG("row")(grads), want)


@given(SEED, st.sampled_from([2, 3, 5]), st.sampled_from([8, 32]))
def test_parallel_float32_gradients_share_their_weight(seed: int, tasks: int, dim: int) -> None:
    """Their rounding is no second direction, in which weights would be arbitrary."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(300, dim, generator=generator)
    lengths = torch.rand(tasks, 300, 1, generator=generator) + 0.1
    out = IMTLG("row")(lengths * direction)
    share = lengths.double() / lengths.double().sum(dim=0)
    want = (share * lengths).sum(dim=0) * direction
    torch.testing.assert_close(out.double(), want, rtol=0, atol=1e-5 * dim)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(grads=BANK)
def test_finite(dtype: torch.dtype, grads: Tensor) -> None:
    grads = grads.clamp(-1e15, 1e15)  # squares have to fit into a float32
    for scope in ("table", "row"):
        for rotate in (False, True):
            with rotations(rotate):
                out = IMTLG(scope)(grads.to(dtype))  # type: ignore[arg-type]
            assert out.dtype == dtype and out.isfinite().all()
            assert not out[(grads == 0).all(dim=2).all(dim=0)].any()


@given(SEED, st.sampled_from([1e-8, 1.0, 1e8]), st.sampled_from([torch.float32, torch.float64]))
def test_opposite_gradients_of_one_length_give_nothing(
    seed: int, scale: float, dtype: torch.dtype
) -> None:
    first = torch.randn(300, 5, generator=torch.Generator().manual_seed(seed)).to(dtype) * scale
    for rotate in (False, True):
        with rotations(rotate):
            assert not IMTLG("row")(torch.stack([first, -first])).any()
            assert not IMTLG()(torch.stack([first, -first])).any()


@given(BANK)
def test_one_task_gives_its_gradient(grads: Tensor) -> None:
    for scope in ("table", "row"):
        assert torch.equal(IMTLG(scope)(grads[:1]), grads[0])  # type: ignore[arg-type]


def test_tables_and_dense_parameters() -> None:
    given_ = task_gradients(seed=0)
    update = IMTLG().update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*update.rows.values(), *update.dense.values()]])
    np.testing.assert_allclose(found, by_hand(whole(given_).numpy())[0], rtol=1e-8)
    row = IMTLG("row").update(given_, epoch=1)
    dense = torch.cat([grads.flatten(1) for grads in given_.dense.values()], dim=1)
    found = torch.cat([grad.flatten() for grad in row.dense.values()])
    np.testing.assert_allclose(found, by_hand(dense.numpy())[0], rtol=1e-8)


@pytest.mark.parametrize("scope", ["table", "row"])
@pytest.mark.parametrize("rows", [1, 300])
def test_nothing_waits_for_the_device(scope: str, rows: int) -> None:
    grads = torch.randn(3, rows, 4, generator=torch.Generator().manual_seed(0))
    with NoSync(), rotations():
        IMTLG(scope)(grads)  # type: ignore[arg-type]


def test_bad_scope() -> None:
    with pytest.raises(InputError, match="'scope' needs to be 'table' or 'row' in 'IMTLG'"):
        IMTLG("column")  # type: ignore[arg-type]
    assert repr(IMTLG("row")) == "IMTLG(scope='row')"
    assert not IMTLG().state_dict()
