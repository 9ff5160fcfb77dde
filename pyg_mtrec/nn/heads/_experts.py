"""Experts of equal sizes as one batched product, and their mixture."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter, ParameterList

from pyg_mtrec.nn.bottoms._dropout import finish, scale
from pyg_mtrec.nn.heads._grouped import grouped_hidden


class Experts(torch.nn.Module):
    r"""Experts of equal sizes: hidden layers (linear map, rectifier, dropout) of one input.

    Args:
        num_experts: Number of experts :math:`E`.
        in_dim: Width of the input.
        hidden: Widths of the layers.
        dropout: Share of hidden units that is dropped in training.
    """

    def __init__(
        self, num_experts: int, in_dim: int, hidden: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        shapes = zip(hidden, [in_dim, *hidden[:-1]], strict=True)
        self.weights = ParameterList(
            [Parameter(torch.empty(num_experts, rows, columns)) for rows, columns in shapes]
        )
        self.biases = ParameterList([Parameter(torch.empty(num_experts, rows)) for rows in hidden])
        self.dropout = dropout

    def forward(
        self, x: Tensor, draws: torch.Generator | None, others: Sequence["Experts"] = ()
    ) -> Tensor:
        r"""Returns what all experts make of an input :math:`[B, E, H]`.

        Args:
            x: Input :math:`[B, D]`.
            draws: Source of dropout masks, :obj:`None` for no dropout.
            others: Further experts of the same input, which join the product after these.
        """
        groups = [self, *others]
        factor = 1.0 if draws is None else scale(self.dropout)
        for layer in range(len(self.weights)):
            weight = _join([group.weights[layer] for group in groups], factor)  # [E, H, D]
            bias = _join([group.biases[layer] for group in groups], factor)  # [E, H]
            if layer == 0:
                # One product for all experts, so that the input's gradient is summed inside it.
                pre = torch.addmm(bias.flatten(), x, weight.flatten(0, 1).t())  # [B, E * H]
                x = finish(pre, self.dropout, draws).view(x.size(0), *bias.shape)  # [B, E, H]
            else:
                x = grouped_hidden(x, weight, bias, self.dropout, draws)
        return x


def mix(gates: Sequence[Tensor], experts: Sequence[Tensor]) -> Tensor:
    r"""Returns the experts' outputs, weighted by one gate and added up :math:`[B, H]`.

    Args:
        gates: Weights :math:`[E_i, B]` of groups of experts.
        experts: The groups' outputs :math:`[B, E_i, H]`.
    """
    out: Tensor | None = None
    for gate, group in zip(gates, experts, strict=True):
        part = (gate.t().unsqueeze(2) * group).sum(1)  # products of matrices so small are slower
        out = part if out is None else out + part
    assert out is not None
    return out


def mix_all(gates: Tensor, experts: Tensor) -> list[Tensor]:
    r"""Returns the experts' outputs, weighted by every gate and added up: :math:`[B, H]` a gate.

    Args:
        gates: Weights :math:`[G, E, B]`.
        experts: Outputs :math:`[B, E, H]`.
    """
    return list(torch.bmm(gates.permute(2, 0, 1).contiguous(), experts).unbind(1))


def _join(parts: list[Tensor], factor: float) -> Tensor:
    whole = parts[0] if len(parts) == 1 else torch.cat(parts)
    return whole if factor == 1 else whole * factor
