from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import ModuleList, Parameter, ParameterList

from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.heads._experts import Experts, mix, mix_all
from pyg_mtrec.nn.heads._mlp import MLP
from pyg_mtrec.nn.heads.head import Head


class MMoE(Head):
    r"""`Multi-gate mixture of experts <https://doi.org/10.1145/3219819.3220007>`_.

    .. math::
        \mathbf{g}_t = \mathrm{softmax}(\mathbf{W}_t \mathbf{x}), \qquad
        \hat{y}_t = \mathrm{tower}_t \left( \sum_e g_{t,e} \, \mathrm{MLP}_e(\mathbf{x}) \right)

    All experts are one batched product. With one expert the head is :class:`SharedBottom`.

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind, ``"binary"`` or ``"continuous"``, in any order.
        num_experts: Number of experts :math:`E`, which all targets share.
        hidden: Widths of an expert's layers.
        tower: Widths of the hidden layers of a tower, before its linear output.
        dropout: Share of hidden units that is dropped in training.
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import MMoE
        >>> head = MMoE(8, {"click": "binary", "watch_time": "continuous"}, num_experts=3)
        >>> x = torch.rand(5, 8)
        >>> {target: out.shape for target, out in head(x).items()}
        {'click': torch.Size([5]), 'watch_time': torch.Size([5])}
        >>> head.gate_weights(x)["click"].shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        in_dim: int,
        targets: Mapping[str, str],
        num_experts: int = 4,
        hidden: Sequence[int] = (128, 64),
        tower: Sequence[int] = (64,),
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_dim, targets, generator)
        _arguments.positive("MMoE", num_experts=num_experts)
        hidden = _arguments.widths("MMoE", "hidden", hidden)
        tower = _arguments.widths("MMoE", "tower", tower, least=0)
        self.dropout = _arguments.share("MMoE", dropout)
        self.num_experts = num_experts
        self.experts = Experts(num_experts, in_dim, hidden, dropout)
        self.gates = ParameterList([Parameter(torch.empty(num_experts, in_dim)) for _ in targets])
        self.towers = ModuleList(MLP(hidden[-1], tower, dropout, output=True) for _ in targets)
        self.reset_parameters()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        _, draws = self.begin(x)
        experts = self.experts(x.reshape(-1, self.in_dim), draws)  # [B, E, H] or [K * B, E, H]
        gates = self._gates(x)  # [K, E, B]
        if x.dim() == 2:
            own = mix_all(gates, experts)  # K of [B, H]
        else:
            experts = experts.view(*x.shape[:2], *experts.shape[1:])  # [K, B, E, H]
            own = [mix([gate], [out]) for gate, out in zip(gates, experts, strict=True)]
        return {
            target: tower(h, draws)  # [B]
            for target, tower, h in zip(self.targets, self.towers, own, strict=True)
        }

    def gate_weights(self, x: Tensor) -> dict[str, Tensor]:
        r"""Returns how much every target takes from every expert.

        Args:
            x: Input :math:`[B, D]`, or one input per target :math:`[K, B, D]`.

        Returns:
            Target to weights :math:`[B, E]`, which sum to 1.

        Raises:
            InputError: If ``x`` has another shape.
        """
        self.check(x)
        return {target: gate.t() for target, gate in zip(self.targets, self._gates(x), strict=True)}

    def _gates(self, x: Tensor) -> Tensor:
        r"""Returns the gates :math:`[K, E, B]`: a softmax over few columns would be slow."""
        weight = torch.stack(list(self.gates))  # [K, E, D]
        if x.dim() == 2:
            logits = (weight.flatten(0, 1) @ x.t()).view(*weight.shape[:2], x.size(0))
        else:
            logits = torch.bmm(weight, x.transpose(1, 2))
        return logits.softmax(dim=1)

    def reached_by(self, name: str) -> list[str]:
        targets = list(self.targets)
        return targets if name.startswith("experts.") else [targets[int(name.split(".")[1])]]

    def extra_repr(self) -> str:
        return f"num_experts={self.num_experts}"
