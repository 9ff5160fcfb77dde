import math

import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics import win_tie_loss


def test_counts() -> None:
    values = torch.tensor([1e-30, -0.0, 0.0, 5.0, -1e-30, math.inf])
    assert win_tie_loss(values) == (3, 2, 1)
    assert win_tie_loss(-values) == (1, 2, 3)
    assert win_tie_loss(torch.tensor([3, -1, 0, 0])) == (1, 2, 1)


def test_nobody() -> None:
    assert win_tie_loss(torch.tensor([])) == (0, 0, 0)


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match=r"no NaN in 'win_tie_loss' \(got 2\)"):
        win_tie_loss(torch.tensor([math.nan, 1.0, math.nan]))
