from torch import Tensor

from pyg_mtrec._errors import InputError


def win_tie_loss(differences: Tensor) -> tuple[int, int, int]:
    r"""For how many users a method is better than, equal to and worse than another.

    The counts stand beside a test of the mean and say what it rests on: of users most tie, which is
    why a Wilcoxon test, which drops the ties (and over five seeds cannot reach 0.05), is not used
    (see :func:`~pyg_mtrec.metrics.sign_flip_test`).

    Args:
        differences: One value per user, ours minus theirs, of shape :math:`[n]`.

    Returns:
        The numbers of wins :math:`d_u > 0`, of ties :math:`d_u = 0` and of losses
        :math:`d_u < 0`.

    Raises:
        InputError: If a difference is NaN.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import win_tie_loss
        >>> win_tie_loss(torch.tensor([0.5, 0.0, -0.1, 0.2]))
        (2, 1, 1)
    """
    missing = int(differences.isnan().sum())
    if missing:
        raise InputError(
            f"'differences' needs to hold no NaN in 'win_tie_loss' (got {missing}); leave out users"
            " that were not evaluated"
        )
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    return wins, differences.numel() - wins - losses, losses
