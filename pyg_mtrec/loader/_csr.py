from typing import NamedTuple

import torch
from torch import Tensor


class CSR(NamedTuple):
    r"""Distinct edges by source: row starts ``ptr`` :math:`[S + 1]`, sorted ``col`` :math:`[E]`.

    ``row`` :math:`[E]` is the source of every entry, ``rank`` :math:`[E]` its position in its row.
    """

    ptr: Tensor
    col: Tensor
    row: Tensor
    rank: Tensor

    @property
    def degree(self) -> Tensor:
        r"""Entries per row :math:`[S]`."""
        return self.ptr[1:] - self.ptr[:-1]


def to_csr(src: Tensor, dst: Tensor, num_src: int, num_dst: int) -> CSR:
    r"""Sorts edges by source and destination and merges repeated ones.

    Args:
        src: Sources :math:`[E]`.
        dst: Destinations :math:`[E]`.
        num_src: Number of source nodes.
        num_dst: Number of destination nodes.
    """
    key = torch.unique(src.long() * num_dst + dst.long())
    row, col = key // num_dst, key % num_dst
    ptr = row.new_zeros(num_src + 1)
    ptr[1:] = torch.bincount(row, minlength=num_src).cumsum(0)
    rank = torch.arange(row.numel(), device=row.device) - ptr[row]
    return CSR(ptr, col, row, rank)
