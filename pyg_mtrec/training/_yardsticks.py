"""The baselines of a run, tuned on validation where they have something to tune."""

from typing import Any

from pyg_mtrec.baselines import EASE
from pyg_mtrec.metrics import RankingEvaluator, Scorer
from pyg_mtrec.training._data import SplitData
from pyg_mtrec.training._named import named_class
from pyg_mtrec.training._tuned import EASE_L2, is_embedded_default
from pyg_mtrec.training.settings import Settings


def yardstick(
    name: str, settings: Settings, data: SplitData, sample: RankingEvaluator
) -> tuple[Scorer, dict[str, Any]]:
    r"""Returns a baseline, fitted on the edges that messages travel at test time, and its settings.

    Args:
        name: ``"popularity"``, ``"item-knn"`` or ``"ease"``.
        settings: The run's settings.
        data: The split.
        sample: The validation sample, on which the best of several ridges is chosen.
    """
    if name != "ease":
        return named_class("baselines", name)(data.test), {}
    ridges = EASE_L2 if is_embedded_default(settings) else settings.ease_l2
    best = ridges[0]
    if len(ridges) > 1:
        values = {
            l2: sample(EASE(data.train, l2=l2)).metrics[settings.select_metric] for l2 in ridges
        }
        best = max(ridges, key=lambda l2: values[l2])
    return EASE(data.test, l2=best), {"l2": best, "chosen_from": list(ridges)}
