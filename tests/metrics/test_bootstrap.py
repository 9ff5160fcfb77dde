import math

import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import bootstrap_interval


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_two_values_by_enumeration() -> None:
    # Resampled means of (0, 1) are 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    values = torch.tensor([0.0, 1.0])
    assert bootstrap_interval(values, generator(), 4000, level=0.95) == (0.0, 1.0)
    assert bootstrap_interval(values, generator(), 4000, level=0.4) == (0.5, 0.5)


def test_width_of_a_large_sample_is_the_normal_one() -> None:
    values = torch.rand(5000, generator=generator(1))
    low, high = bootstrap_interval(values, generator(2), 2000, level=0.9)
    half = 1.6449 * float(values.std()) / math.sqrt(5000)
    assert low == pytest.approx(float(values.mean()) - half, abs=0.1 * half)
    assert high == pytest.approx(float(values.mean()) + half, abs=0.1 * half)


def test_covers_the_true_mean_as_often_as_it_says() -> None:
    draws = torch.rand(300, 60, generator=generator(3))
    inside = 0
    for row in draws:
        low, high = bootstrap_interval(row, generator(4), 200, level=0.8)
        inside += low <= 0.5 <= high
    assert 0.70 < inside / 300 < 0.88


def test_one_value_is_its_own_interval() -> None:
    assert bootstrap_interval(torch.tensor([0.25]), generator()) == (0.25, 0.25)


def test_scale_goes_through() -> None:
    values = torch.rand(100, generator=generator(5), dtype=torch.double)
    low, high = bootstrap_interval(values, generator())
    for scale in (1e-10, 1e10):
        got = bootstrap_interval(values * scale, generator())
        assert got == pytest.approx((low * scale, high * scale), rel=1e-12)


def test_generator_decides() -> None:
    values = torch.rand(50, generator=generator(6))
    assert bootstrap_interval(values, generator(1)) == bootstrap_interval(values, generator(1))
    assert bootstrap_interval(values, generator(1)) != bootstrap_interval(values, generator(2))


@pytest.mark.parametrize(
    ("values", "num_draws", "level"),
    [([], 10, 0.9), ([float("nan")], 10, 0.9), ([1.0], 0, 0.9), ([1.0], 10, 1.0), ([1.0], 10, 0.0)],
)
def test_bad_input(values: list[float], num_draws: int, level: float) -> None:
    with pytest.raises(InputError, match="bootstrap_interval"):
        bootstrap_interval(torch.tensor(values), generator(), num_draws, level)
