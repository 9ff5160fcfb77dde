"""Anything that scores to numbers."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.metrics.bootstrap import bootstrap_interval as bootstrap_interval
    from pyg_mtrec.metrics.dot_product_scorer import DotProductScorer as DotProductScorer
    from pyg_mtrec.metrics.ranking_evaluator import RankingEvaluator as RankingEvaluator
    from pyg_mtrec.metrics.ranking_result import RankingResult as RankingResult
    from pyg_mtrec.metrics.scorer import Scorer as Scorer

_NAMES = {
    "DotProductScorer": "dot_product_scorer",
    "RankingEvaluator": "ranking_evaluator",
    "RankingResult": "ranking_result",
    "Scorer": "scorer",
    "bootstrap_interval": "bootstrap",
}
__all__ = [
    "DotProductScorer",
    "RankingEvaluator",
    "RankingResult",
    "Scorer",
    "bootstrap_interval",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
