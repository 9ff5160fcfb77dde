"""A level of progressive layered extraction."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import ModuleList, Parameter, ParameterList

from pyg_mtrec.nn.heads._experts import Experts, mix, mix_all


class Extraction(torch.nn.Module):
    r"""Experts of single targets and shared ones, and the gates that mix them.

    Args:
        num_targets: Number of targets :math:`K`.
        num_own: Number of experts of every target :math:`O`.
        num_shared: Number of shared experts :math:`S`; without any there is no shared stream.
        in_dim: Width of the inputs.
        hidden: Widths of an expert's layers.
        dropout: Share of hidden units that is dropped in training.
        last: Whether nothing reads the shared stream after this level.
    """

    def __init__(
        self,
        num_targets: int,
        num_own: int,
        num_shared: int,
        in_dim: int,
        hidden: Sequence[int],
        dropout: float,
        last: bool,
    ) -> None:
        super().__init__()
        # Groups of experts: one a target, then the shared one; and the groups that a gate mixes.
        own = list(range(num_targets if num_own > 0 else 0))
        shared = [len(own)] if num_shared > 0 else []
        self.sizes = [num_own for _ in own] + [num_shared for _ in shared]
        self.sources = [[*own[k : k + 1], *shared] for k in range(num_targets)]
        if shared and not last:
            self.sources.append([*own, *shared])
        self.readers = [*own, *(-1 for _ in shared)]  # the shared stream is the last input
        self.experts = ModuleList(Experts(size, in_dim, hidden, dropout) for size in self.sizes)
        rows = [sum(self.sizes[group] for group in groups) for groups in self.sources]
        self.gates = ParameterList([Parameter(torch.empty(number, in_dim)) for number in rows])

    def forward(
        self, inputs: Sequence[Tensor], draws: torch.Generator | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        r"""Returns what the targets and the stream take from the experts, and their gates.

        Args:
            inputs: Inputs :math:`[B, D]` of the targets and, if there are shared experts, of the
                stream.
            draws: Source of dropout masks, :obj:`None` for no dropout.

        Returns:
            Mixtures :math:`[B, H]` of the targets and, but on the last level, of the stream; and
            their gates :math:`[O + S, B]`, that of the stream :math:`[K O + S, B]`.
        """
        if all(x is inputs[0] for x in inputs):
            return self._joint(inputs[0], draws)
        outs = [
            experts(inputs[reader], draws)  # [B, O, H] or [B, S, H]
            for experts, reader in zip(self.experts, self.readers, strict=True)
        ]
        mixed, gates = [], []
        for x, weight, groups in zip(inputs, self.gates, self.sources, strict=False):
            gate = (weight @ x.t()).softmax(dim=0)
            parts = gate.split([self.sizes[group] for group in groups])
            mixed.append(mix(parts, [outs[group] for group in groups]))
            gates.append(gate)
        return mixed, gates

    def _joint(self, x: Tensor, draws: torch.Generator | None) -> tuple[list[Tensor], list[Tensor]]:
        r"""The same for one input of all: one product for all experts, and one for all gates."""
        first, *others = self.experts
        experts = first(x, draws, others)  # [B, all, H]
        logits = torch.cat(list(self.gates)) @ x.t()
        gates = [logit.softmax(dim=0) for logit in logits.split([len(w) for w in self.gates])]
        whole = []
        for gate, groups in zip(gates, self.sources, strict=True):
            parts = dict(zip(groups, gate.split([self.sizes[g] for g in groups]), strict=True))
            rows = [
                parts[group] if group in parts else gate.new_zeros(size, gate.size(1))
                for group, size in enumerate(self.sizes)
            ]
            whole.append(torch.cat(rows))  # [all, B]
        return mix_all(torch.stack(whole), experts), gates
