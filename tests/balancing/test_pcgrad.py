import io
from itertools import permutations, product

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
from pyg_mtrec.balancing import PCGrad, Sum
from pyg_mtrec.balancing._task_orders import task_orders

SEED = st.integers(0, 10**6)
# Three tasks of which each conflicts with both others.
CONFLICT = torch.tensor([[1.0, 0.1, 0.0], [-0.7, 1.0, 0.3], [-0.4, -0.9, 0.8]]).double()


def by_hand(vectors: np.ndarray, orders: list[list[int]]) -> np.ndarray:
    """The paper's algorithm on vectors [T, n]."""
    total = np.zeros(vectors.shape[1])
    for task, order in enumerate(orders):
        own = vectors[task].copy()
        for s in order:
            product = float(own @ vectors[s])
            if product < 0:
                own -= product / float(vectors[s] @ vectors[s]) * vectors[s]
        total += own
    return total


def orders_of(seed: int, tasks: int) -> list[list[int]]:
    return task_orders(tasks, torch.Generator().manual_seed(seed)).tolist()


def largest(grads: Tensor) -> float:
    return float(grads.abs().max()) if grads.numel() else 1.0


@given(BANK, SEED)
def test_table_scope_is_the_papers_loop(grads: Tensor, seed: int) -> None:
    out = PCGrad(seed=seed)(grads).flatten().numpy()
    want = by_hand(grads.flatten(1).numpy(), orders_of(seed, len(grads)))
    np.testing.assert_allclose(out, want, rtol=1e-9, atol=1e-9 * largest(grads))


@given(BANK, SEED)
def test_row_scope_is_the_loop_over_rows_in_one_order(grads: Tensor, seed: int) -> None:
    out = PCGrad("row", seed)(grads)
    for row in range(grads.size(1)):
        scale = largest(grads[:, row])
        want = by_hand(grads[:, row].numpy(), orders_of(seed, len(grads)))
        np.testing.assert_allclose(out[row].numpy(), want, rtol=1e-9, atol=1e-9 * scale)
        alone = PCGrad("table", seed)(grads[:, row : row + 1])[0]
        torch.testing.assert_close(out[row], alone, rtol=1e-9, atol=1e-9 * scale)
        if scale == 0:
            assert not out[row].any()


@given(BANK, SEED)
def test_two_tasks_equal_torchjd_and_the_closed_form(grads: Tensor, seed: int) -> None:
    grads = torch.cat([grads, grads.flip(1)])[:2]
    flat = grads.flatten(1)
    out = PCGrad(seed=seed)(grads).flatten()
    atol = 1e-9 * largest(grads)
    want = torchjd.aggregation.PCGrad()(flat)
    torch.testing.assert_close(out, want, rtol=1e-9, atol=atol)
    (aa, ab), (_, bb) = (flat @ flat.t()).tolist()
    conflict = min(ab, 0.0)
    weights = [1 - conflict / (aa or 1), 1 - conflict / (bb or 1)]
    want = weights[0] * flat[0] + weights[1] * flat[1]
    torch.testing.assert_close(out, want, rtol=1e-9, atol=atol)
    swapped = PCGrad(seed=seed + 1)(grads.flip(0)).flatten()
    torch.testing.assert_close(out, swapped, rtol=1e-9, atol=atol)


def test_three_tasks_have_the_law_of_torchjd() -> None:
    ways = product(*(permutations([s for s in range(3) if s != t]) for t in range(3)))
    outcomes = [by_hand(CONFLICT.numpy(), [list(order) for order in way]) for way in ways]
    assert len(outcomes) == 8
    distances = np.abs(np.subtract.outer(outcomes, outcomes)).max(axis=(1, 3))
    assert distances[~np.eye(8, dtype=bool)].max() > 0.01  # the order matters

    def outcome(found: Tensor) -> np.ndarray:
        return np.abs(np.array(outcomes) - found.flatten().numpy()).max(axis=1) < 1e-12

    rule = PCGrad(seed=3)
    ours = np.array([outcome(rule(CONFLICT[:, None])) for _ in range(1600)])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = np.array([outcome(torchjd.aggregation.PCGrad()(CONFLICT)) for _ in range(200)])
    assert ours.any(axis=1).all() and theirs.any(axis=1).all()
    # Equal outcomes of several ways count for each: 200 a way, with a deviation of at most 18.
    share = np.array([[outcome(torch.from_numpy(o)) for o in outcomes]]).sum(axis=(0, 1))
    assert np.abs(ours.sum(axis=0) - 200 * share).max() < 100


def test_orders_are_all_permutations_of_the_others() -> None:
    generator = torch.Generator().manual_seed(0)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(600):
        orders = task_orders(4, generator).tolist()
        for task, order in enumerate(orders):
            assert sorted([task, *order]) == [0, 1, 2, 3]
        seen[tuple(orders[2])] = seen.get(tuple(orders[2]), 0) + 1
    assert sorted(seen) == sorted(permutations([0, 1, 3]))
    assert all(60 < count < 140 for count in seen.values())
    assert task_orders(1, generator).tolist() == [[]]


