import torch
from torch import Tensor


def unique_rows(ids: Tensor, static: bool) -> Tensor:
    r"""Returns each id once, sorted.

    Args:
        ids: Row ids :math:`[n]` with repetitions.
        static: Whether the length must not depend on the data, which on a GPU would synchronise
            with the host.

    Returns:
        The :math:`R` distinct ids; if ``static``, :math:`[n]` with zeros behind them.
    """
    if not static:
        distinct: Tensor = torch.unique(ids)
        return distinct
    if ids.numel() == 0:
        return ids
    ordered = ids.sort(stable=True).values
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    slot = is_new.cumsum(0) - 1  # [n]
    return torch.zeros_like(ordered).scatter_(0, slot, ordered)
