"""Anything that scores to numbers."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.metrics.area_under_curve import auc as auc
    from pyg_mtrec.metrics.bootstrap import bootstrap_interval as bootstrap_interval
    from pyg_mtrec.metrics.calibration import calibration_error as calibration_error
    from pyg_mtrec.metrics.delong import delong_test as delong_test
    from pyg_mtrec.metrics.dot_product_scorer import DotProductScorer as DotProductScorer
    from pyg_mtrec.metrics.gini import normalized_gini as normalized_gini
    from pyg_mtrec.metrics.hierarchical_bootstrap import (
        hierarchical_bootstrap_interval as hierarchical_bootstrap_interval,
    )
    from pyg_mtrec.metrics.holm_correction import holm as holm
    from pyg_mtrec.metrics.logistic_loss import log_loss as log_loss
    from pyg_mtrec.metrics.mean_absolute_error import mae as mae
    from pyg_mtrec.metrics.normalized_mae import nmae as nmae
    from pyg_mtrec.metrics.normalized_rmse import nrmse as nrmse
    from pyg_mtrec.metrics.paired_comparison import PairedComparison as PairedComparison
    from pyg_mtrec.metrics.prediction_evaluator import PredictionEvaluator as PredictionEvaluator
    from pyg_mtrec.metrics.prediction_result import PredictionResult as PredictionResult
    from pyg_mtrec.metrics.rank_correlation import spearman as spearman
    from pyg_mtrec.metrics.ranking_evaluator import RankingEvaluator as RankingEvaluator
    from pyg_mtrec.metrics.ranking_result import RankingResult as RankingResult
    from pyg_mtrec.metrics.reliability import reliability_curve as reliability_curve
    from pyg_mtrec.metrics.root_mean_squared_error import rmse as rmse
    from pyg_mtrec.metrics.scorer import Scorer as Scorer
    from pyg_mtrec.metrics.sign_flip import sign_flip_test as sign_flip_test
    from pyg_mtrec.metrics.wins_ties_losses import win_tie_loss as win_tie_loss

_NAMES = {
    "DotProductScorer": "dot_product_scorer",
    "PairedComparison": "paired_comparison",
    "PredictionEvaluator": "prediction_evaluator",
    "PredictionResult": "prediction_result",
    "RankingEvaluator": "ranking_evaluator",
    "RankingResult": "ranking_result",
    "Scorer": "scorer",
    "auc": "area_under_curve",
    "bootstrap_interval": "bootstrap",
    "calibration_error": "calibration",
    "delong_test": "delong",
    "hierarchical_bootstrap_interval": "hierarchical_bootstrap",
    "holm": "holm_correction",
    "log_loss": "logistic_loss",
    "mae": "mean_absolute_error",
    "nmae": "normalized_mae",
    "normalized_gini": "gini",
    "nrmse": "normalized_rmse",
    "reliability_curve": "reliability",
    "rmse": "root_mean_squared_error",
    "sign_flip_test": "sign_flip",
    "spearman": "rank_correlation",
    "win_tie_loss": "wins_ties_losses",
}
__all__ = [
    "DotProductScorer",
    "PairedComparison",
    "PredictionEvaluator",
    "PredictionResult",
    "RankingEvaluator",
    "RankingResult",
    "Scorer",
    "auc",
    "bootstrap_interval",
    "calibration_error",
    "delong_test",
    "hierarchical_bootstrap_interval",
    "holm",
    "log_loss",
    "mae",
    "nmae",
    "normalized_gini",
    "nrmse",
    "reliability_curve",
    "rmse",
    "sign_flip_test",
    "spearman",
    "win_tie_loss",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
