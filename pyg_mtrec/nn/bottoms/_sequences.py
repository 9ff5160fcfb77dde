"""Behaviour sequences: what is asked of them, and how they are put together."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError


def check_sequences(
    owner: str,
    behaviours: Sequence[str],
    target: Tensor,
    sequences: Mapping[str, tuple[Tensor, Tensor]],
) -> None:
    r"""Refuses sequences that do not fit.

    Args:
        owner: The class, for the message.
        behaviours: What there needs to be.
        target: Rows :math:`[B, d]`.
        sequences: Behaviour to rows :math:`[B, L, d]` and their mask :math:`[B, L]`.

    Raises:
        InputError: If a behaviour is missing or a tensor has another shape or type.
    """
    size, dim = target.shape
    for behaviour in behaviours:
        if behaviour not in sequences:
            raise InputError(
                f"'sequences' needs to hold '{behaviour}' in '{owner}'"
                f" (got {', '.join(sequences) or 'none'})"
            )
        rows, mask = sequences[behaviour]
        if rows.dim() != 3 or rows.shape[::2] != (size, dim) or rows.size(1) < 1:
            raise InputError(
                f"the rows of '{behaviour}' need to have the shape [{size}, L, {dim}] with a"
                f" positive L in '{owner}' (got {list(rows.shape)})"
            )
        if mask.shape != rows.shape[:2] or mask.dtype != torch.bool:
            raise InputError(
                f"the mask of '{behaviour}' needs to be boolean of the shape"
                f" {list(rows.shape[:2])} in '{owner}' (got {mask.dtype}, {list(mask.shape)})"
            )


def by_length(
    behaviours: Sequence[str], sequences: Mapping[str, tuple[Tensor, Tensor]]
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    r"""Yields behaviours of one length together: numbers, rows [G, B, L, d], mask [G, B, L].

    Args:
        behaviours: All behaviours.
        sequences: Behaviour to rows :math:`[B, L, d]` and their mask :math:`[B, L]`.
    """
    lengths: dict[int, list[int]] = {}
    for number, behaviour in enumerate(behaviours):
        lengths.setdefault(sequences[behaviour][0].size(1), []).append(number)
    for numbers in lengths.values():
        rows, masks = zip(*(sequences[behaviours[number]] for number in numbers), strict=True)
        mask = torch.stack(masks)
        # Whatever the padding holds, an infinity for example: zero times it has to be zero.
        yield numbers, torch.stack(rows).masked_fill(~mask.unsqueeze(-1), 0), mask
