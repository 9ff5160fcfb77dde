import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import sign_flip, sign_flip_test
from pyg_mtrec.metrics.sign_flip import Alternative

ALTERNATIVES: list[Alternative] = ["two-sided", "greater", "less"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def enumerated(values: list[int], alternative: Alternative) -> float:
    """The share of all sign vectors, zeros flipped too, that are as extreme; whole numbers."""
    observed, hits = sum(values), 0
    for signs in itertools.product([1, -1], repeat=len(values)):
        total = sum(s * v for s, v in zip(signs, values, strict=True))
        hits += {
            "two-sided": abs(total) >= abs(observed),
            "greater": total >= observed,
            "less": total <= observed,
        }[alternative]
    return float(Fraction(hits, 2 ** len(values)))


@given(
    values=st.lists(st.integers(-20, 20), min_size=1, max_size=8),
    alternative=st.sampled_from(ALTERNATIVES),
    scale=st.sampled_from([1e-10, 0.1, 1.0, 1e10, 1e300, 1e-310]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=50)
def test_against_enumeration(
    values: list[int], alternative: Alternative, scale: float, dtype: torch.dtype
) -> None:
    # At a scale of 0.1 sums that are equal on paper differ by rounding; they count as equal.
    if dtype == torch.float32 and not 1e-30 < scale < 1e30:
        scale = 1.0
    differences = (torch.tensor(values, dtype=torch.double) * scale).to(dtype)
    p = sign_flip_test(differences, generator(), alternative=alternative)
    assert p == enumerated(values, alternative)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("size", [2, 5, 10, 13])
def test_against_scipy(size: int, alternative: Alternative) -> None:
    values = np.random.default_rng(size).normal(0.3, 1.0, size)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=2**size, alternative=alternative
    )
    p = sign_flip_test(torch.from_numpy(values), generator(), alternative=alternative)
    assert p == pytest.approx(expected.pvalue, rel=1e-12)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_draws_estimate_the_exact_value(alternative: Alternative) -> None:
    values = torch.from_numpy(np.random.default_rng(1).normal(0.0, 1.0, 16))
    exact = sign_flip_test(values, generator(), 2**16, alternative)
    drawn = sign_flip_test(values, generator(1), 2**16 - 1, alternative)
    assert exact * 2**16 == int(exact * 2**16)
    assert 0.01 < exact < 0.99
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 2**16))
    assert drawn != exact


@pytest.mark.parametrize("size", [17, 5000, 9001])
def test_many_users_are_nearly_normal(size: int) -> None:
    # 17 is one more than fills two bytes; 5,000 and 9,001 take several blocks of users.
    values = torch.randn(size, generator=generator(size), dtype=torch.double)
    values += 1.5 / math.sqrt(size) - values.mean()
    z = float(values.sum() / values.norm())
    p = sign_flip_test(values, generator())
    assert p == pytest.approx(math.erfc(z / math.sqrt(2)), abs=0.015)


def test_random_sums_are_sums_under_signs() -> None:
    # Powers of two make every sum tell its signs.
    values = 2.0 ** torch.arange(20, dtype=torch.double)
    sums = sign_flip._random_sums(values, 4000, generator())
    kept = ((sums + values.sum()) / 2).long()  # the users that kept their sign, bit by bit
    bits = (kept.view(-1, 1) >> torch.arange(20) & 1).double()
    assert torch.equal((2 * bits - 1) @ values, sums)
    assert (kept & 255).unique().numel() == 256  # some draw flips none of eight, some all
    assert (bits.mean(dim=0) - 0.5).abs().max() < 4 * 0.5 / math.sqrt(4000)
    assert (bits.T.corrcoef() - torch.eye(20)).abs().max() < 5 / math.sqrt(4000)


def test_p_is_never_zero() -> None:
    values = torch.ones(100)
    assert sign_flip_test(values, generator(), 999) == 1 / 1000
    assert sign_flip_test(values, generator(), 999, "greater") == 1 / 1000
    assert sign_flip_test(values, generator(), 999, "less") == 1.0


