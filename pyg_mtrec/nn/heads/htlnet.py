from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import ModuleList

from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.heads._fusion import KINDS, Fusion
from pyg_mtrec.nn.heads._label_embedding import LabelEmbedding
from pyg_mtrec.nn.heads._mlp import MLP
from pyg_mtrec.nn.heads._relaxed_label import RelaxedLabel
from pyg_mtrec.nn.heads.head import Head

STOPS = ("inputs", "leu_output", "none")


class HTLNet(Head):
    r"""`HTLNet <https://arxiv.org/abs/2403.17442>`_: discrete targets help a continuous one.

    A tower per target reads the input and what all binary targets before it have found out: the
    first hidden layer :math:`\mathbf{r}` of their towers, and their label as a vector, a row of a
    table for each of the two labels, mixed by a sample of the predicted probability:

    .. math::
        \mathbf{l}_t = \pi_t \mathbf{E}_{t,1} + (1 - \pi_t) \mathbf{E}_{t,0}, \qquad
        \pi_t = \sigma \left( \frac{\hat{y}_t + g_1 - g_0}{\tau} \right), \qquad
        g_1, g_0 \sim \mathrm{Gumbel}

    .. math::
        \hat{y}_t = \mathrm{tower}_t \left( \mathrm{fuse}(\mathbf{r}_{<t}) \,\Vert\,
        \mathrm{fuse}(\mathbf{l}_{<t}) \,\Vert\, \mathbf{x} \right), \qquad
        \mathrm{fuse}(\mathbf{v}) = \sum_s w_s \mathbf{H}_1 \mathbf{v}_s, \quad
        w = \mathrm{softmax}_s \left( \frac{\langle \mathbf{H}_2 \mathbf{v}_s, \mathbf{H}_3
        \mathbf{v}_s \rangle}{\sqrt{d}} \right)

    Samples are drawn once per forward pass, in training alone: in evaluation :math:`\pi_t =
    \sigma(\hat{y}_t)`. The temperature falls from step to step of training,
    :math:`\tau = \max(\tau_0 \, \gamma^{\lfloor \text{step} / n \rfloor}, \tau_{\min})`.
    No gradient goes back into earlier towers, so that the targets meet in the input alone.

    No code was ever released, and the paper leaves points open; each is an argument. The head is
    built after descriptions by others. A target after the chain may be binary too, there may be
    several, or none of the targets may be binary. Continuous targets pass nothing on.

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind: the chain of binary targets in order, then continuous ones.
        tower: Widths of a tower's hidden layers; the first one is that of :math:`\mathbf{r}`.
        fusion_dim: Width :math:`d` of what is fused.
        label_dim: Width of the label tables.
        fusion: ``"attention"``; ``"mean"`` for equal weights :math:`w`; ``"concat"`` for all
            :math:`\mathbf{v}_s` side by side, without maps.
        label_embedding: Whether labels are passed on, or only :math:`\mathbf{r}`.
        stop_gradient: Where what is passed on is cut off. ``"inputs"``: logits before the label
            table and :math:`\mathbf{r}` before the fusion, so that tables and fusions learn from
            the later target. ``"leu_output"``: also the label vectors, so that the tables keep
            their first values. ``"none"``: nowhere.
        gumbel: Whether there is noise in training. Without it :math:`\pi_t = \sigma(\hat{y}_t /
            \tau)`, in evaluation too.
        temperature: The first temperature :math:`\tau_0`.
        temperature_decay: The factor :math:`\gamma`, in (0, 1].
        temperature_every: Forward passes in training :math:`n` between two decays.
        temperature_floor: The lowest temperature :math:`\tau_{\min}`.
        dropout: Share of hidden units that is dropped in training.
        generator: Source of the first weights, the dropout masks and the noise, on the CPU
            (default: seeded with 0).

    Raises:
        InputError: If an argument is out of its range or not among its choices, or if a continuous
            target comes before a binary one.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import HTLNet
        >>> targets = {"click": "binary", "long_view": "binary", "watch_time": "continuous"}
        >>> head = HTLNet(8, targets)
        >>> out = head(torch.rand(5, 8))
        >>> out["watch_time"].shape
        torch.Size([5])
        >>> out["watch_time"].sum().backward()
        >>> head.towers[0].weights[0].grad is None
        True
        >>> head.label_embeddings[0].weight.grad is None
        False
    """

    def __init__(
        self,
        in_dim: int,
        targets: Mapping[str, str],
        tower: Sequence[int] = (128, 64, 32),
        fusion_dim: int = 128,
        label_dim: int = 10,
        fusion: str = "attention",
        label_embedding: bool = True,
        stop_gradient: str = "inputs",
        gumbel: bool = True,
        temperature: float = 10.0,
        temperature_decay: float = 0.9,
        temperature_every: int = 5000,
        temperature_floor: float = 0.5,
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_dim, targets, generator)
        # The last target has nobody to pass anything on to, whatever its kind.
        self.num_senders = min(_arguments.chain("HTLNet", targets, least=0), len(targets) - 1)
        tower = _arguments.widths("HTLNet", "tower", tower)
        _arguments.positive("HTLNet", fusion_dim=fusion_dim, label_dim=label_dim)
        self.fusion = _arguments.choice("HTLNet", "fusion", fusion, KINDS)
        self.stop_gradient = _arguments.choice("HTLNet", "stop_gradient", stop_gradient, STOPS)
        self.dropout = _arguments.share("HTLNet", dropout)
        self.label_embedding = label_embedding
        self.relaxed_label = RelaxedLabel(
            gumbel, temperature, temperature_decay, temperature_every, temperature_floor
        )
        self.label_embeddings = ModuleList(
            LabelEmbedding(label_dim, frozen=stop_gradient == "leu_output")
            for _ in range(self.num_senders if label_embedding else 0)
        )
        widths = [tower[0], label_dim] if label_embedding else [tower[0]]
        self.fusions = ModuleList()
        for number in range(len(targets)):  # the target's number is also how many precede it
            senders = min(number, self.num_senders)
            kinds = widths if senders > 0 else []
            self.fusions.append(
                ModuleList(Fusion(senders, width, fusion_dim, fusion) for width in kinds)
            )
        self.towers = ModuleList(
            MLP(sum(self._fused_dims(number)) + in_dim, tower, dropout, output=True)
            for number in range(len(targets))
        )
        self.reset_parameters()

    @property
    def temperature(self) -> Tensor:
        r"""The temperature of the next forward pass in training, a scalar."""
        return self.relaxed_label.temperature

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        inputs, draws = self.begin(x)
        out: dict[str, Tensor] = {}
        passed: list[list[Tensor]] = [[], []]  # representations [B, H] and labels [B, L]
        for number, target in enumerate(self.targets):
            tower = cast("MLP", self.towers[number])
            dims = [*self._fused_dims(number), self.in_dim]
            *weights, weight = tower.weights[0].split(dims, dim=1)
            parts = [(inputs[number], weight)]
            for fuse, part, weight in zip(self._fusions(number), passed, weights, strict=False):
                parts += fuse.mapped(part, weight)
            representation = tower.hidden(parts, tower.biases[0], draws)  # [B, H]
            out[target] = tower(representation, draws, first=1)  # [B]
            if number < self.num_senders:
                passed[0].append(self._cut(representation))
                if self.label_embedding:
                    label = self.relaxed_label(self._cut(out[target]), draws)  # [B]
                    passed[1].append(self.label_embeddings[number](label))
        if self.training:
            self.relaxed_label.steps += 1
        return out

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters(generator)
        self.relaxed_label.steps.zero_()

    def reached_by(self, name: str) -> list[str]:
        kind, index, *rest = name.split(".")
        targets, number = list(self.targets), int(index)
        if kind == "label_embeddings":
            return targets[number + 1 :]
        passes = self.stop_gradient == "none" and number < self.num_senders
        if passes and kind == "towers" and not self.label_embedding:
            passes = rest[1] == "0"  # what follows the representation is not passed on
        return targets[number:] if passes else [targets[number]]

    def read_by(self, target: str) -> list[str]:
        targets = list(self.targets)
        number = targets.index(target)
        passes = self.stop_gradient == "none" and number < self.num_senders
        return targets[number:] if passes else [target]

    def _fusions(self, number: int) -> Sequence[Fusion]:
        return cast("Sequence[Fusion]", self.fusions[number])

    def _fused_dims(self, number: int) -> list[int]:
        return [fusion.out_dim for fusion in self._fusions(number)]

    def _cut(self, x: Tensor) -> Tensor:
        return x if self.stop_gradient == "none" else x.detach()

    def _is_random(self) -> bool:
        noisy = self.relaxed_label.gumbel and len(self.label_embeddings) > 0
        return self.dropout > 0 or noisy

    def extra_repr(self) -> str:
        return f"fusion={self.fusion!r}, stop_gradient={self.stop_gradient!r}"
