from collections.abc import Sequence

from pyg_mtrec._errors import InputError


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Holm's step-down adjustment of the p-values of a family of tests.

    With the :math:`m` p-values in ascending order, the adjusted ones are

    .. math::
        \tilde p_{(k)} = \max_{j \leq k} \min \left( 1, (m - j + 1) \, p_{(j)} \right) .

    Rejecting where :math:`\tilde p \leq \alpha` keeps the probability of any false rejection below
    :math:`\alpha`, whatever the dependence between the tests, and rejects all that Bonferroni's
    correction does (`Holm, 1979 <https://www.jstor.org/stable/4615733>`_). Rivals that are compared
    with one method on the same users are such a family; their p-values come from
    :func:`~pyg_mtrec.metrics.sign_flip_test`, which also says why they are not Wilcoxon's.

    Args:
        p_values: The p-values of the family, in :math:`[0, 1]`.

    Returns:
        The adjusted p-values, in the order given.

    Raises:
        InputError: If a p-value is NaN or not between 0 and 1.

    Example:
        >>> from pyg_mtrec.metrics import holm
        >>> holm([0.25, 0.0625, 0.125])
        [0.25, 0.1875, 0.25]
    """
    given = [float(p) for p in p_values]
    for position, p in enumerate(given):
        if not 0.0 <= p <= 1.0:
            raise InputError(
                f"'p_values' needs to hold numbers between 0 and 1 in 'holm' (got {p} at position"
                f" {position})"
            )
    adjusted = [0.0] * len(given)
    highest = 0.0
    for rank, position in enumerate(sorted(range(len(given)), key=given.__getitem__)):
        highest = max(highest, min(1.0, (len(given) - rank) * given[position]))
        adjusted[position] = highest
    return adjusted
