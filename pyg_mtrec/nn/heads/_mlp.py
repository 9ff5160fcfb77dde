"""Perceptrons whose randomness comes from explicit generators."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter, ParameterList

from pyg_mtrec.nn.bottoms._dropout import finish, scale


class MLP(torch.nn.Module):
    r"""Hidden layers (linear map, rectifier, dropout) and, if asked for, a linear output.

    Args:
        in_dim: Width of the input.
        hidden: Widths of the hidden layers.
        dropout: Share of hidden units that is dropped in training.
        output: Whether a linear map to one number follows.
    """

    def __init__(self, in_dim: int, hidden: Sequence[int], dropout: float, output: bool) -> None:
        super().__init__()
        dims = [in_dim, *hidden, *([1] if output else [])]
        shapes = list(zip(dims[1:], dims[:-1], strict=True))
        self.weights = ParameterList([Parameter(torch.empty(shape)) for shape in shapes])
        self.biases = ParameterList([Parameter(torch.empty(rows)) for rows, _ in shapes])
        self.dropout, self.output = dropout, output

    def forward(self, x: Tensor, draws: torch.Generator | None, first: int = 0) -> Tensor:
        r"""Returns the last hidden layer :math:`[B, H]`, or the output :math:`[B]`.

        Args:
            x: Input :math:`[B, D]` of the layer ``first``.
            draws: Source of dropout masks, :obj:`None` for no dropout.
            first: The layer to begin with.
        """
        for layer in range(first, len(self.weights)):
            weight, bias = self.weights[layer], self.biases[layer]
            if self.output and layer == len(self.weights) - 1:
                return torch.addmm(bias, x, weight.t()).squeeze(1)  # [B]
            x = self.hidden([(x, weight)], bias, draws)  # [B, H]
        return x

    def hidden(
        self, inputs: Sequence[tuple[Tensor, Tensor]], bias: Tensor, draws: torch.Generator | None
    ) -> Tensor:
        r"""Returns a hidden layer :math:`[B, H]` of the sum of maps of several inputs.

        Args:
            inputs: Pairs of an input :math:`[B, D_i]` and its weight :math:`[H, D_i]`.
            bias: The bias :math:`[H]`.
            draws: Source of the dropout mask, :obj:`None` for no dropout.
        """
        # What keeps the mean is a factor of the weights, where it costs next to nothing.
        factor = 1.0 if draws is None else scale(self.dropout)
        pre: Tensor | None = None
        for x, weight in inputs:
            weight = weight.t() if factor == 1 else weight.t() * factor
            pre = torch.addmm(bias * factor if pre is None else pre, x, weight)
        assert pre is not None
        return finish(pre, self.dropout, draws)
