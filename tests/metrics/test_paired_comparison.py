import json
import math
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import PairedComparison, hierarchical_bootstrap_interval, sign_flip_test

Seeds = list[tuple[Tensor, Tensor]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seed(values: dict[int, float]) -> tuple[Tensor, Tensor]:
    return torch.tensor(list(values)), torch.tensor(list(values.values()))


def compare(ours: Seeds, theirs: Seeds, **settings: object) -> PairedComparison:
    return PairedComparison.from_seeds(ours, theirs, generator(), **settings)  # type: ignore[arg-type]


def test_worked_by_hand() -> None:
    # User 7 was evaluated under both seeds, 3 under the first only, 9 under the second only.
    ours = [seed({7: 0.5, 3: 0.25}), seed({9: 1.0, 7: 0.0})]
    theirs = [seed({3: 0.75, 7: 0.25}), seed({7: 0.0, 9: 0.5})]
    found = compare(ours, theirs)
    # d: 7 -> (0.25 + 0) / 2, 3 -> -0.5, 9 -> 0.5; theirs: 0.125, 0.75, 0.5
    assert found.mean_difference == pytest.approx(0.125 / 3)
    assert found.relative_difference == pytest.approx(0.125 / 1.375)
    assert (found.wins, found.ties, found.losses) == (2, 0, 1)
    assert (found.num_users, found.num_seeds) == (3, 2)
    # sums of (1, -4, 4) / 8 under all signs: 1, 7 or 9 eighths in size, and 1 is the observed one
    assert found.p_value == 1.0
    # Lowest when the first seed is drawn twice: (0.25, -0.5) four times gives -0.5 in 1 / 64 of all
    # resamples, which is less than 2.5 %, and -0.3125 in 4 / 64. The second seed's likewise.
    assert found.interval == (-0.3125, 0.375)


def random_seeds(lift: float, num_seeds: int = 4, num_users: int = 40) -> tuple[Seeds, Seeds]:
    rng = np.random.default_rng(0)
    ours, theirs = [], []
    for _ in range(num_seeds):
        users = rng.permutation(10 * num_users)[:num_users] * 3
        base = rng.beta(1, 4, num_users)
        mine = base + rng.normal(lift, 0.05, num_users)
        order = rng.permutation(num_users)
        ours.append((torch.from_numpy(users), torch.from_numpy(mine)))
        theirs.append((torch.from_numpy(users[order]), torch.from_numpy(base[order])))
    return ours, theirs


def test_against_a_loop_over_users() -> None:
    ours, theirs = random_seeds(0.01)
    collected: dict[int, list[tuple[float, float]]] = {}
    for (users, mine), (others, other) in zip(ours, theirs, strict=True):
        base = dict(zip(others.tolist(), other.tolist(), strict=True))
        for user, value in zip(users.tolist(), mine.tolist(), strict=True):
            collected.setdefault(user, []).append((value, base[user]))
    assert {len(pairs) for pairs in collected.values()} >= {1, 2}
    differences = np.array([np.mean([a - b for a, b in collected[u]]) for u in sorted(collected)])
    level = np.mean([np.mean([b for _, b in pairs]) for pairs in collected.values()])

    found = compare(ours, theirs, alternative="greater")
    assert found.mean_difference == pytest.approx(differences.mean())
    assert found.relative_difference == pytest.approx(differences.mean() / level)
    counts = (int((differences > 0).sum()), 0, int((differences < 0).sum()))
    assert (found.wins, found.ties, found.losses) == counts
    assert (found.num_users, found.num_seeds) == (len(collected), 4)
    draw = generator()
    p = sign_flip_test(torch.from_numpy(differences), draw, alternative="greater")
    assert found.p_value == p
    matrix = torch.full((4, len(collected)), math.nan, dtype=torch.double)
    for row, (users, mine) in enumerate(ours):
        base = dict(zip(theirs[row][0].tolist(), theirs[row][1].tolist(), strict=True))
        for user, value in zip(users.tolist(), mine.tolist(), strict=True):
            matrix[row, sorted(collected).index(user)] = value - base[user]
    assert found.interval == pytest.approx(hierarchical_bootstrap_interval(matrix, draw))


def test_settings_go_through() -> None:
    ours, theirs = random_seeds(0.5)
    assert compare(ours, theirs, num_draws=99).p_value == 1 / 100
    assert compare(ours, theirs, num_draws=99, alternative="less").p_value == 1.0
    wide = compare(ours, theirs, num_resamples=500, level=0.99).interval
    slim = compare(ours, theirs, num_resamples=500, level=0.5).interval
    assert wide[0] < slim[0] < slim[1] < wide[1]
    low, high = compare(ours, theirs, num_resamples=1).interval
    assert low == high


def test_a_shift_is_found_and_noise_is_not() -> None:
    better = compare(*random_seeds(0.02))
    assert better.p_value < 0.001
    assert better.interval[0] > 0
    assert better.mean_difference == pytest.approx(0.02, abs=0.01)
    same = compare(*random_seeds(0.0))
    assert same.p_value > 0.05
    assert same.interval[0] < 0 < same.interval[1]


def test_swapping_the_methods_turns_the_signs() -> None:
    ours, theirs = random_seeds(0.01)
    one, two = compare(ours, theirs), compare(theirs, ours)
    assert two.mean_difference == pytest.approx(-one.mean_difference)
    assert two.p_value == one.p_value
    assert (two.wins, two.losses) == (one.losses, one.wins)


def test_a_method_does_not_differ_from_itself() -> None:
    ours, _ = random_seeds(0.0)
    found = compare(ours, [(users.flip(0), values.flip(0)) for users, values in ours])
    assert (found.mean_difference, found.relative_difference, found.p_value) == (0.0, 0.0, 1.0)
    assert (found.wins, found.ties, found.losses) == (0, found.num_users, 0)
    assert found.interval == (0.0, 0.0)


def test_equal_means_in_float32_tie() -> None:
    # 0.1 + 0.2 and 0.3 + 0 are the same on paper, not in float32.
    ours = [seed({1: 0.1}), seed({1: 0.2})]
    theirs = [seed({1: 0.3}), seed({1: 0.0})]
    found = compare(ours, theirs)
    assert (found.wins, found.ties, found.losses) == (0, 1, 0)
    assert (found.mean_difference, found.p_value) == (0.0, 1.0)


def test_nothing_to_be_relative_to() -> None:
    found = compare([seed({1: 0.5})], [seed({1: 0.0})])
    assert (found.mean_difference, found.relative_difference) == (0.5, None)


def test_it_goes_into_json() -> None:
    found = compare(*random_seeds(0.01))
    read = json.loads(json.dumps(asdict(found), allow_nan=False))
    assert PairedComparison(**{**read, "interval": tuple(read["interval"])}) == found


GOOD = seed({1: 0.5, 2: 0.25})


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ([], [], "at least one, .*got 0 and 0 seeds"),
        ([GOOD], [GOOD, GOOD], "same seeds, .*got 1 and 2 seeds"),
        ([GOOD, GOOD], [GOOD, seed({1: 0.5})], "seed 1 .*1 of ours alone and 0 .* such as user 2"),
        ([GOOD], [seed({1: 0.5, 2: 0.25, 8: 0.0})], "0 of ours alone and 1 .* such as user 8"),
        ([GOOD], [seed({5: 0.5, 6: 0.25})], "share no user under seed 0"),
        ([GOOD], [(GOOD[0], GOOD[1][:1])], r"seed 0 of 'theirs' .*shape \[2\] and .*shape \[1\]"),
        ([(GOOD[0].view(1, 2), GOOD[1].view(1, 2))], [GOOD], "'ours' needs one value per user"),
        ([(GOOD[0][:0], GOOD[1][:0])], [GOOD], "seed 0 of 'ours' holds no user"),
        ([(GOOD[0].float(), GOOD[1])], [GOOD], "whole numbers as ids"),
        ([GOOD], [seed({1: 0.5, 2: math.nan})], "seed 0 of 'theirs' .*nan for user 2"),
        ([seed({1: math.inf, 2: 0.0})], [GOOD], "inf for user 1"),
        ([(torch.tensor([4, 4]), GOOD[1])], [GOOD], "holds user 4 more than once"),
    ],
)
def test_bad_input(ours: Seeds, theirs: Seeds, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(ours, theirs)


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="'alternative' needs to be one of"):
        compare([GOOD], [GOOD], alternative="both")
    with pytest.raises(InputError, match="'num_draws' needs to be positive"):
        compare([GOOD], [GOOD], num_draws=0)
    with pytest.raises(InputError, match="'level' between 0 and 1"):
        compare([GOOD], [GOOD], level=1.0)
