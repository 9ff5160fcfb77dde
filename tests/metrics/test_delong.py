import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import auc, delong_test


def contributions(pred: Tensor, label: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What every positive and every negative row adds, over all pairs."""
    x, y = pred[label == 1].double().numpy(), pred[label == 0].double().numpy()
    psi = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    return psi.mean(axis=1), psi.mean(axis=0)


def textbook(first: Tensor, second: Tensor, label: Tensor) -> tuple[float, float, float]:
    (v1, w1), (v2, w2) = contributions(first, label), contributions(second, label)
    covariance = np.cov(v1, v2) / len(v1) + np.cov(w1, w2) / len(w1)
    error = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    difference = v1.mean() - v2.mean()
    return difference, error, 2 * stats.norm.sf(abs(difference) / error) if error else math.nan


@st.composite
def models(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    size = draw(st.integers(4, 20))
    column = st.lists(st.integers(-3, 3), min_size=size, max_size=size)
    label = [0, 0, 1, 1, *draw(st.lists(st.integers(0, 1), min_size=size - 4, max_size=size - 4))]
    scale = draw(st.sampled_from([1e-10, 1.0, 1e10]))
    first, second = (torch.tensor(draw(column)).double() * scale for _ in range(2))
    return first, second, torch.tensor(label)


@given(models())
def test_against_all_pairs(columns: tuple[Tensor, Tensor, Tensor]) -> None:
    first, second, label = columns
    difference, error, p = delong_test(first, second, label)
    expected = textbook(first, second, label)
    assert difference == pytest.approx(expected[0], abs=1e-14)
    assert difference == pytest.approx(auc(first, label) - auc(second, label), abs=1e-14)
    assert error == pytest.approx(expected[1], rel=1e-6, abs=1e-8)
    if error > 1e-6:
        assert p == pytest.approx(expected[2], rel=1e-6)
    swapped = delong_test(second, first, label)
    assert swapped == pytest.approx((-difference, error, p), rel=1e-9, abs=1e-15)


def by_groups(first: Tensor, second: Tensor, label: Tensor, group: list[int]) -> float:
    """The variance for groups of rows, written as sums over groups."""
    (v1, w1), (v2, w2) = contributions(first, label), contributions(second, label)
    d, e = v1 - v2, w1 - w2
    theta, m, n = d.mean(), len(d), len(e)
    positive = [g for g, y in zip(group, label.tolist(), strict=True) if y == 1]
    negative = [g for g, y in zip(group, label.tolist(), strict=True) if y == 0]
    k, k10, k01 = len(set(group)), len(set(positive)), len(set(negative))
    s10 = s01 = s11 = 0.0
    for g in set(group):
        a = sum(x - theta for x, h in zip(d, positive, strict=True) if h == g)
        b = sum(x - theta for x, h in zip(e, negative, strict=True) if h == g)
        s10, s01, s11 = s10 + a * a, s01 + b * b, s11 + a * b
    s10, s01 = s10 * k10 / ((k10 - 1) * m), s01 * k01 / ((k01 - 1) * n)
    return s10 / m + s01 / n + 2 * s11 * k / (k - 1) / (m * n)


@given(models(), st.integers(2, 5))
def test_groups_against_sums_over_groups(
    columns: tuple[Tensor, Tensor, Tensor], num_groups: int
) -> None:
    first, second, label = columns
    group = [7 * (row % num_groups) for row in range(label.numel())]  # of both classes each
    group[:4] = [0, 7, 0, 7]
    _, error, _ = delong_test(first, second, label, torch.tensor(group))
    expected = by_groups(first, second, label, group)
    assert error == pytest.approx(math.sqrt(max(0.0, expected)), rel=1e-6, abs=1e-7)
    alone = delong_test(first, second, label, torch.arange(label.numel()) + 100)
    assert alone == delong_test(first, second, label)


def test_a_true_null_hypothesis_is_rejected_as_often_as_it_should() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(120) % 3 == 0
    p_values = []
    for _ in range(400):
        noise = torch.randn(3, 120, generator=generator) + label  # a shared part and two own ones
        p_values.append(delong_test(noise[0] + noise[1], noise[0] + noise[2], label)[2])
    rejected = sum(p < 0.05 for p in p_values) / 400
    assert 0.02 < rejected < 0.085
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_rows_that_come_in_copies_are_told_by_their_group() -> None:
    generator = torch.Generator().manual_seed(1)
    label = torch.arange(60) % 2
    first, second = torch.randn(2, 60, generator=generator) + label
    once = delong_test(first, second, label)
    tenfold = [column.repeat(10) for column in (first, second, label)]
    assert delong_test(*tenfold)[1] == pytest.approx(once[1] / math.sqrt(10), rel=0.02)
    grouped = delong_test(*tenfold, torch.arange(60).repeat(10))
    assert grouped[:2] == pytest.approx(once[:2], rel=1e-9)


def test_the_same_order_is_no_difference() -> None:
    pred = torch.tensor([0.1, 0.3, 0.2, 0.9, 0.5])
    label = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0])
    assert delong_test(pred, pred.exp(), label) == (0.0, 0.0, 1.0)


def test_unlabelled_rows_are_left_out() -> None:
    generator = torch.Generator().manual_seed(2)
    label = (torch.arange(60) % 2).double()
    first, second = torch.randn(2, 60, generator=generator) + label
    group = torch.randint(9, (60,), generator=generator)
    known = torch.rand(60, generator=generator) < 0.7
    label[~known] = math.nan
    less = (first[known], second[known], label[known])
    assert delong_test(first, second, label) == delong_test(*less)
    assert delong_test(first, second, label, group) == delong_test(*less, group[known])
    assert delong_test(*less, group[known])[1] != delong_test(*less, group[: int(known.sum())])[1]


def test_too_few_of_a_class() -> None:
    first, second = torch.tensor([[0.9, 0.3, 0.2], [0.1, 0.3, 0.2]])
    with pytest.warns(UserWarning, match="fewer than two rows or groups hold one"):
        difference, error, p = delong_test(first, second, torch.tensor([1, 0, 0]))
    assert difference == 1.0 and math.isnan(error) and math.isnan(p)
    with pytest.warns(UserWarning, match="AUC is NaN: all 3 labels are 1"):
        assert all(map(math.isnan, delong_test(first, second, torch.ones(3))))


def test_a_group_for_every_row() -> None:
    with pytest.raises(
        InputError, match=r"'group' needs one entry per row .*got \(2,\) for \(3,\)"
    ):
        delong_test(torch.rand(3), torch.rand(3), torch.ones(3), torch.tensor([1, 2]))
    with pytest.raises(InputError, match="same length"):
        delong_test(torch.rand(3), torch.rand(2), torch.ones(3))
