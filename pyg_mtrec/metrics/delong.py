import math

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.metrics._labelled import labelled, warn
from pyg_mtrec.metrics._midranks import midranks


def delong_test(
    first: Tensor, second: Tensor, label: Tensor, group: Tensor | None = None
) -> tuple[float, float, float]:
    r"""`DeLong's test <https://doi.org/10.2307/2531595>`_ of two models' AUC on the same rows.

    An AUC is no mean over rows, so differences of rows cannot be resampled or flipped. It is a mean
    over pairs, though, and what row :math:`i` contributes is a mean over the rows of the other
    class. With :math:`\psi(s_i, s_j) = [s_i > s_j] + \tfrac12 [s_i = s_j]`,

    .. math::
        v_i = \frac{1}{N} \sum_{y_j = 0} \psi(s_i, s_j) \;\; (y_i = 1) , \qquad
        w_j = \frac{1}{P} \sum_{y_i = 1} \psi(s_i, s_j) \;\; (y_j = 0) ,

    and the variance of the difference follows from the sample variances of the two models'
    differences of :math:`v` and :math:`w`:

    .. math::
        \sigma^2 = \frac{\operatorname{var}(v^{(1)} - v^{(2)})}{P}
                 + \frac{\operatorname{var}(w^{(1)} - w^{(2)})}{N} .

    All of it comes from `midranks <https://doi.org/10.1109/LSP.2014.2337313>`_ in
    :math:`O(n \log n)`, exactly. Rows count as independent; the impressions of one user are not,
    which makes p-values too small. Pass the users as ``group`` to add up what the rows of each
    contribute before anything is squared (`Obuchowski <https://doi.org/10.2307/2533958>`_).

    Args:
        first: Predictions of one model of shape :math:`[n]`.
        second: Predictions of the other on the same rows, of shape :math:`[n]`.
        label: Labels 0 and 1 of shape :math:`[n]`; rows with NaN are left out.
        group: Whom each row belongs to, int64 of shape :math:`[n]` (default: every row stands for
            itself).

    Returns:
        The difference of the areas (first minus second), its standard error and the two-sided
        p-value. If the models order every pair alike, the standard error is 0 and the p-value 1.
        Standard error and p-value are NaN, with a warning, if fewer than two rows (groups) hold a
        class, and the difference too if none does.

    Raises:
        InputError: If lengths differ, no row is labelled, a label is neither 0 nor 1, or a
            prediction is not finite.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import delong_test
        >>> generator = torch.Generator().manual_seed(0)
        >>> label = torch.arange(200) % 2
        >>> noise = torch.randn(2, 200, generator=generator)
        >>> difference, error, p = delong_test(label + noise[0], 0.2 * label + noise[1], label)
        >>> difference > 2 * error and p < 0.05
        True
    """
    if group is not None and group.shape != label.shape:
        raise InputError(
            "'group' needs one entry per row in 'delong_test' "
            f"(got {tuple(group.shape)} for {tuple(label.shape)})"
        )
    known = ~label.detach().cpu().isnan()
    first, _ = labelled(first, label, "delong_test", binary=True)
    second, label = labelled(second, label, "delong_test", binary=True)
    positive = label == 1
    num = (int(positive.sum()), int((~positive).sum()))
    if min(num) == 0:
        warn(f"the AUC is NaN: all {label.numel()} labels are {label[0]:g}")
        return math.nan, math.nan, math.nan

    v, w = (
        a - b
        for a, b in zip(_placements(first, positive), _placements(second, positive), strict=True)
    )  # [P] and [N], whole numbers and halves
    difference = float(v.sum()) / (num[0] * num[1])
    group = torch.arange(label.numel()) if group is None else group.cpu()[known]
    group = torch.unique(group, return_inverse=True)[1]
    size = int(group.max()) + 1
    parts = []  # what a group adds to the difference, by its positive and by its negative rows
    for rows, x, others in ((positive, v, num[1]), (~positive, w, num[0])):
        deviation = (x / others - difference) / x.numel()
        parts.append(torch.bincount(group[rows], deviation, minlength=size))
    holding = [int(torch.unique(group[rows]).numel()) for rows in (positive, ~positive)]
    if min(holding) < 2:
        warn("the standard error is NaN: fewer than two rows or groups hold one of the classes")
        return difference, math.nan, math.nan
    variance = sum(
        float(part @ part) * k / (k - 1) for part, k in zip(parts, holding, strict=True)
    ) + 2 * float(parts[0] @ parts[1]) * size / (size - 1)
    error = math.sqrt(max(0.0, variance))
    if error == 0.0:
        return difference, error, float(difference == 0.0)
    return difference, error, math.erfc(abs(difference) / error / math.sqrt(2))


def _placements(pred: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Returns how many pairs each positive and each negative row is ordered rightly in."""
    rank = midranks(pred)
    above = rank[positive] - midranks(pred[positive])  # negatives below a positive row
    below = rank[~positive] - midranks(pred[~positive])  # positives below a negative row
    return above, int(positive.sum()) - below
