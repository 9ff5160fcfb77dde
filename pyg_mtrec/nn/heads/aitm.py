from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import ModuleList

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.heads._fusion import Fusion
from pyg_mtrec.nn.heads._mlp import MLP
from pyg_mtrec.nn.heads.head import Head


class AITM(Head):
    r"""`Adaptive information transfer <https://arxiv.org/abs/2105.08489>`_ along a chain.

    Every binary target has a trunk of its own, and all but the first attend over that and what
    the target before them passes on:

    .. math::
        \mathbf{q}_t = \mathrm{MLP}_t(\mathbf{x}), \qquad \mathbf{z}_1 = \mathbf{q}_1, \qquad
        \mathbf{z}_t = \sum_{\mathbf{v} \in \{\mathbf{p}_{t-1}, \mathbf{q}_t\}} w_{\mathbf{v}}
        \mathbf{H}_1 \mathbf{v}, \qquad \mathbf{p}_t = g_t(\mathbf{z}_t)

    .. math::
        w = \mathrm{softmax}_{\mathbf{v}} \left( \langle \mathbf{H}_2 \mathbf{v}, \mathbf{H}_3
        \mathbf{v} \rangle / \sqrt{d} \right), \qquad \hat{y}_t = \mathrm{tower}_t(\mathbf{z}_t)

    where :math:`g_t` is one hidden layer. Nobody takes a step without the one before it, so a later
    target's loss gets the penalty :math:`\alpha \operatorname{mean} \max(0, \sigma(\hat{y}_t) -
    \sigma(\hat{y}_{t-1}))`. It reaches both targets, and does not rule out all violations.

    A continuous target has a trunk and a tower beside the chain, with which it shares nothing but
    what the input is made of: :class:`HTLNet` is the head that passes something on to it.

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind: the chain of binary targets in order, then continuous ones.
        hidden: Widths of a trunk; the last one is :math:`d`.
        tower: Widths of the hidden layers of a tower, before its linear output.
        alpha: Strength :math:`\alpha` of the penalty, at least 0.
        dropout: Share of hidden units that is dropped in training.
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range, if no target is binary, or if a continuous
            one comes before a binary one.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import AITM
        >>> head = AITM(8, {"click": "binary", "buy": "binary", "amount": "continuous"})
        >>> out = head(torch.rand(5, 8))
        >>> {target: prediction.shape for target, prediction in out.items()}
        {'click': torch.Size([5]), 'buy': torch.Size([5]), 'amount': torch.Size([5])}
        >>> list(head.penalties(out))
        ['buy']
    """

    def __init__(
        self,
        in_dim: int,
        targets: Mapping[str, str],
        hidden: Sequence[int] = (128, 64),
        tower: Sequence[int] = (64,),
        alpha: float = 0.6,
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_dim, targets, generator)
        self.chain_length = _arguments.chain("AITM", targets)
        hidden = _arguments.widths("AITM", "hidden", hidden)
        tower = _arguments.widths("AITM", "tower", tower, least=0)
        if not alpha >= 0:
            raise InputError(f"'alpha' needs to be at least 0 in 'AITM' (got {alpha})")
        self.alpha = alpha
        self.dropout = _arguments.share("AITM", dropout)
        dim, transfers = hidden[-1], range(self.chain_length - 1)
        self.trunks = ModuleList(MLP(in_dim, hidden, dropout, output=False) for _ in targets)
        self.senders = ModuleList(MLP(dim, [dim], dropout, output=False) for _ in transfers)
        self.fusions = ModuleList(Fusion(2, dim, dim) for _ in transfers)
        self.towers = ModuleList(MLP(dim, tower, dropout, output=True) for _ in targets)
        self.reset_parameters()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        inputs, draws = self.begin(x)
        z = [trunk(own, draws) for trunk, own in zip(self.trunks, inputs, strict=True)]  # [B, d]
        for step, (send, fuse) in enumerate(zip(self.senders, self.fusions, strict=True)):
            z[step + 1] = fuse([send(z[step], draws), z[step + 1]])
        return {
            target: tower(h, draws)  # [B]
            for target, tower, h in zip(self.targets, self.towers, z, strict=True)
        }

    def penalties(self, predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        chain = list(self.targets)[: self.chain_length if self.alpha > 0 else 1]
        out = {}
        for before, after in pairwise(chain):
            excess = predictions[after].sigmoid() - predictions[before].sigmoid()  # [B]
            out[after] = self.alpha * excess.clamp(min=0).sum() / max(excess.numel(), 1)
        return out

    def reached_by(self, name: str) -> list[str]:
        kind, index, *_ = name.split(".")
        targets, number, length = list(self.targets), int(index), self.chain_length
        if number >= length:
            return [targets[number]]
        if kind == "towers":  # its prediction is also in the penalty of the next target
            return targets[number : min(number + (2 if self.alpha > 0 else 1), length)]
        first = number if kind == "trunks" else number + 1
        return targets[first:length]

    def read_by(self, target: str) -> list[str]:
        targets = list(self.targets)
        number = targets.index(target)
        return targets[number : max(self.chain_length, number + 1)]
