import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import _resampling, bootstrap_interval, hierarchical_bootstrap_interval

NAN = math.nan


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def holes(values: Tensor, share: float, seed: int) -> Tensor:
    """The same with users that were not evaluated; every seed keeps its first user."""
    missing = torch.rand(values.shape, generator=generator(seed)) < share
    missing[:, 0] = False
    return values.masked_fill(missing, NAN)


def test_seeds_alone_by_enumeration() -> None:
    # Means of two seeds out of (0, 1) are 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    values = torch.tensor([[0.0, 0.0, NAN], [1.0, 1.0, 1.0]])
    assert hierarchical_bootstrap_interval(values, generator(), 4000, 0.95) == (0.0, 1.0)
    assert hierarchical_bootstrap_interval(values, generator(), 4000, 0.4) == (0.5, 0.5)


def test_users_alone_by_enumeration() -> None:
    # Both seeds resample (0, 1) on their own: the mean is k / 4 with k of Binomial(4, 1/2), so
    # 1/16 lies at zero and 5/16 at no more than 1/4.
    values = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    assert hierarchical_bootstrap_interval(values, generator(), 4000, 0.95) == (0.0, 1.0)
    assert hierarchical_bootstrap_interval(values, generator(), 4000, 0.5) == (0.25, 0.75)


def test_against_a_loop_in_numpy() -> None:
    values = torch.rand(4, 12, generator=generator(1), dtype=torch.double).pow(3)
    values = holes(values + torch.tensor([[0.0], [0.1], [0.3], [0.35]]), 0.3, 2)
    rows = [row[~np.isnan(row)] for row in values.numpy()]
    rng = np.random.default_rng(0)
    means = []
    for _ in range(20_000):
        drawn = [rows[s] for s in rng.integers(0, 4, 4)]
        means.append(np.mean([rng.choice(row, row.size).mean() for row in drawn]))
    expected = np.quantile(means, [0.05, 0.95])
    low, high = hierarchical_bootstrap_interval(values, generator(), 20_000, 0.9)
    assert (low, high) == pytest.approx(expected, abs=0.02 * (expected[1] - expected[0]))


def test_width_is_that_of_both_variances() -> None:
    values = torch.rand(60, 50, generator=generator(3), dtype=torch.double)
    values += 0.1 * torch.randn(60, 1, generator=generator(4), dtype=torch.double)
    means, within = values.mean(dim=1), values.var(dim=1, correction=0) / 50
    deviation = math.sqrt((means.var(correction=0) + within.mean()) / 60)
    low, high = hierarchical_bootstrap_interval(values, generator(), 4000, 0.9)
    assert low == pytest.approx(float(means.mean()) - 1.645 * deviation, abs=0.1 * deviation)
    assert high == pytest.approx(float(means.mean()) + 1.645 * deviation, abs=0.1 * deviation)


def test_a_mean_that_moves_with_the_seed_needs_the_seeds() -> None:
    draw = generator(5)
    inside = np.zeros(2)
    for _ in range(100):
        seeds = 0.1 * torch.randn(10, 1, generator=draw)
        values = seeds + 0.3 * torch.randn(10, 40, generator=draw)
        low, high = hierarchical_bootstrap_interval(values, draw, 200, 0.9)
        users_low, users_high = bootstrap_interval(values.mean(dim=0), draw, 200, 0.9)
        inside += [low <= 0 <= high, users_low <= 0 <= users_high]
    assert 82 <= inside[0] <= 97
    assert inside[1] <= 70


def test_one_seed_is_the_bootstrap_over_its_users() -> None:
    values = torch.rand(200, generator=generator(6), dtype=torch.double)
    expected = bootstrap_interval(values, generator(7), 5000)
    got = hierarchical_bootstrap_interval(values.view(1, -1), generator(8), 5000)
    assert got == pytest.approx(expected, abs=0.05 * (expected[1] - expected[0]))


def test_one_value() -> None:
    assert hierarchical_bootstrap_interval(torch.tensor([[0.25]]), generator()) == (0.25, 0.25)


def test_where_the_holes_are_does_not_matter() -> None:
    values = torch.rand(3, 20, generator=generator(9))
    apart = torch.full((3, 60), NAN)
    for seed in range(3):
        apart[seed, 20 * seed : 20 * (seed + 1)] = values[seed]
    together = hierarchical_bootstrap_interval(values, generator())
    assert hierarchical_bootstrap_interval(apart, generator()) == together


def test_scale_goes_through() -> None:
    values = torch.rand(3, 30, generator=generator(10), dtype=torch.double)
    low, high = hierarchical_bootstrap_interval(values, generator())
    for scale in (1e-10, 1e10):
        got = hierarchical_bootstrap_interval(values * scale, generator())
        assert got == pytest.approx((low * scale, high * scale), rel=1e-12)


@pytest.mark.parametrize("drawn", [1, 500, 2**30])
def test_chunks_do_not_change_the_result(drawn: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = holes(torch.rand(4, 50, generator=generator(11)), 0.2, 12)
    expected = hierarchical_bootstrap_interval(values, generator(), 200)
    flat = bootstrap_interval(values[:, 0], generator(), 200)
    monkeypatch.setattr(_resampling, "_MAX_DRAWN", drawn)
    assert hierarchical_bootstrap_interval(values, generator(), 200) == expected
    assert bootstrap_interval(values[:, 0], generator(), 200) == flat


def test_generator_decides() -> None:
    values = torch.rand(3, 30, generator=generator(13))
    one = hierarchical_bootstrap_interval(values, generator(1))
    assert hierarchical_bootstrap_interval(values, generator(1)) == one
    assert hierarchical_bootstrap_interval(values, generator(2)) != one


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(3), r"a row per seed .* shape \[3\]"),
        (torch.ones(0, 3), r"shape \[0, 3\]"),
        (torch.ones(2, 0), "none in row 0"),
        (torch.tensor([[1.0, NAN], [NAN, NAN]]), "none in row 1.; leave that seed out"),
        (torch.tensor([[1.0, math.inf]]), "got 1 infinite"),
    ],
)
def test_bad_values(values: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        hierarchical_bootstrap_interval(values, generator())


@pytest.mark.parametrize(("num_draws", "level"), [(0, 0.9), (10, 1.0), (10, 0.0), (10, NAN)])
def test_bad_settings(num_draws: int, level: float) -> None:
    with pytest.raises(InputError, match="'hierarchical_bootstrap_interval'"):
        hierarchical_bootstrap_interval(torch.ones(2, 2), generator(), num_draws, level)
