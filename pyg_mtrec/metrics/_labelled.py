"""What every metric of predictions does first and last."""

import warnings

from torch import Tensor

from pyg_mtrec._errors import InputError


def labelled(
    pred: Tensor, label: Tensor, where: str, binary: bool = False
) -> tuple[Tensor, Tensor]:
    """Returns predictions and labels of the labelled rows, float64 on the CPU.

    Args:
        pred: Predictions ``[n]``.
        label: Labels ``[n]``, NaN where unlabelled.
        where: The metric.
        binary: Whether labels are 0 and 1.

    Raises:
        InputError: If the lengths differ, no row is labelled, a labelled row's prediction is not
            finite, or a label is infinite or none of the two classes.
    """
    if pred.dim() != 1 or pred.shape != label.shape:
        raise InputError(
            f"'pred' and 'label' need the same length and one dimension in '{where}' "
            f"(got {tuple(pred.shape)} and {tuple(label.shape)})"
        )
    pred, label = pred.detach().cpu().double(), label.detach().cpu().double()
    known = ~label.isnan()
    pred, label = pred[known], label[known]
    if label.numel() == 0:
        raise InputError(
            f"'label' needs at least one number in '{where}' (got {known.numel()} rows without one)"
        )
    if not bool(pred.isfinite().all()):
        raise InputError(
            f"'pred' needs to be finite in '{where}' (got {int((~pred.isfinite()).sum())} "
            f"values of {pred.numel()} that are not)"
        )
    bad = (label != 0) & (label != 1) if binary else label.isinf()
    if bool(bad.any()):
        raise InputError(
            f"'label' needs to hold {'0, 1' if binary else 'finite numbers'} and NaN only in "
            f"'{where}' (got {label[bad][0]:g})"
        )
    return pred, label


def check_probabilities(pred: Tensor, what: str) -> None:
    """Refuses what no probability can be, logits for example."""
    if not bool(((pred >= 0) & (pred <= 1)).all()):
        raise InputError(
            f"{what} needs probabilities between 0 and 1 (got {float(pred.min()):g} to "
            f"{float(pred.max()):g}): apply a sigmoid to logits"
        )


def warn(message: str) -> None:
    """Warns where the public function was called."""
    warnings.warn(message, UserWarning, stacklevel=3)
