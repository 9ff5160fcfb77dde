"""What a layer of a Transformer is made of, but for its norms and sums."""

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import linear, scaled_dot_product_attention

from pyg_mtrec.nn.bottoms._dropout import finish, scale


class Block(torch.nn.Module):
    r"""Self-attention and a feed-forward network.

    Args:
        dim: Width :math:`d` of the rows.
        num_heads: Heads of the attention.
        hidden: Width of the feed-forward network's hidden layer.
        dropout: Share of its hidden units that is dropped in training.
    """

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.qkv_weight = Parameter(torch.empty(3, dim, dim))
        self.qkv_bias = Parameter(torch.empty(3, dim))
        self.out_weight = Parameter(torch.empty(dim, dim))
        self.out_bias = Parameter(torch.empty(dim))
        self.up_weight = Parameter(torch.empty(hidden, dim))
        self.up_bias = Parameter(torch.empty(hidden))
        self.down_weight = Parameter(torch.empty(dim, hidden))
        self.down_bias = Parameter(torch.empty(dim))

    def attend(self, x: Tensor, visible: Tensor, beside: Tensor) -> Tensor:
        r"""Returns what every row takes from the rows of its sequence, added to other rows.

        Args:
            x: Rows :math:`[\dots, L, d]`.
            visible: Mask :math:`[\dots, L]` of rows that are taken from, not empty anywhere.
            beside: What it is added to, rows that can be expanded to the same shape.
        """
        length, dim = x.shape[-2:]
        qkv = linear(x.reshape(-1, dim), self.qkv_weight.flatten(0, 1), self.qkv_bias.flatten())
        parts = qkv.view(-1, length, 3, self.num_heads, dim // self.num_heads).unbind(2)
        query, key, value = (part.transpose(1, 2) for part in parts)  # [N, heads, L, d / heads]
        mask = visible.expand(x.shape[:-1]).reshape(-1, 1, 1, length)
        taken = scaled_dot_product_attention(query, key, value, mask).transpose(1, 2)
        out = linear(taken.reshape(-1, dim), self.out_weight, self.out_bias)  # [N * L, d]
        return _add(out, beside, x)

    def feed(self, x: Tensor, draws: torch.Generator | None, beside: Tensor) -> Tensor:
        r"""Returns what the feed-forward network makes of every row, added to other rows.

        Args:
            x: Rows :math:`[\dots, d]`.
            draws: Source of the dropout mask, :obj:`None` for no dropout.
            beside: What it is added to, rows that can be expanded to the same shape.
        """
        # What keeps the mean is a factor of the weights, where it costs next to nothing.
        factor = 1.0 if draws is None else scale(self.dropout)
        weight, bias = self.up_weight * factor, self.up_bias * factor
        pre = linear(x.reshape(-1, x.size(-1)), weight, bias)
        hidden = finish(pre, self.dropout, draws)  # [N, H]
        return _add(linear(hidden, self.down_weight, self.down_bias), beside, x)


def _add(out: Tensor, beside: Tensor, x: Tensor) -> Tensor:
    r"""Returns the sum in the shape of x."""
    beside = beside.expand(x.shape).reshape(out.shape)
    # In place, but of a matrix that is no view: autograd copies a view, and that four times.
    return (out.add_(beside) if out.dtype == beside.dtype else out + beside).view(x.shape)
