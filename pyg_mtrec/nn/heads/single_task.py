from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import ModuleList

from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.heads._mlp import MLP
from pyg_mtrec.nn.heads.head import Head


class SingleTask(Head):
    r"""One network per target: nothing is shared but what the input is made of.

    .. math::
        \hat{y}_t = \mathrm{MLP}_t(\mathbf{x})

    The network of a target is as deep as trunk and tower of :class:`SharedBottom` together, so the
    head has one trunk per target: compare it with an eye on the number of parameters.

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind, ``"binary"`` or ``"continuous"``, in any order.
        hidden: Widths of the layers that take the place of a shared trunk.
        tower: Widths of the hidden layers after it, before the linear output.
        dropout: Share of hidden units that is dropped in training.
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import SingleTask
        >>> head = SingleTask(8, {"click": "binary", "watch_time": "continuous"})
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
        dims = _arguments.widths("SingleTask", "hidden", hidden)
        dims += _arguments.widths("SingleTask", "tower", tower, least=0)
        self.dropout = _arguments.share("SingleTask", dropout)
        self.towers = ModuleList(MLP(in_dim, dims, dropout, output=True) for _ in targets)
        self.reset_parameters()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        inputs, draws = self.begin(x)
        return {
            target: tower(own, draws)  # [B]
            for target, tower, own in zip(self.targets, self.towers, inputs, strict=True)
        }

    def reached_by(self, name: str) -> list[str]:
        return [list(self.targets)[int(name.split(".")[1])]]
