import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._csr import to_csr
from pyg_mtrec.loader._draw import draw_below


class NegativeSampler:
    r"""Draws destinations that a source has not seen: exactly uniform, without rejection.

    Let :math:`p_0 < p_1 < \dots` be what a source has seen. Of the destinations below
    :math:`p_k`, :math:`p_k - k` are unseen, so the :math:`r`-th unseen destination is

    .. math::
        r + \left| \{ k : p_k - k \le r \} \right|

    and a uniform :math:`r` below the number of unseen destinations gives a uniform negative.
    The count is one binary search over keys that are sorted once, so shapes are static, every
    draw costs :math:`O(\log E)` and nothing waits for the device.

    Args:
        edge_index: What was seen :math:`[2, E]`; repetitions are merged and it may be empty.
        num_src: Number of source nodes.
        num_dst: Number of destination nodes.

    Raises:
        InputError: If there is no destination, or an id is out of range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import NegativeSampler
        >>> seen = torch.tensor([[0, 0, 1, 1, 1], [0, 2, 0, 1, 2]])
        >>> sampler = NegativeSampler(seen, num_src=3, num_dst=3)
        >>> generator = torch.Generator().manual_seed(0)
        >>> sampler.sample(torch.tensor([0, 1]), generator)  # source 1 has seen everything
        (tensor([1, 2]), tensor([1., 0.]))
    """

    def __init__(self, edge_index: Tensor, num_src: int, num_dst: int) -> None:
        if num_src < 1 or num_dst < 1:
            raise InputError(
                "'num_src' and 'num_dst' need to be positive in 'NegativeSampler'"
                f" (got {num_src} and {num_dst})"
            )
        for index, number, name in (
            (edge_index[0], num_src, "src"),
            (edge_index[1], num_dst, "dst"),
        ):
            if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < number:
                raise InputError(
                    f"ids in 'edge_index' need to be below 'num_{name}' in 'NegativeSampler'"
                    f" (got {int(index.min())} .. {int(index.max())}, num_{name} = {number})"
                )
        self.num_src, self.num_dst = num_src, num_dst
        seen = to_csr(edge_index[0], edge_index[1], num_src, num_dst)
        self._start = seen.ptr[:-1]
        self._unseen = num_dst - seen.degree
        # One key orders (source, unseen destinations below), so one search serves all rows.
        self._stride = num_dst + 1
        self._key = seen.row * self._stride + (seen.col - seen.rank)

    def num_unseen(self, src: Tensor) -> Tensor:
        r"""Returns how many destinations each source has not seen.

        Args:
            src: Source ids of any shape :math:`(*)`.

        Returns:
            Counts :math:`(*)`.
        """
        return self._unseen[src]

    def nth(self, src: Tensor, rank: Tensor) -> Tensor:
        r"""Returns the unseen destination of a given rank.

        Args:
            src: Source ids of any shape :math:`(*)`.
            rank: Ranks :math:`(*)` from 0, below :meth:`num_unseen`.

        Returns:
            Destination ids :math:`(*)`; some valid id where the rank is too large.
        """
        found = torch.searchsorted(self._key, src * self._stride + rank, right=True)
        return (rank + found - self._start[src]).clamp(max=self.num_dst - 1)

    def sample(
        self, src: Tensor, generator: torch.Generator, num: int = 1
    ) -> tuple[Tensor, Tensor]:
        r"""Draws negatives.

        Args:
            src: Source ids :math:`[b]`.
            generator: Source of all randomness, on the device of the ids.
            num: Negatives per source :math:`m`, drawn independently: they may repeat.

        Returns:
            Negatives :math:`[b]` if ``num`` is 1, else :math:`[b, m]`, and weights :math:`[b]`:
            0 where the source has seen everything (its negatives are then valid ids without
            meaning), else 1.
        """
        unseen = self._unseen[src]  # [b]
        if num != 1:
            src = src[:, None].expand(-1, num)  # [b, m]
        rank = draw_below(self._unseen[src], generator)
        return self.nth(src, rank), (unseen > 0).float()

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.num_src}, {self.num_dst},"
            f" num_seen={self._key.numel()})"
        )
