from dataclasses import dataclass

from torch import Tensor


@dataclass
class PredictionResult:
    r"""What predictions of several targets gave: metrics, and every row's loss.

    Args:
        metrics: Target and metric, such as ``"click/auc"`` or ``"watch_time/nrmse_std"``, to its
            value over the target's labelled rows; what each is says
            ``PredictionEvaluator.definitions``.
        num_labelled: Target to how many of its rows are labelled.
        per_row: Losses that are means over rows, ``"click/log_loss"``,
            ``"watch_time/squared_error"`` and ``"watch_time/absolute_error"``, float64 of shape
            :math:`[n]`, NaN where unlabelled. Differences of two models' are what paired tests
            take.
    """

    metrics: dict[str, float]
    num_labelled: dict[str, int]
    per_row: dict[str, Tensor]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items())
        return f"{self.__class__.__name__}(num_labelled={self.num_labelled}, {values})"
