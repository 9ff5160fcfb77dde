"""How a target reads what several others pass on to it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

KINDS = ("attention", "concat", "mean")


class Fusion(torch.nn.Module):
    r"""Features of equal widths to one, with linear maps that have no bias.

    .. math::
        \mathrm{fuse} = \sum_v w_v \mathbf{H}_1 \mathbf{v}, \qquad w = \mathrm{softmax}_v \left(
        \frac{\langle \mathbf{H}_2 \mathbf{v}, \mathbf{H}_3 \mathbf{v} \rangle}{\sqrt{d}} \right)

    One product per feature gives the scores, as :math:`\mathbf{v}^\top (\mathbf{H}_2^\top
    \mathbf{H}_3) \mathbf{v}`, and :math:`\mathbf{H}_1` maps the sum once.

    Args:
        number: Number of features; with one the weight is 1, and nothing is learned about it.
        in_dim: Width of the features.
        dim: Width :math:`d` of the result.
        kind: ``"attention"``; ``"mean"`` for equal weights; ``"concat"`` for features side by
            side, without maps.
    """

    def __init__(self, number: int, in_dim: int, dim: int, kind: str = "attention") -> None:
        super().__init__()
        self.in_dim, self.kind = in_dim, kind
        self.out_dim = number * in_dim if kind == "concat" else dim
        if kind != "concat":
            self.value_weight = Parameter(torch.empty(dim, in_dim))
        if kind == "attention" and number > 1:
            self.query_weight = Parameter(torch.empty(dim, in_dim))
            self.key_weight = Parameter(torch.empty(dim, in_dim))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        r"""Returns the fused features :math:`[B, d]`.

        Args:
            features: Features :math:`[B, D]`.
        """
        if self.kind == "concat":
            return torch.cat(list(features), dim=1)
        return self._mix(features) @ self.value_weight.t()

    def mapped(self, features: Sequence[Tensor], weight: Tensor) -> list[tuple[Tensor, Tensor]]:
        r"""Returns inputs and weights whose products add up to a linear map of the result.

        Two maps in a row are one, which is made once a batch instead of once a row.

        Args:
            features: Features :math:`[B, D]`.
            weight: The weight :math:`[H, d]` of the linear map.

        Returns:
            Pairs of an input :math:`[B, D]` and its weight :math:`[H, D]`.
        """
        if self.kind == "concat":
            return list(zip(features, weight.split(self.in_dim, dim=1), strict=True))
        return [(self._mix(features), weight @ self.value_weight)]

    def weights(self, features: Sequence[Tensor]) -> Tensor:
        r"""Returns the weights of features :math:`[n, B]`.

        Args:
            features: Features :math:`[B, D]`.
        """
        form = self.query_weight.t() @ self.key_weight / math.sqrt(self.out_dim)
        scores = [((feature @ form) * feature).sum(1) for feature in features]
        return torch.stack(scores).softmax(0)

    def _mix(self, features: Sequence[Tensor]) -> Tensor:
        if len(features) == 1:
            return features[0]
        if self.kind == "mean":
            return torch.stack(list(features)).mean(0)
        weights = self.weights(features).unsqueeze(2)  # [n, B, 1]
        mixed = weights[0] * features[0]
        for weight, feature in zip(weights[1:], features[1:], strict=True):
            mixed = mixed.addcmul(weight, feature)
        return mixed
