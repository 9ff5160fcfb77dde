from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import ModuleList
from torch.nn.functional import logsigmoid

from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.heads._mlp import MLP
from pyg_mtrec.nn.heads.head import Head


class ESMM(Head):
    r"""`Entire space multi-task model <https://arxiv.org/abs/1804.07931>`_: a chain of steps.

    Every binary target is a step that only those take who took the one before (click, buy). A
    network per step predicts the conditional probability, and the prediction is the product:

    .. math::
        p_n = \prod_{t \leq n} \sigma(b_t), \qquad b_t = \mathrm{MLP}_t(\mathbf{x})

    so that losses on all impressions train the later steps without a bias of selection. The logit
    :math:`\log p_n - \log (1 - p_n)` is formed from logarithms alone and is exact, with finite
    gradients, where a probability would round to 0 or 1:

    .. math::
        \log (1 - p_n) = \log \left( (1 - p_{n-1}) + p_{n-1} \, \sigma(-b_n) \right)

    A continuous target has a network of its own beside the chain, with which it shares nothing but
    what the input is made of.

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind: the chain of binary targets in order, then continuous ones.
        hidden: Widths of a network's first layers, as of a trunk.
        tower: Widths of the hidden layers after them, before the linear output.
        dropout: Share of hidden units that is dropped in training.
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range, if no target is binary, or if a continuous
            one comes before a binary one.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import ESMM
        >>> head = ESMM(8, {"click": "binary", "buy": "binary", "amount": "continuous"})
        >>> out = head(torch.rand(5, 8))
        >>> out["buy"].shape, bool((out["buy"] <= out["click"]).all())
        (torch.Size([5]), True)
    """

    def __init__(
        self,
        in_dim: int,
        targets: Mapping[str, str],
        hidden: Sequence[int] = (128, 64),
        tower: Sequence[int] = (64,),
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_dim, targets, generator)
        self.chain_length = _arguments.chain("ESMM", targets)
        dims = _arguments.widths("ESMM", "hidden", hidden)
        dims += _arguments.widths("ESMM", "tower", tower, least=0)
        self.dropout = _arguments.share("ESMM", dropout)
        self.towers = ModuleList(MLP(in_dim, dims, dropout, output=True) for _ in targets)
        self.reset_parameters()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        inputs, draws = self.begin(x)
        outs = [tower(own, draws) for tower, own in zip(self.towers, inputs, strict=True)]
        outs[: self.chain_length] = _chain_logits(outs[: self.chain_length])
        return dict(zip(self.targets, outs, strict=True))  # K of [B]

    def conditional_logits(self, x: Tensor) -> dict[str, Tensor]:
        r"""Returns the logits of the chain's conditional probabilities, without dropout.

        Args:
            x: Input :math:`[B, D]`, or one input per target :math:`[K, B, D]`.

        Returns:
            Binary target to the logit :math:`b_t` :math:`[B]` of the step, given the one before.

        Raises:
            InputError: If ``x`` has another shape.
        """
        self.check(x)
        inputs = x.unbind(0) if x.dim() == 3 else [x] * len(self.targets)
        steps = list(zip(self.targets, self.towers, inputs, strict=True))[: self.chain_length]
        return {target: tower(own, None) for target, tower, own in steps}

    def reached_by(self, name: str) -> list[str]:
        targets, number = list(self.targets), int(name.split(".")[1])
        # A product's loss reaches all of its factors.
        return targets[number : max(self.chain_length, number + 1)]

    def read_by(self, target: str) -> list[str]:
        targets = list(self.targets)
        number = targets.index(target)
        return targets[number : max(self.chain_length, number + 1)]


def _chain_logits(steps: Sequence[Tensor]) -> list[Tensor]:
    r"""Returns the logits of products of probabilities from the logits of the factors."""
    out = [steps[0]]
    log_p, log_not_p = logsigmoid(steps[0]), logsigmoid(-steps[0])
    for step in steps[1:]:
        log_not_p = torch.logaddexp(log_not_p, log_p + logsigmoid(-step))
        log_p = log_p + logsigmoid(step)
        out.append(log_p - log_not_p)
    return out
