"""Ragged lists of items per user (CSR), gathered for any chunk of users."""

import torch
from torch import Tensor


class ItemLists:
    """The items of every user: ``item[ptr[u] : ptr[u + 1]]``."""

    def __init__(self, edge_index: Tensor, num_users: int) -> None:
        user, order = edge_index[0].sort(stable=True)
        count = torch.bincount(user, minlength=num_users)
        self.ptr = torch.cat([count.new_zeros(1), count.cumsum(0)])  # [U + 1]
        self.item = edge_index[1][order]  # [E]

    def to(self, device: torch.device) -> "ItemLists":
        """Moves both tensors in place."""
        self.ptr, self.item = self.ptr.to(device), self.item.to(device)
        return self

    def gather(self, user_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (row in ``user_ids``, item) of every entry of these users, both ``[m]``."""
        start = self.ptr[user_ids]  # [b]
        count = self.ptr[user_ids + 1] - start  # [b]
        row = torch.arange(user_ids.numel(), device=user_ids.device).repeat_interleave(count)
        within = torch.arange(row.numel(), device=row.device) - (count.cumsum(0) - count)[row]
        return row, self.item[start[row] + within]
