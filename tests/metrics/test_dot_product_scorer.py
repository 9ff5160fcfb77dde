import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import EASE, ItemKNN, Popularity
from pyg_mtrec.metrics import DotProductScorer, Scorer


def test_equals_the_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    user_x = torch.randn(5, 3, generator=generator, dtype=torch.double, requires_grad=True)
    item_x = torch.randn(4, 3, generator=generator, dtype=torch.double)
    scores = DotProductScorer(user_x, item_x).score(torch.tensor([4, 0, 4]))
    assert not scores.requires_grad
    for row, user in enumerate([4, 0, 4]):
        for item in range(4):
            expected = sum(float(user_x[user, c].detach() * item_x[item, c]) for c in range(3))
            assert float(scores[row, item]) == pytest.approx(expected, rel=1e-12)


def test_is_a_scorer() -> None:
    scorer = DotProductScorer(torch.ones(2, 1), torch.ones(3, 1))
    assert isinstance(scorer, Scorer) and scorer.num_items == 3
    assert repr(scorer) == "DotProductScorer(num_users=2, num_items=3, dim=1)"
    for name in (EASE, ItemKNN, Popularity):
        assert hasattr(name, "score") and hasattr(name, "num_items")


@pytest.mark.parametrize("shape", [(3, 2), (3,)])
def test_unequal_width_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="equal width"):
        DotProductScorer(torch.ones(2, 1), torch.ones(shape))
