"""Anything that scores to numbers."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.metrics.bootstrap import bootstrap_interval as bootstrap_interval
    from pyg_mtrec.metrics.dot_product_scorer import DotProductScorer as DotProductScorer
    from pyg_mtrec.metrics.hierarchical_bootstrap import (
        hierarchical_bootstrap_interval as hierarchical_bootstrap_interval,
    )
    from pyg_mtrec.metrics.holm_correction import holm as holm
    from pyg_mtrec.metrics.paired_comparison import PairedComparison as PairedComparison
    from pyg_mtrec.metrics.ranking_evaluator import RankingEvaluator as RankingEvaluator
    from pyg_mtrec.metrics.ranking_result import RankingResult as RankingResult
    from pyg_mtrec.metrics.scorer import Scorer as Scorer
    from pyg_mtrec.metrics.sign_flip import sign_flip_test as sign_flip_test
    from pyg_mtrec.metrics.wins_ties_losses import win_tie_loss as win_tie_loss

_NAMES = {
    "DotProductScorer": "dot_product_scorer",
    "PairedComparison": "paired_comparison",
    "RankingEvaluator": "ranking_evaluator",
    "RankingResult": "ranking_result",
    "Scorer": "scorer",
    "bootstrap_interval": "bootstrap",
    "hierarchical_bootstrap_interval": "hierarchical_bootstrap",
    "holm": "holm_correction",
    "sign_flip_test": "sign_flip",
    "win_tie_loss": "wins_ties_losses",
}
__all__ = [
    "DotProductScorer",
    "PairedComparison",
    "RankingEvaluator",
    "RankingResult",
    "Scorer",
    "bootstrap_interval",
    "hierarchical_bootstrap_interval",
    "holm",
    "sign_flip_test",
    "win_tie_loss",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
