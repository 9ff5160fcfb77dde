import pytest

from pyg_mtrec.metrics import PredictionEvaluator, RankingEvaluator
from pyg_mtrec.metrics._direction import is_smaller_better


def test_every_metric_has_its_direction() -> None:
    smaller = {name for name in PredictionEvaluator.definitions if is_smaller_better(name)}
    assert set(PredictionEvaluator.definitions) - smaller == {"auc", "spearman", "gini", "r2"}
    assert not any(is_smaller_better(f"{name}@20") for name in RankingEvaluator.definitions)


@pytest.mark.parametrize("name", ["click/log_loss", "valid/watch_time/nrmse_std", "mae"])
def test_targets_do_not_matter(name: str) -> None:
    assert is_smaller_better(name)
    assert not is_smaller_better("mae/auc")
