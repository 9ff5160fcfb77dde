"""Scales and shifts of layer norms, made from the embeddings of a task and a behaviour."""

import torch
from torch import Tensor
from torch.nn import Parameter


class Hypernetwork(torch.nn.Module):
    r"""One perceptron per norm, whose last layer begins with zeros.

    Args:
        num_norms: Number of norms :math:`N`.
        in_dim: Width :math:`Z` of the input.
        hidden: Width of the hidden layers.
        dim: Width :math:`d` of the norms.
    """

    def __init__(self, num_norms: int, in_dim: int, hidden: int, dim: int) -> None:
        super().__init__()
        self.in_weight = Parameter(torch.empty(num_norms, hidden, in_dim))
        self.in_bias = Parameter(torch.empty(num_norms, hidden))
        self.out_weight = Parameter(torch.empty(num_norms, 2 * dim, hidden))
        self.out_bias = Parameter(torch.empty(num_norms, 2 * dim))

    def forward(self, z: Tensor) -> Tensor:
        r"""Returns what is added to a scale of 1 and to a shift of 0.

        Args:
            z: Inputs :math:`[P, Z]`.

        Returns:
            Both, side by side, :math:`[N, P, 2 d]`.
        """
        inputs = z.expand(self.in_weight.size(0), *z.shape)  # [N, P, Z]
        hidden = torch.baddbmm(self.in_bias.unsqueeze(1), inputs, self.in_weight.transpose(1, 2))
        hidden = hidden.relu_()  # [N, P, H]
        out = torch.baddbmm(self.out_bias.unsqueeze(1), hidden, self.out_weight.transpose(1, 2))
        return out.to(z.dtype)  # a norm wants full precision, under autocast too
