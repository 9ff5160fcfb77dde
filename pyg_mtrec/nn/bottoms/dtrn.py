import copy
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.bottoms.bottom import Bottom
from pyg_mtrec.nn.bottoms.tim import TIM
from pyg_mtrec.nn.bottoms.trm import TRM


class DTRN(Bottom):
    r"""A bottom in the manner of `DTRN <https://arxiv.org/abs/2308.05996>`_: one input per target.

    :class:`TIM` makes task-specific interests of the behaviour sequences, and :class:`TRM` weighs
    fields and interests anew for every target:

    .. math::
        \mathbf{x}_k = [\mathbf{x}_1, \dots, \mathbf{x}_F, \mathbf{u}_{k,1}, \dots,
        \mathbf{u}_{k,M}] = [\mathrm{fields}, \mathrm{TIM}_k(\mathbf{v}, \mathbf{S})], \qquad
        \tilde{\mathbf{x}}_k = \mathrm{TRM}_k(\mathbf{x}_k)

    so that the targets part below the head, whatever the head shares. Both parts begin alike for
    all targets.

    It is reconstructed: neither the paper's code nor its full text were at hand. It is built after
    descriptions by others, what they leave open is an argument, and it reproduces no number.

    Args:
        dim: Width :math:`d` of fields, rows and interests.
        num_fields: Number of fields :math:`F`, without interests.
        targets: Names of the :math:`K` targets in the order of the head's; its mapping of names to
            kinds may be given as it is.
        behaviours: Names of the :math:`M` behaviours.
        tim: Whether interests are task-specific. Without it, one plain Transformer gives all
            targets the same ones.
        trm: Whether :math:`\mathbf{x}_k` is refined. Without it, it is the output.
        pooling: How a sequence becomes one vector: ``"target"`` (attention of the impression's
            item), ``"mean"`` or ``"last"``.
        norm_position: ``"post"`` or ``"pre"``.
        positions: :obj:`None` or ``"learned"``.
        granularity: ``"field"`` for a weight per field, ``"dimension"`` for one per element.
        gate: ``"sigmoid"``, ``"2sigmoid"`` (which begins with a factor of 1) or ``"residual"``.
        reduction: Width of the hidden layers of TRM (default: :math:`(F + M) d / 4`).
        hyper_hidden: Width of the hidden layers of TIM's hypernetwork.
        num_layers: Number of the Transformer's layers.
        num_heads: Heads of its attention, a divisor of ``dim``.
        max_len: Number of learned positions.
        ffn_hidden: Width of the hidden layer of its feed-forward network (default: :math:`2 d`).
        dropout: Share of the hidden units of the feed-forward network that is dropped in training.
        chunk: Number of targets that are encoded together; with fewer than all, activations are
            made again in the backward pass (default: all).
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range or not among its choices.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import DTRN, MMoE
        >>> targets = {"cart": "binary", "buy": "binary"}
        >>> bottom = DTRN(8, num_fields=3, targets=targets, behaviours=["views", "carts"])
        >>> head = MMoE(bottom.out_dim, targets)
        >>> mask = torch.tensor([[False, True, True], [False, False, False]])
        >>> sequences = {name: (torch.rand(2, 3, 8), mask) for name in bottom.behaviours}
        >>> x = bottom(torch.rand(2, 3, 8), torch.rand(2, 8), sequences)
        >>> x.shape
        torch.Size([2, 2, 40])
        >>> head(x)["buy"].shape
        torch.Size([2])
    """

    def __init__(
        self,
        dim: int,
        num_fields: int,
        targets: Iterable[str],
        behaviours: Iterable[str],
        tim: bool = True,
        trm: bool = True,
        pooling: str = "target",
        norm_position: str = "post",
        positions: str | None = None,
        granularity: str = "field",
        gate: str = "sigmoid",
        reduction: int | None = None,
        hyper_hidden: int = 64,
        num_layers: int = 1,
        num_heads: int = 2,
        max_len: int = 50,
        ffn_hidden: int | None = None,
        dropout: float = 0.1,
        chunk: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(dim, num_fields, targets, behaviours, generator)
        self.dropout = dropout
        self.tim = TIM(
            dim,
            self.targets,
            self.behaviours,
            conditional=tim,
            pooling=pooling,
            norm_position=norm_position,
            positions=positions,
            max_len=max_len,
            num_layers=num_layers,
            num_heads=num_heads,
            ffn_hidden=ffn_hidden,
            hyper_hidden=hyper_hidden,
            dropout=dropout,
            chunk=chunk,
            generator=self.generator,
        )
        width = num_fields + len(self.behaviours)
        self.trm = (
            TRM(dim, width, self.targets, granularity, gate, reduction, self.generator)
            if trm
            else None
        )

    def forward(
        self, fields: Tensor, target: Tensor, sequences: Mapping[str, tuple[Tensor, Tensor]]
    ) -> Tensor:
        self.check(fields, target, sequences)
        interests = self.tim(target, sequences)  # [K, B, M, d]
        if self.tim.conditional:
            each = fields.expand(len(self.targets), *fields.shape)
            x = torch.cat([each, interests], dim=2)  # [K, B, F + M, d]
        else:
            x = torch.cat([fields, interests[0]], dim=1)  # [B, F + M, d]
        if self.trm is not None:
            x = self.trm(x)  # [K, B, F + M, d]
        x = x.flatten(-2)
        return x.expand(len(self.targets), *x.shape[-2:])  # [K, B, D]

    def add_target(self, name: str, freeze: bool = True) -> "DTRN":
        r"""Returns a copy with one more target, the last, to be learned with little.

        Its embedding begins as the mean of the others, its refinement as that of a new bottom.

        Args:
            name: The target.
            freeze: Whether nothing else is trained any more: all other parameters of the copy want
                no gradient. Only the copy's; the bottom itself stays as it is.

        Raises:
            InputError: If there is such a target.
        """
        if name in self.targets:
            raise InputError(
                f"'name' needs to be a new target in 'DTRN.add_target' (got '{name}', beside"
                f" {', '.join(self.targets)})"
            )
        bottom = copy.deepcopy(self)
        bottom.requires_grad_(not freeze)
        bottom.targets.append(name)
        added = bottom.tim._add_target(name)
        if bottom.trm is not None:
            added += bottom.trm._add_target(name)
        for parameter in added:
            parameter.requires_grad_()
        return bottom

    def reached_by(self, name: str) -> Sequence[str]:
        part, _, rest = name.partition(".")
        if part == "trm" and self.trm is not None:
            return self.trm.reached_by(rest)
        return self.tim.reached_by(rest)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        self.tim.reset_parameters(generator)
        if self.trm is not None:
            self.trm.reset_parameters(generator)

    def extra_repr(self) -> str:
        parts = f"tim={self.tim.conditional}, trm={self.trm is not None}"
        return f"{super().extra_repr()}, {parts}"
