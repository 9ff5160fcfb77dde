from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import ModuleList

from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.heads._mlp import MLP
from pyg_mtrec.nn.heads.head import Head


class SharedBottom(Head):
    r"""`Shared bottom <https://doi.org/10.1023/A:1007379606734>`_: one trunk, a tower per target.

    .. math::
        \hat{y}_t = \mathrm{tower}_t \left( \mathrm{MLP}(\mathbf{x}) \right)

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind, ``"binary"`` or ``"continuous"``, in any order.
        hidden: Widths of the trunk.
        tower: Widths of the hidden layers of a tower, before its linear output.
        dropout: Share of hidden units that is dropped in training.
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import SharedBottom
        >>> head = SharedBottom(8, {"click": "binary", "watch_time": "continuous"})
        >>> {target: out.shape for target, out in head(torch.rand(5, 8)).items()}
        {'click': torch.Size([5]), 'watch_time': torch.Size([5])}
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
        hidden = _arguments.widths("SharedBottom", "hidden", hidden)
        tower = _arguments.widths("SharedBottom", "tower", tower, least=0)
        self.dropout = _arguments.share("SharedBottom", dropout)
        self.trunk = MLP(in_dim, hidden, dropout, output=False)
        self.towers = ModuleList(MLP(hidden[-1], tower, dropout, output=True) for _ in targets)
        self.reset_parameters()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        _, draws = self.begin(x)
        h = self.trunk(x.reshape(-1, self.in_dim), draws)  # [B, H] or [K * B, H]
        per_target = x.dim() == 3
        own = h.view(*x.shape[:2], h.size(1)).unbind(0) if per_target else [h] * len(self.targets)
        return {
            target: tower(h, draws)  # [B]
            for target, tower, h in zip(self.targets, self.towers, own, strict=True)
        }

    def reached_by(self, name: str) -> list[str]:
        targets = list(self.targets)
        return [targets[int(name.split(".")[1])]] if name.startswith("towers.") else targets