def test_a_projected_task_never_meets_itself() -> None:
    """What is left of a gradient can oppose what it was, and stays."""
    grads = torch.randn(3, 1000, 3, generator=torch.Generator().manual_seed(0)).double()
    out, orders = PCGrad("row", seed=1)(grads).numpy(), orders_of(1, tasks=3)
    with_itself = [[*order, task] for task, order in enumerate(orders)]
    differs = 0
    for row in range(1000):
        vectors = grads[:, row].numpy()
        want = by_hand(vectors, orders)
        np.testing.assert_allclose(out[row], want, rtol=1e-9, atol=1e-9)
        differs += not np.allclose(by_hand(vectors, with_itself), want)
    assert differs > 5


@given(BANK)
def test_without_conflict_it_is_the_sum(grads: Tensor) -> None:
    agreeing = grads.abs()
    for scope in ("table", "row"):
        rule = PCGrad(scope)  # type: ignore[arg-type]
        assert torch.equal(rule(agreeing), Sum()(agreeing))
        assert torch.equal(rule(grads[:1]), grads[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(grads=BANK)
def test_finite(dtype: torch.dtype, grads: Tensor) -> None:
    grads = grads.clamp(-1e15, 1e15)  # squares have to fit into a float32
    for scope in ("table", "row"):
        out = PCGrad(scope)(grads.to(dtype))  # type: ignore[arg-type]
        assert out.dtype == dtype and out.isfinite().all()


@pytest.mark.parametrize("scope", ["table", "row"])
def test_float32_is_close_to_float64(scope: str) -> None:
    grads = torch.randn(4, 500, 16, generator=torch.Generator().manual_seed(0))
    single, double = (PCGrad(scope)(x) for x in (grads, grads.double()))  # type: ignore[arg-type]
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=0, atol=3e-5)


def test_tables_and_dense_parameters_share_one_order() -> None:
    given_ = task_gradients(seed=0, tasks=4)
    table = PCGrad(seed=5).update(given_, epoch=1)
    found = torch.cat([x.flatten() for x in [*table.rows.values(), *table.dense.values()]])
    want = by_hand(whole(given_).numpy(), orders_of(5, 4))
    np.testing.assert_allclose(found.numpy(), want, rtol=1e-10)
    row = PCGrad("row", seed=5).update(given_, epoch=1)
    for name, rows in given_.rows.items():
        for e in range(rows.grads.size(1)):
            want = by_hand(rows.grads[:, e].numpy(), orders_of(5, 4))
            np.testing.assert_allclose(row.rows[name][e].numpy(), want, rtol=1e-10, atol=1e-12)
    dense = torch.cat([grads.flatten(1) for grads in given_.dense.values()], dim=1).numpy()
    found = torch.cat([x.flatten() for x in row.dense.values()])
    np.testing.assert_allclose(found.numpy(), by_hand(dense, orders_of(5, 4)), rtol=1e-10)


@pytest.mark.parametrize("scope", ["table", "row"])
def test_nothing_waits_for_the_device(scope: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, given_ = PCGrad(scope), task_gradients(seed=0, tasks=5)  # type: ignore[arg-type]
    want = rule.update(given_, epoch=1)
    # The order is drawn and read on the CPU whatever the device is, which NoSync cannot know.
    orders = orders_of(0, tasks=5)
    monkeypatch.setattr(rule, "_draw", lambda tasks: orders)
    with NoSync():
        found = rule.update(given_, epoch=1)
    for name, rows in want.rows.items():
        assert torch.equal(found.rows[name], rows)


def test_state() -> None:
    rule = PCGrad(seed=7)
    for _ in range(5):
        rule(CONFLICT[:, None])
    file = io.BytesIO()
    torch.save(rule.state_dict(), file)
    file.seek(0)
    resumed = PCGrad(seed=0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    outs = [[r(CONFLICT[:, None]) for _ in range(10)] for r in (rule, resumed)]
    assert torch.equal(torch.stack(outs[0]), torch.stack(outs[1]))
    rule.reset()
    first = [rule(CONFLICT[:, None]) for _ in range(10)]
    fresh = PCGrad(seed=7)
    assert torch.equal(torch.stack(first), torch.stack([fresh(CONFLICT[:, None]) for _ in first]))
    assert not torch.equal(torch.stack(first), torch.stack(outs[0]))


def test_weights_of_their_own_draw_orders() -> None:
    gram = CONFLICT @ CONFLICT.t()
    rule, fresh = PCGrad(seed=2), PCGrad(seed=2)
    for _ in range(4):
        out = rule(CONFLICT[:, None])[0]
        torch.testing.assert_close(fresh.weights(gram) @ CONFLICT, out, rtol=1e-12, atol=1e-12)


def test_bad_scope() -> None:
    with pytest.raises(InputError, match="'scope' needs to be 'table' or 'row' in 'PCGrad'"):
        PCGrad("column")  # type: ignore[arg-type]
