from collections.abc import Callable
from pathlib import Path

import pytest

from pyg_mtrec.baselines import EASE, Popularity
from pyg_mtrec.datasets import AmazonOffice
from pyg_mtrec.metrics import RankingEvaluator
from pyg_mtrec.transforms import SplitInteractions


def test_yardsticks_on_amazon_office(real_root: Callable[..., Path]) -> None:
    # Independent measurements on other random splits: EASE .116 / .070.
    data = AmazonOffice(real_root("amazon_office"))[0]
    train, _, test = SplitInteractions()(data)
    evaluator = RankingEvaluator(test)
    ease, popularity = evaluator(EASE(train)).metrics, evaluator(Popularity(train)).metrics
    assert ease["recall@20"] == pytest.approx(0.116, abs=0.008)
    assert ease["ndcg@20"] == pytest.approx(0.070, abs=0.006)
    assert popularity["recall@20"] < 0.6 * ease["recall@20"]
