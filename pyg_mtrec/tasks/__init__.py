"""A batch and representations to one loss."""

from typing import TYPE_CHECKING

from pyg_mtrec._lazy import lazy

if TYPE_CHECKING:
    from pyg_mtrec.tasks.alignment import Alignment as Alignment
    from pyg_mtrec.tasks.alignment_uniformity import AlignmentUniformity as AlignmentUniformity
    from pyg_mtrec.tasks.bpr import BPR as BPR
    from pyg_mtrec.tasks.classification import Classification as Classification
    from pyg_mtrec.tasks.hyperedge_prediction import HyperedgePrediction as HyperedgePrediction
    from pyg_mtrec.tasks.link_prediction import LinkPrediction as LinkPrediction
    from pyg_mtrec.tasks.prediction_task import PredictionTask as PredictionTask
    from pyg_mtrec.tasks.rating_regression import RatingRegression as RatingRegression
    from pyg_mtrec.tasks.regression import Regression as Regression
    from pyg_mtrec.tasks.same_category import SameCategory as SameCategory
    from pyg_mtrec.tasks.sampled_softmax import SampledSoftmax as SampledSoftmax
    from pyg_mtrec.tasks.task import Task as Task

_NAMES = {
    "Alignment": "alignment",
    "AlignmentUniformity": "alignment_uniformity",
    "BPR": "bpr",
    "Classification": "classification",
    "HyperedgePrediction": "hyperedge_prediction",
    "LinkPrediction": "link_prediction",
    "PredictionTask": "prediction_task",
    "RatingRegression": "rating_regression",
    "Regression": "regression",
    "SameCategory": "same_category",
    "SampledSoftmax": "sampled_softmax",
    "Task": "task",
}
__all__ = [
    "Alignment",
    "AlignmentUniformity",
    "BPR",
    "Classification",
    "HyperedgePrediction",
    "LinkPrediction",
    "PredictionTask",
    "RatingRegression",
    "Regression",
    "SameCategory",
    "SampledSoftmax",
    "Task",
]

__getattr__, __dir__ = lazy(__name__, _NAMES)
