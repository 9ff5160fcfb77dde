import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines._target_columns import target_columns
from pyg_mtrec.metrics._labelled import check_probabilities
from pyg_mtrec.metrics._midranks import constant
from pyg_mtrec.metrics._prediction_metrics import (
    DEFINITIONS,
    NORMALIZERS,
    binary_metrics,
    continuous_metrics,
    log_losses,
)
from pyg_mtrec.metrics.prediction_result import PredictionResult

_NORMALIZED = [f"{error}_{name}" for error in ("nrmse", "nmae") for name in NORMALIZERS]


class PredictionEvaluator:
    r"""Holds predictions of several targets, binary and continuous, against their labels.

    A binary target gets AUC, log loss and calibration error; a continuous one RMSE, MAE, both over
    a statistic of the labels evaluated, Spearman's correlation, the normalised Gini index,
    :math:`R^2` and the calibration error. Each target is judged on the rows that are labelled for
    it. ``PredictionEvaluator.definitions`` says what each metric is.

    Predictions are probabilities and the targets' own units, not logits and standardised values.
    Where a metric has no value (AUC with one class, everything relative to labels that are all
    equal) it is NaN, and a warning on construction says so.

    Args:
        label: Labels of shape :math:`[n, K]`, NaN where unlabelled.
        targets: Target to ``"binary"`` or ``"continuous"``, in the order of the columns.
        normalizers: Which normalised errors to give, a subset of ``nrmse_std``, ``nrmse_mean``,
            ``nrmse_range``, ``nmae_std``, ``nmae_mean`` and ``nmae_range``.
        num_bins: Number of bins of the calibration error.

    Raises:
        InputError: If columns and targets do not match, a target has no label, a label is infinite
            or, of a binary target, neither 0 nor 1, or an argument is out of range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import PredictionEvaluator
        >>> label = torch.tensor([[1.0, 30.0], [0.0, 2.0], [1.0, float("nan")], [0.0, 1.0]])
        >>> evaluator = PredictionEvaluator(label, {"click": "binary", "watch_time": "continuous"})
        >>> click, watch_time = torch.tensor([[0.9, 0.2, 0.3, 0.4], [11.0, 11.0, 11.0, 11.0]])
        >>> result = evaluator({"click": click, "watch_time": watch_time})
        >>> result.metrics["click/auc"], result.metrics["watch_time/nrmse_std"]
        (0.75, 1.0)
        >>> result.num_labelled
        {'click': 4, 'watch_time': 3}
    """

    definitions = DEFINITIONS

    def __init__(
        self,
        label: Tensor,
        targets: Mapping[str, str],
        normalizers: Sequence[str] = ("nrmse_std", "nmae_mean"),
        num_bins: int = 15,
    ) -> None:
        self.targets = dict(targets)
        self.normalizers = tuple(dict.fromkeys(normalizers))
        self.num_bins = num_bins
        unknown = [name for name in self.normalizers if name not in _NORMALIZED]
        if unknown:
            raise InputError(
                f"'normalizers' needs names among {', '.join(_NORMALIZED)} (got '{unknown[0]}')"
            )
        if num_bins < 1:
            raise InputError(f"'num_bins' needs to be positive (got {num_bins})")
        self._labels = target_columns(label, targets, type(self).__name__)
        self.num_rows = label.size(0)
        for name, column in self._labels.items():
            known = column[~column.isnan()]
            if constant(known):
                lost = "its AUC is" if targets[name] == "binary" else "metrics against them are"
                warnings.warn(
                    f"all {known.numel()} labels of target '{name}' are {known[0]:g}: {lost} NaN",
                    stacklevel=2,
                )

    def __call__(self, predictions: Mapping[str, Tensor]) -> PredictionResult:
        r"""Evaluates one model.

        Args:
            predictions: Target to its predictions of shape :math:`[n]`; a probability for a binary
                target, the target's own unit for a continuous one. Others are ignored.

        Returns:
            Metrics and losses per row.

        Raises:
            InputError: If a target's predictions are missing, of another length, not finite, or no
                probabilities where the target is binary.
        """
        metrics: dict[str, float] = {}
        num_labelled: dict[str, int] = {}
        per_row: dict[str, Tensor] = {}
        for name, kind in self.targets.items():
            pred, label = self._prediction(name, predictions), self._labels[name]  # [n] each
            known = ~label.isnan()
            num_labelled[name] = int(known.sum())
            if kind == "binary":
                values = binary_metrics(pred[known], label[known], self.num_bins)
                rows = {"log_loss": log_losses(pred, label)}
            else:
                values = continuous_metrics(
                    pred[known], label[known], self.num_bins, self.normalizers
                )
                error = (pred - label).abs()
                rows = {"squared_error": error.square(), "absolute_error": error}
            metrics |= {f"{name}/{metric}": value for metric, value in values.items()}
            per_row |= {f"{name}/{metric}": losses for metric, losses in rows.items()}
        return PredictionResult(metrics, num_labelled, per_row)

    def _prediction(self, name: str, predictions: Mapping[str, Tensor]) -> Tensor:
        if name not in predictions:
            raise InputError(
                f"predictions of target '{name}' are missing (got {', '.join(predictions) or None})"
            )
        pred = predictions[name].detach().cpu().double()
        if pred.shape != (self.num_rows,):
            raise InputError(
                f"predictions of target '{name}' need one value per row, {self.num_rows} "
                f"(got {tuple(pred.shape)})"
            )
        bad = ~pred.isfinite()
        if bool(bad.any()):
            row = int(torch.argmax(bad.byte()))
            raise InputError(
                f"predictions of target '{name}' need to be finite (got {pred[row]:g} in row {row}"
                f" and {int(bad.sum()) - 1} more): training may have diverged"
            )
        if self.targets[name] == "binary":
            check_probabilities(pred, f"target '{name}'")
        return pred

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}(num_rows={self.num_rows}, targets={self.targets})"
