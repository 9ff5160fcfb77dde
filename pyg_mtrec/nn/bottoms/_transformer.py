"""A Transformer that many tasks and behaviours share, but for the norms, which are given."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor
from torch.nn import ModuleList, Parameter
from torch.nn.functional import layer_norm

from pyg_mtrec.nn.bottoms._block import Block


class Transformer(torch.nn.Module):
    r"""Sequences to one vector each.

    Args:
        dim: Width :math:`d` of the rows.
        num_layers: Number of layers.
        num_heads: Heads of the attention.
        hidden: Width of the feed-forward networks' hidden layers.
        dropout: Share of their hidden units that is dropped in training.
        norm_position: ``"post"`` or ``"pre"``.
        pooling: ``"target"``, ``"mean"`` or ``"last"``.
        num_positions: Number of learned positions, 0 for none.
    """

    query_weight: Parameter
    key_weight: Parameter
    positions: Parameter

    def __init__(
        self,
        dim: int,
        num_layers: int,
        num_heads: int,
        hidden: int,
        dropout: float,
        norm_position: str,
        pooling: str,
        num_positions: int,
    ) -> None:
        super().__init__()
        self.post, self.pooling = norm_position == "post", pooling
        self.num_positions = num_positions
        self.blocks = ModuleList(Block(dim, num_heads, hidden, dropout) for _ in range(num_layers))
        if pooling == "target":
            self.query_weight = Parameter(torch.empty(dim, dim))
            self.key_weight = Parameter(torch.empty(dim, dim))
        if num_positions > 0:
            self.positions = Parameter(torch.empty(num_positions, dim))  # the newest first

    def begin(self, x: Tensor, visible: Tensor) -> Tensor:
        r"""Returns what the sequences of all tasks begin with, whatever their norms.

        Args:
            x: Rows :math:`[G, B, L, d]`.
            visible: Mask :math:`[G, B, L]` of rows that are attended to, not empty anywhere.
        """
        if self.num_positions > 0:
            x = x + self.positions[: x.size(-2)].flip(0)
        return self._blocks()[0].attend(x, visible, x) if self.post else x

    def query(self, target: Tensor) -> Tensor | None:
        r"""Returns what rows are multiplied with to be weighted :math:`[B, d]`, if they are.

        Args:
            target: Rows :math:`[B, d]` of the items that sequences are pooled for.
        """
        if self.pooling != "target":
            return None
        # <W_q t, W_k s> = <W_k^T W_q t, s>: keys of whole sequences are never made.
        queries = target @ self.query_weight.t() / target.size(1) ** 0.5
        return torch.mm(queries, self.key_weight)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        visible: Tensor,
        query: Tensor | None,
        norms: Tensor,
        draws: torch.Generator | None,
    ) -> tuple[Tensor, Tensor]:
        r"""Encodes and pools the sequences of several tasks and behaviours.

        Args:
            x: What :meth:`begin` returned :math:`[G, B, L, d]`.
            mask: Mask :math:`[G, B, L]` of events.
            visible: Mask :math:`[G, B, L]` of rows that are attended to, not empty anywhere.
            query: What :meth:`query` returned.
            norms: What is added to a scale of 1 and a shift of 0 of every norm, side by side,
                :math:`[2 \cdot \text{layers}, k, G, 2 d]`.
            draws: Source of dropout masks, :obj:`None` for no dropout.

        Returns:
            Vectors :math:`[k, G, B, d]` and weights :math:`[k, G, B, L]` (with
            ``pooling="last"`` of the last rows, :math:`[1, G, B, 1]`).
        """
        x = x.unsqueeze(0)  # [1, G, B, L, d], and [k, G, B, L, d] after the first norm
        blocks = self._blocks()
        for layer, block in enumerate(blocks):
            of_attention, of_feed = norms[2 * layer], norms[2 * layer + 1]
            if not self.post:
                x = block.attend(_norm(x, of_attention), visible, x)
            elif layer > 0:
                x = block.attend(x, visible, x)
            if self.pooling == "last" and layer == len(blocks) - 1:
                x, mask = _last(x, mask)  # nothing else is needed of what follows
            if self.post:
                x = _norm(x, of_attention)
                x = _norm(block.feed(x, draws, x), of_feed)
            else:
                x = block.feed(_norm(x, of_feed), draws, x)
        weights = self._weights(x, mask, query)  # [k, G, B, L]
        flat = x.reshape(-1, *x.shape[-2:])
        pooled = torch.bmm(weights.reshape(-1, 1, weights.size(-1)).to(x.dtype), flat)
        return pooled.view(*x.shape[:-2], x.size(-1)), weights

    def _weights(self, x: Tensor, mask: Tensor, query: Tensor | None) -> Tensor:
        r"""Returns weights that sum to 1, or to 0 where there is no event."""
        if query is None:
            count = mask.sum(-1, keepdim=True).clamp(min=1)
            return (mask.to(x.dtype) / count).expand(x.shape[:-1])
        columns = query.expand(*x.shape[:2], *query.shape).reshape(-1, query.size(-1), 1)
        scores = torch.bmm(x.reshape(-1, *x.shape[-2:]), columns.to(x.dtype)).view(x.shape[:-1])
        hidden = ~mask
        # Not by infinity: a row of nothing else would be NaN.
        scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
        return scores.softmax(-1).masked_fill(hidden, 0)

    def _blocks(self) -> list[Block]:
        return list(cast("Iterable[Block]", self.blocks))


def _norm(x: Tensor, norm: Tensor) -> Tensor:
    r"""Returns the conditional layer norm [k, G, B, L, d] of x [1 or k, G, B, L, d]."""
    scale, shift = norm.chunk(2, dim=-1)  # [k, G, d] each
    if scale.size(0) == scale.size(1) == 1:
        return layer_norm(x, x.shape[-1:], 1 + scale[0, 0], shift[0, 0])
    scale, shift = (1 + scale)[:, :, None, None], shift[:, :, None, None]
    return torch.addcmul(shift, layer_norm(x, x.shape[-1:]), scale)


def _last(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the last event [1 or k, G, B, 1, d], and whether there is one [G, B, 1]."""
    position = last_position(mask).unsqueeze(-1)  # [G, B, 1, 1]
    last = x.gather(-2, position.expand(*x.shape[:-2], 1, x.size(-1)))
    return last, mask.any(-1, keepdim=True)


def last_position(mask: Tensor) -> Tensor:
    r"""Returns the position of the last event, anything where there is none.

    Args:
        mask: Mask :math:`[\dots, L]` of events.

    Returns:
        Positions :math:`[\dots, 1]`.
    """
    count = torch.arange(1, mask.size(-1) + 1, device=mask.device)
    return (mask * count).argmax(-1, keepdim=True)
