from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec import InputError
from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training import RowAdam, Settings
from pyg_mtrec.training._skipped_steps import SkippedSteps, first_sparse_step

ROWS = 12


def train(
    optimizer: Any,
    table: Parameter,
    rows: list[Tensor],
    scale: float,
    lrs: list[float] | None = None,
) -> list[Tensor]:
    """Steps with gradients on some rows; what was read before each."""
    draws = torch.Generator().manual_seed(1)
    seen = []
    for step, ids in enumerate(rows):
        if lrs is not None:
            optimizer.param_groups[0]["lr"] = lrs[step]
        if isinstance(optimizer, RowAdam):
            optimizer.read({"table": ids})
        seen.append(table.detach()[ids].clone())
        grads = scale * torch.randn(ids.numel(), table.size(1), generator=draws, dtype=torch.double)
        table.grad = torch.zeros_like(table).index_add_(0, ids, grads.to(table.dtype))
        optimizer.step()
    if isinstance(optimizer, RowAdam):
        optimizer.flush()
    return seen


def looked_up(steps: int, seed: int = 0, high: int = ROWS) -> list[Tensor]:
    """Some rows in every step; the later, the fewer of them are ever read."""
    draws = torch.Generator().manual_seed(seed)
    return [
        torch.randint(max(2, high - step // 60), (3,), generator=draws) for step in range(steps)
    ]


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-7, 1e-10, 1e10])
def test_it_is_adamw(scale: float, decay: float) -> None:
    start = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    one, other = Parameter(start.clone()), Parameter(start.clone())
    rows = looked_up(700)
    ours = RowAdam({"table": one}, lr=0.01, weight_decay=decay)
    dense = torch.optim.AdamW([other], lr=0.01, weight_decay=decay)
    assert ours.dense_steps < 300
    read, wanted = train(ours, one, rows, scale), train(dense, other, rows, scale)
    moved = float((other.detach() - start).abs().max())
    assert float((one.detach() - other.detach()).abs().max()) < 1e-7 * moved
    for a, b in zip(read, wanted, strict=True):  # not only at the end: every step read the same
        assert float((a - b).abs().max()) < 1e-7 * moved


def test_in_single_precision_it_strays_no_further_than_the_dense_one() -> None:
    start = torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(0))
    tables = [Parameter(start.clone()) for _ in range(2)] + [Parameter(start.double())]
    rows = looked_up(1500)
    for table, make in zip(tables, (RowAdam, torch.optim.AdamW, torch.optim.AdamW), strict=True):
        given: Any = {"table": table} if make is RowAdam else [table]
        train(make(given, lr=0.01, weight_decay=0.01), table, rows, 1e-4)
    ours, dense = ((table.double() - tables[2]).detach().abs().max() for table in tables[:2])
    assert float(ours) < max(2 * float(dense), 1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, ROWS - 1), max_size=4), min_size=60, max_size=120),
    st.sampled_from([0.0, 0.1]),
)
def test_any_rows_at_any_time(ids: list[list[int]], decay: float) -> None:
    rows = [torch.tensor(some, dtype=torch.long) for some in ids]
    one, other = (Parameter(torch.ones(ROWS, 1, dtype=torch.double)) for _ in range(2))
    # Betas with which sparse steps begin soon
    ours = RowAdam({"table": one}, betas=(0.3, 0.99), lr=0.1, weight_decay=decay)
    assert ours.dense_steps == 50
    train(ours, one, rows, 1.0)
    train(
        torch.optim.AdamW([other], betas=(0.3, 0.99), lr=0.1, weight_decay=decay), other, rows, 1.0
    )
    assert torch.allclose(one, other, rtol=0, atol=1e-7)


def test_the_learning_rate_may_change() -> None:
    lrs = [0.01 * 0.995**step for step in range(600)]
    one, other = (Parameter(torch.ones(ROWS, 2, dtype=torch.double)) for _ in range(2))
    train(RowAdam({"table": one}, weight_decay=0.1), one, looked_up(600), 1.0, lrs)
    dense = torch.optim.AdamW([other], weight_decay=0.1)
    train(dense, other, looked_up(600), 1.0, lrs)
    assert torch.allclose(one, other, rtol=0, atol=1e-8)


