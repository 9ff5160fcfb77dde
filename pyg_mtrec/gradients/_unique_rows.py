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


def fill_slots(slots: dict[str, Tensor], key: str, ids: Tensor, num_rows: int) -> Tensor:
    r"""Returns where each id stands among the distinct ones, for rows that are among them.

    Args:
        slots: Scratch space that is kept from step to step.
        key: Whose ids they are.
        ids: The distinct ids.
        num_rows: How many ids there may be.

    Returns:
        Places :math:`[N]`; of other ids what earlier steps left.
    """
    slot = slots.get(key)
    if slot is None or slot.device != ids.device or slot.numel() != num_rows:
        slot = slots[key] = torch.zeros(num_rows, dtype=torch.long, device=ids.device)
    # Where a static tail repeats row 0 any of its places will do: all hold the same row.
    slot[ids] = torch.arange(ids.numel(), device=ids.device)
    return slot
