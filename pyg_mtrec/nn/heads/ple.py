from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import ModuleList

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.heads._extraction import Extraction
from pyg_mtrec.nn.heads._mlp import MLP
from pyg_mtrec.nn.heads.head import Head


class PLE(Head):
    r"""`Progressive layered extraction <https://doi.org/10.1145/3383313.3412236>`_.

    Every level has experts of single targets, which read their target's stream, and shared ones,
    which read a stream of their own:

    .. math::
        \mathbf{x}_t^{(l)} = \sum_{e \in \text{own}_t \cup \text{shared}} \mathrm{softmax} \left(
        \mathbf{W}_t^{(l)} \mathbf{x}_t^{(l-1)} \right)_e \mathrm{MLP}_e^{(l)}, \qquad
        \mathbf{x}_s^{(l)} = \sum_{e \in \text{all}} \mathrm{softmax} \left( \mathbf{W}_s^{(l)}
        \mathbf{x}_s^{(l-1)} \right)_e \mathrm{MLP}_e^{(l)}

    and :math:`\hat{y}_t = \mathrm{tower}_t(\mathbf{x}_t^{(L)})`. All streams begin with the input;
    the shared one begins with the mean of the inputs where every target has its own. One level is
    known as CGC, and that without own experts is :class:`MMoE`. Experts that read the same input
    are one batched product.

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind, ``"binary"`` or ``"continuous"``, in any order.
        num_own: Number of experts of every target on every level.
        num_shared: Number of shared experts on every level.
        num_levels: Number of levels :math:`L`.
        hidden: Widths of an expert's layers.
        tower: Widths of the hidden layers of a tower, before its linear output.
        dropout: Share of hidden units that is dropped in training.
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range, or there is no expert at all.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import PLE
        >>> head = PLE(8, {"click": "binary", "watch_time": "continuous"})
        >>> x = torch.rand(5, 8)
        >>> {target: out.shape for target, out in head(x).items()}
        {'click': torch.Size([5]), 'watch_time': torch.Size([5])}
        >>> head.gate_weights(x)["click"].shape
        torch.Size([5, 4])
    """

    def __init__(
        self,
        in_dim: int,
        targets: Mapping[str, str],
        num_own: int = 2,
        num_shared: int = 2,
        num_levels: int = 2,
        hidden: Sequence[int] = (128, 64),
        tower: Sequence[int] = (64,),
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_dim, targets, generator)
        _arguments.positive("PLE", num_levels=num_levels)
        if min(num_own, num_shared) < 0 or num_own + num_shared < 1:
            raise InputError(
                "'num_own' and 'num_shared' need to be at least 0, and one of them positive, in"
                f" 'PLE' (got {num_own} and {num_shared})"
            )
        hidden = _arguments.widths("PLE", "hidden", hidden)
        tower = _arguments.widths("PLE", "tower", tower, least=0)
        self.dropout = _arguments.share("PLE", dropout)
        self.num_own, self.num_shared, self.num_levels = num_own, num_shared, num_levels
        self.levels = ModuleList(
            Extraction(
                len(targets),
                num_own,
                num_shared,
                in_dim if level == 0 else hidden[-1],
                hidden,
                dropout,
                last=level == num_levels - 1,
            )
            for level in range(num_levels)
        )
        self.towers = ModuleList(MLP(hidden[-1], tower, dropout, output=True) for _ in targets)
        self.reset_parameters()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        _, draws = self.begin(x)
        streams, _ = self._extract(x, draws, self.num_levels)  # K of [B, H]
        return {
            target: tower(h, draws)  # [B]
            for target, tower, h in zip(self.targets, self.towers, streams, strict=True)
        }

    def gate_weights(self, x: Tensor, level: int = -1) -> dict[str, Tensor]:
        r"""Returns how much every target takes from its experts, without dropout.

        Args:
            x: Input :math:`[B, D]`, or one input per target :math:`[K, B, D]`.
            level: The level, counted from 0; the last one is also -1.

        Returns:
            Target to weights :math:`[B, \text{num\_own} + \text{num\_shared}]` of its own experts
            and, after them, of the shared ones; they sum to 1.

        Raises:
            InputError: If ``x`` has another shape or there is no such level.
        """
        self.check(x)
        if not -self.num_levels <= level < self.num_levels:
            raise InputError(
                f"'level' needs to lie in [0, {self.num_levels}) in 'PLE' (got {level})"
            )
        _, gates = self._extract(x, None, level % self.num_levels + 1)
        return {target: gate.t() for target, gate in zip(self.targets, gates, strict=True)}

    def _extract(
        self, x: Tensor, draws: torch.Generator | None, num_levels: int
    ) -> tuple[list[Tensor], list[Tensor]]:
        r"""Returns the targets' streams :math:`[B, H]` after some levels, and their last gates."""
        number = len(self.targets)
        streams, gates = list(x.unbind(0)) if x.dim() == 3 else [x] * number, []
        if self.num_shared > 0:
            streams.append(x.mean(0) if x.dim() == 3 else x)
        for level in list(cast("Sequence[Extraction]", self.levels))[:num_levels]:
            streams, gates = level(streams, draws)
        return streams[:number], gates[:number]

    def reached_by(self, name: str) -> list[str]:
        kind, index, *rest = name.split(".")
        targets = list(self.targets)
        if kind == "towers":
            return [targets[int(index)]]
        level, last, number = int(index), self.num_levels - 1, int(rest[1])
        owners = len(targets) if rest[0] == "gates" or self.num_own > 0 else 0
        if number >= owners:
            return targets
        # Own experts feed the stream of the next level, which all targets read; a gate feeds the
        # own experts of the next level, so it is its target's alone for one level more.
        reach = last if rest[0] == "experts" else last - 1
        mixed = self.num_shared > 0 and self.num_own > 0 and level < reach
        return targets if mixed else [targets[number]]

    def read_by(self, target: str) -> list[str]:
        return list(self.targets) if self.num_shared > 0 else [target]  # by the shared stream

    def extra_repr(self) -> str:
        return f"num_own={self.num_own}, num_shared={self.num_shared}, num_levels={self.num_levels}"
