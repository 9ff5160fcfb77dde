"""Metrics of one target from its labelled rows (float64), NaN without a word where undefined."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._midranks import constant, midranks

CLIP = 1e-7  # near 1 - 2**-24, where a float32 sigmoid becomes 1
NORMALIZERS = {
    "std": "standard deviation of the labels evaluated (divided by n)",
    "mean": "absolute mean of the labels evaluated",
    "range": "largest minus smallest label evaluated",
}
DEFINITIONS = {
    "auc": "share of pairs of a positive and a negative row in which the positive one has the "
    "higher prediction; ties count one half",
    "log_loss": "mean of -log of the probability given to the label; probabilities within "
    f"[{CLIP:g}, 1 - {CLIP:g}]",
    "calibration_error": "mean of |mean prediction - mean label| over bins of equal count, by "
    "prediction, weighted by their rows; ties stay together",
    "rmse": "root of the mean squared error, in the target's own unit",
    "mae": "mean absolute error, in the target's own unit",
    **{f"nrmse_{name}": f"rmse / {text}" for name, text in NORMALIZERS.items()},
    **{f"nmae_{name}": f"mae / {text}" for name, text in NORMALIZERS.items()},
    "spearman": "correlation of midranks of prediction and label; 0 for a constant prediction",
    "gini": "covariance of the label with the midrank of the prediction / with its own midrank: "
    "1 perfect, 0 constant, -1 reversed order",
    "r2": "1 - sum of squared errors / sum of squared deviations from the labels' mean",
}


def log_losses(pred: Tensor, label: Tensor) -> Tensor:
    """Returns the loss of every row."""
    pred = pred.clamp(CLIP, 1 - CLIP)
    return -(label * pred.log() + (1 - label) * (-pred).log1p())


def auc(pred: Tensor, label: Tensor) -> float:
    """NaN where a class is missing."""
    positive = label == 1
    num_positive = int(positive.sum())
    num_negative = label.numel() - num_positive
    if num_positive == 0 or num_negative == 0:
        return math.nan
    below = float(midranks(pred)[positive].sum()) - num_positive * (num_positive + 1) / 2
    return below / (num_positive * num_negative)


def spearman(pred: Tensor, label: Tensor) -> float:
    """NaN where all labels are equal."""
    if constant(label):
        return math.nan
    if constant(pred):
        return 0.0
    center = (label.numel() + 1) / 2
    x, y = midranks(pred) - center, midranks(label) - center
    rho = float((x @ y) / ((x @ x) * (y @ y)).sqrt())
    return max(-1.0, min(1.0, rho))


def gini(pred: Tensor, label: Tensor) -> float:
    """NaN where all labels are equal."""
    if constant(label):
        return math.nan
    center = (label.numel() + 1) / 2
    deviation = label - label.mean()  # the ranks' sum is zero: only rounding changes
    own = float(deviation @ (midranks(label) - center))
    return float(deviation @ (midranks(pred) - center)) / own


def r2(pred: Tensor, label: Tensor) -> float:
    """NaN where all labels are equal."""
    if constant(label):
        return math.nan
    return 1.0 - float((pred - label).square().sum() / (label - label.mean()).square().sum())


def normalized(error: float, label: Tensor, normalizer: str) -> float:
    """Returns an error over a statistic of the labels; NaN where that is zero."""
    if normalizer not in NORMALIZERS:
        raise InputError(
            f"'normalizer' needs to be one of {', '.join(map(repr, NORMALIZERS))} "
            f"(got {normalizer!r})"
        )
    if normalizer == "mean":
        scale = abs(float(label.mean()))
    elif constant(label):
        scale = 0.0
    elif normalizer == "std":
        scale = float(label.std(correction=0))
    else:
        scale = float(label.max() - label.min())
    return error / scale if scale > 0 else math.nan


def bin_means(pred: Tensor, label: Tensor, num_bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean prediction, mean label and count of bins of equal count, without empty ones.

    A row's bin follows from its midrank: equal predictions are never torn apart, so that nothing
    depends on the order of rows, and without ties the counts differ by one at most.
    """
    if num_bins < 1:
        raise InputError(f"'num_bins' needs to be positive (got {num_bins})")
    size = pred.numel()
    place = (2 * midranks(pred) - 1).long() * num_bins // (2 * size)  # [n], whole numbers
    count = torch.bincount(place, minlength=num_bins)
    means = [
        (torch.bincount(place, x, minlength=num_bins) / count)[count > 0] for x in (pred, label)
    ]
    return means[0], means[1], count[count > 0]


def calibration_error(pred: Tensor, label: Tensor, num_bins: int) -> float:
    """Returns the gap between the bins' means."""
    predicted, observed, count = bin_means(pred, label, num_bins)
    return float((predicted - observed).abs() @ count.double()) / pred.numel()


def binary_metrics(pred: Tensor, label: Tensor, num_bins: int) -> dict[str, float]:
    """Returns the metrics of a binary target."""
    return {
        "auc": auc(pred, label),
        "log_loss": float(log_losses(pred, label).mean()),
        "calibration_error": calibration_error(pred, label, num_bins),
    }


def continuous_metrics(
    pred: Tensor, label: Tensor, num_bins: int, normalized_errors: Sequence[str]
) -> dict[str, float]:
    """Returns the metrics of a continuous target."""
    # torchmetrics takes a second to import, and is right here, in float64
    from torchmetrics.functional.regression import mean_absolute_error, mean_squared_error

    errors = {
        "rmse": float(mean_squared_error(pred, label, squared=False)),
        "mae": float(mean_absolute_error(pred, label)),
    }
    relative = {}
    for name in normalized_errors:
        error, _, normalizer = name.partition("_")
        relative[name] = normalized(errors[error.removeprefix("n")], label, normalizer)
    return {
        **errors,
        **relative,
        "spearman": spearman(pred, label),
        "gini": gini(pred, label),
        "r2": r2(pred, label),
        "calibration_error": calibration_error(pred, label, num_bins),
    }