def test_a_state_goes_on_where_it_was() -> None:
    rows = looked_up(600)
    whole = Parameter(torch.ones(ROWS, 2))
    optimizer = RowAdam({"table": whole}, [Parameter(torch.ones(1))], weight_decay=0.1)
    train(optimizer, whole, rows[:400], 1.0)
    copied = Parameter(whole.detach().clone())
    resumed = RowAdam({"table": copied}, [Parameter(torch.ones(1))], weight_decay=0.1)
    resumed.load_state_dict(optimizer.state_dict())
    for of, table in ((optimizer, whole), (resumed, copied)):
        train(of, table, rows[400:], 1.0)
    assert torch.equal(whole, copied)


def test_other_parameters_are_dense() -> None:
    table, weight, plain = (Parameter(torch.ones(3, 1)) for _ in range(3))
    groups = [{"params": [weight], "weight_decay": 0.5}]
    ours = RowAdam({"table": table}, groups, lr=0.1)
    dense = torch.optim.AdamW([plain], lr=0.1, weight_decay=0.5)
    for _ in range(5):
        ours.read({"table": torch.tensor([0])})
        table.grad = torch.zeros_like(table)
        weight.grad = plain.grad = torch.tensor([[1.0], [-2.0], [0.0]])
        ours.step()
        dense.step()
    assert torch.allclose(weight, plain) and torch.equal(table, torch.ones(3, 1))


def test_sums_grow_with_the_steps() -> None:
    sums = SkippedSteps((0.9, 0.999), 1e-8, torch.device("cpu"))
    for _ in range(3000):
        sums.advance(0.1, 0.0)
    x, moments = torch.zeros(1, 1), torch.ones(1, 2, 1)
    assert float(sums.catch_up(x, moments, torch.tensor([3000]))) == 0.0  # nothing was skipped
    assert moments.tolist() == [[[1.0], [1.0]]]
    by_hand = sum(
        0.1 * 0.9**j / 0.999 ** (j / 2) * (1 - 0.999 ** (2000 + j)) ** 0.5 / (1 - 0.9 ** (2000 + j))
        for j in range(1, 1001)
    )
    moved = sums.catch_up(x, moments, torch.tensor([2000]))
    first, second = moments.flatten()
    assert float(-moved) == pytest.approx(by_hand, rel=1e-6)
    assert float(first) == pytest.approx(0.9**1000, abs=1e-12)
    assert float(second) == pytest.approx(0.999**1000, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "'lr'"),
        ({"weight_decay": -1.0}, "'weight_decay'"),
        ({"eps": 0.0}, "'eps'"),
        ({"betas": (0.999, 0.9)}, "the second of 'betas'"),
        ({"betas": (0.9, 0.99)}, "'betas' need to forget sooner"),
        ({"tables": {}}, "at least one table"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RowAdam(**{"tables": {"table": Parameter(torch.ones(2, 1))}, **options})


def test_dense_steps_depend_on_betas_alone() -> None:
    assert first_sparse_step((0.9, 0.999), 1e-8) == first_sparse_step((0.9, 0.999), 1e-3) == 252


@pytest.mark.parametrize("balancer", ["sum", "pmtrec"])
def test_a_run_with_it_is_a_run_with_adamw(balancer: str, tmp_path: Path) -> None:
    from pyg_mtrec.training import run_experiment

    same = Settings(
        dataset="planted",
        dataset_options=["num_interactions=4000"],
        encoder="mf",
        balancer=balancer,
        dim=8,
        epochs=8,
        patience=8,
        batch_size=64,
        weight_decay=0.01,
        comparison="off",
        optimizer="adamw",
    )
    dense = run_experiment(same, RunDirectory(tmp_path / "dense"))
    rows = run_experiment(replace(same, optimizer="row-adam"), RunDirectory(tmp_path / "rows"))
    assert rows["test"] == pytest.approx(dense["test"], abs=2e-3)
