"""Labels that are not known yet, as vectors."""

import torch
from torch import Tensor
from torch.nn import Parameter


class LabelEmbedding(torch.nn.Module):
    r"""A row per label of a binary target, mixed by the probability of the label.

    Args:
        dim: Width :math:`d` of the rows.
        frozen: Keeps the first values for good. They are a buffer then, so that no weight decay
            moves what no gradient reaches.
    """

    def __init__(self, dim: int, frozen: bool) -> None:
        super().__init__()
        if frozen:
            self.register_buffer("weight", torch.empty(2, dim))
        else:
            self.weight = Parameter(torch.empty(2, dim))

    def forward(self, probability: Tensor) -> Tensor:
        r"""Returns vectors :math:`[B, d]`; the first row of the table stands for label 1.

        Args:
            probability: Of label 1 :math:`[B]`.
        """
        p = probability.unsqueeze(1)
        return p * self.weight[0] + (1 - p) * self.weight[1]