def test_no_difference_at_all() -> None:
    for alternative in ALTERNATIVES:
        for size in (1, 5, 5000):
            assert sign_flip_test(torch.zeros(size), generator(), 99, alternative) == 1.0


def test_one_user() -> None:
    one = torch.tensor([0.3])
    assert sign_flip_test(one, generator()) == 1.0
    assert sign_flip_test(one, generator(), alternative="greater") == 0.5
    assert sign_flip_test(one, generator(), alternative="less") == 1.0
    assert sign_flip_test(one, generator(), num_draws=1) in (0.5, 1.0)


def test_users_without_a_difference_change_nothing() -> None:
    values = torch.randn(100, generator=generator(1)) + 0.1
    padded = torch.zeros(400)
    padded[torch.randperm(400, generator=generator(2))[:100].sort().values] = values
    assert sign_flip_test(padded, generator()) == sign_flip_test(values, generator())


def test_null_sets_give_uniform_p_values() -> None:
    draw = generator(3)
    p_values = []
    for _ in range(200):
        # Mostly ties, and skewed before the sign: what differences of recall look like.
        size = torch.rand(60, generator=draw).pow(3) * (torch.rand(60, generator=draw) < 0.6)
        sign = torch.randint(2, (60,), generator=draw) * 2 - 1
        p_values.append(sign_flip_test(size * sign, draw, 499))
    assert stats.kstest(p_values, "uniform").pvalue > 0.05
    assert 0.02 <= np.mean(np.array(p_values) <= 0.05) <= 0.09


def test_a_shift_is_found() -> None:
    draw = generator(4)
    found = [
        sign_flip_test(torch.randn(400, generator=draw) + 0.2, draw, 499, "greater")
        for _ in range(50)
    ]
    # The mean lies four standard deviations from zero, 5 % are at 1.64 of them: power 0.99.
    assert sum(p <= 0.05 for p in found) >= 48
    values = torch.randn(400, generator=draw) + 0.4
    assert sign_flip_test(values, draw, 499, "less") > 0.99
    assert sign_flip_test(-values, draw, 499, "less") <= 0.01


@pytest.mark.parametrize("drawn", [1, 1000, 2**30])
def test_chunks_do_not_change_the_result(drawn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(5000, generator=generator(5)).double()
    expected = sign_flip._random_sums(values, 300, generator())
    p = sign_flip_test(values, generator(), 300)
    monkeypatch.setattr(sign_flip, "_MAX_DRAWN", drawn)
    assert torch.equal(sign_flip._random_sums(values, 300, generator()), expected)
    assert sign_flip_test(values, generator(), 300) == p


def test_generator_decides() -> None:
    values = torch.randn(100, generator=generator(6))
    assert sign_flip_test(values, generator(1)) == sign_flip_test(values, generator(1))
    assert sign_flip_test(values, generator(1)) != sign_flip_test(values, generator(2))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.tensor([]), r"shape \[0\]"),
        (torch.tensor([1.0, math.nan]), "1 NaN or infinite.; leave out users"),
        (torch.tensor([1.0, math.inf, -math.inf]), "2 NaN or infinite"),
        (torch.ones(2, 3), r"shape \[2, 3\]"),
        (torch.tensor(1.0), r"shape \[\]"),
    ],
)
def test_bad_differences(values: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sign_flip_test(values, generator())


def test_bad_settings() -> None:
    with pytest.raises(InputError, match=r"'num_draws' needs to be positive .* \(got 0\)"):
        sign_flip_test(torch.ones(3), generator(), 0)
    with pytest.raises(InputError, match=r"one of 'two-sided', 'greater', 'less' .*'more'"):
        sign_flip_test(torch.ones(3), generator(), alternative="more")  # type: ignore[arg-type]


def test_whole_numbers_will_do() -> None:
    assert sign_flip_test(torch.tensor([1, 2, 0, 3]), generator()) == 0.25
