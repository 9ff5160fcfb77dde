from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn import Parameter, ParameterList
from torch.utils.checkpoint import checkpoint

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.bottoms._encode import encode
from pyg_mtrec.nn.bottoms._hypernetwork import Hypernetwork
from pyg_mtrec.nn.bottoms._own import own_parameters
from pyg_mtrec.nn.bottoms._sequences import by_length, check_sequences
from pyg_mtrec.nn.bottoms._transformer import Transformer, last_position
from pyg_mtrec.nn.embedding._seeded import Seeded


class TIM(Seeded):
    r"""Task-specific interests in the manner of `DTRN <https://arxiv.org/abs/2308.05996>`_.

    One Transformer encodes the sequences of all behaviours for all targets. What tells them apart
    are the scales and shifts of its layer norms, which a hypernetwork makes of an embedding of the
    target :math:`\mathbf{t}_k` and one of the behaviour :math:`\mathbf{b}_m`:

    .. math::
        (\boldsymbol{\gamma}, \boldsymbol{\beta})_{k,m,j} = (\mathbf{1}, \mathbf{0}) +
        \mathrm{MLP}_j([\mathbf{t}_k \,\Vert\, \mathbf{b}_m]), \qquad
        \mathrm{CLN}(\mathbf{x}) = \boldsymbol{\gamma} \odot
        \frac{\mathbf{x} - \mathrm{mean}(\mathbf{x})}{\sqrt{\mathrm{var}(\mathbf{x}) + \epsilon}} +
        \boldsymbol{\beta}

    .. math::
        \mathbf{S}' = \mathrm{CLN}_1(\mathbf{S} + \mathrm{MHA}(\mathbf{S})), \qquad
        \mathbf{S}'' = \mathrm{CLN}_2(\mathbf{S}' + \mathrm{FFN}(\mathbf{S}')), \qquad
        \mathbf{u}_{k,m} = \sum_i a_i \mathbf{S}''_i, \quad
        a = \mathrm{softmax}_i \left( \frac{\langle \mathbf{W}_q \mathbf{v}, \mathbf{W}_k
        \mathbf{S}''_i \rangle}{\sqrt{d}} \right)

    where :math:`\mathbf{v}` is the row of the impression's item. The last layers of the
    hypernetwork begin with zeros, so that all targets begin with the same interests. Padding has
    no influence, and a sequence without events gives a vector of zeros. The attention of the first
    layer does not depend on the norms and is made once per behaviour.

    Neither the paper's code nor its full text were at hand. The module is built after descriptions
    by others; what they leave open is an argument.

    Args:
        dim: Width :math:`d` of rows and interests.
        targets: Names of the :math:`K` targets.
        behaviours: Names of the :math:`M` behaviours.
        conditional: Whether norms differ between targets and behaviours. Without it, one plain
            Transformer gives all targets the same interests.
        pooling: ``"target"`` for the weights :math:`a` above; ``"mean"`` for equal weights;
            ``"last"`` for the last event alone.
        norm_position: ``"post"`` as above; ``"pre"`` for
            :math:`\mathbf{S} + \mathrm{MHA}(\mathrm{CLN}_1(\mathbf{S}))` and the same of the FFN.
        positions: :obj:`None`, or ``"learned"`` for a vector per position that is added to rows;
            positions are counted from the newest event.
        max_len: Number of learned positions.
        num_layers: Number of layers.
        num_heads: Heads of the attention, a divisor of ``dim``.
        ffn_hidden: Width of the hidden layer of the FFN (default: :math:`2 d`).
        hyper_hidden: Width of the hidden layers of the hypernetwork.
        dropout: Share of the hidden units of the FFN that is dropped in training.
        chunk: Number of targets that are encoded together. With fewer than all, their activations
            are not kept but made again in the backward pass: memory of ``chunk`` targets for the
            time of one more forward pass (default: all).
        generator: Source of the first weights and of the dropout masks, on the CPU (default:
            seeded with 0).

    Raises:
        InputError: If an argument is out of its range or not among its choices.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import TIM
        >>> tim = TIM(8, targets=["cart", "buy"], behaviours=["views", "carts"])
        >>> mask = torch.tensor([[False, True, True], [False, False, False]])
        >>> sequences = {name: (torch.rand(2, 3, 8), mask) for name in tim.behaviours}
        >>> target = torch.rand(2, 8)
        >>> interests = tim.eval()(target, sequences)
        >>> interests.shape
        torch.Size([2, 2, 2, 8])
        >>> torch.equal(interests[0], interests[1]), interests[:, 1].any()
        (True, tensor(False))
        >>> tim.attention_weights(target, sequences)["views"].sum(-1)
        tensor([[1., 0.],
                [1., 0.]])
    """

    def __init__(
        self,
        dim: int,
        targets: Iterable[str],
        behaviours: Iterable[str],
        conditional: bool = True,
        pooling: str = "target",
        norm_position: str = "post",
        positions: str | None = None,
        max_len: int = 50,
        num_layers: int = 1,
        num_heads: int = 2,
        ffn_hidden: int | None = None,
        hyper_hidden: int = 64,
        dropout: float = 0.1,
        chunk: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        ffn_hidden = 2 * dim if ffn_hidden is None else ffn_hidden
        _arguments.positive("TIM", dim=dim, max_len=max_len, num_layers=num_layers)
        _arguments.positive("TIM", num_heads=num_heads, hyper_hidden=hyper_hidden)
        _arguments.positive("TIM", ffn_hidden=ffn_hidden, chunk=1 if chunk is None else chunk)
        _arguments.divides("TIM", "num_heads", num_heads, "dim", dim)
        _arguments.choice("TIM", "pooling", pooling, ("target", "mean", "last"))
        _arguments.choice("TIM", "norm_position", norm_position, ("post", "pre"))
        if positions not in (None, "learned"):
            raise InputError(
                f"'positions' needs to be None or 'learned' in 'TIM' (got {positions!r})"
            )
        self.dropout = _arguments.share("TIM", dropout)
        self.targets = _arguments.names("TIM", "targets", targets)
        self.behaviours = _arguments.names("TIM", "behaviours", behaviours)
        self.dim, self.conditional, self.pooling, self.chunk = dim, conditional, pooling, chunk
        self.max_len = None if positions is None else max_len
        self.transformer = Transformer(
            dim,
            num_layers,
            num_heads,
            ffn_hidden,
            dropout,
            norm_position,
            pooling,
            self.max_len or 0,
        )
        if conditional:
            self.task_embeddings = ParameterList(
                [Parameter(torch.empty(dim)) for _ in self.targets]
            )
            self.behaviour_embedding = Parameter(torch.empty(len(self.behaviours), dim))
            self.hypernetwork = Hypernetwork(2 * num_layers, 2 * dim, hyper_hidden, dim)
        else:
            self.norm_bias = Parameter(torch.empty(2 * num_layers, 2 * dim))
        self.reset_parameters()

    def forward(self, target: Tensor, sequences: Mapping[str, tuple[Tensor, Tensor]]) -> Tensor:
        r"""Makes the targets' interests.

        Args:
            target: The row :math:`[B, d]` of the impression's item.
            sequences: Behaviour to rows :math:`[B, L, d]`, the newest last, and their mask
                :math:`[B, L]`, true where there is an event. Behaviours may differ in :math:`L`.

        Returns:
            Interests :math:`[K, B, M, d]`.

        Raises:
            InputError: If a behaviour is missing, a tensor has another shape, or a sequence is
                longer than there are learned positions.
        """
        pooled = self._pool(target, sequences, self._seed())
        interests = torch.stack([interest for interest, _ in pooled], dim=2)  # [1 or K, B, M, d]
        return interests.expand(len(self.targets), *interests.shape[1:])

    @torch.no_grad()
    def attention_weights(
        self, target: Tensor, sequences: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        r"""Returns how much of every event is in the targets' interests, without dropout.

        Args:
            target: The row :math:`[B, d]` of the impression's item.
            sequences: Behaviour to rows :math:`[B, L, d]` and their mask :math:`[B, L]`.

        Returns:
            Behaviour to weights :math:`[K, B, L]`, which sum to 1, or to 0 without events.

        Raises:
            InputError: As :meth:`forward`.
        """
        found = {}
        pooled = self._pool(target, sequences, seed=None)
        for behaviour, (_, weights) in zip(self.behaviours, pooled, strict=True):
            mask = sequences[behaviour][1]
            if self.pooling == "last":
                last = last_position(mask)  # [B, 1]
                weights = weights.new_zeros(1, *mask.shape).scatter(2, last[None], weights)
            found[behaviour] = weights.expand(len(self.targets), *mask.shape)
        return found

    def reached_by(self, name: str) -> Sequence[str]:
        r"""Returns the targets whose interests depend on a parameter.

        Args:
            name: The parameter's qualified name.
        """
        kind, _, number = name.partition(".")
        return [self.targets[int(number)]] if kind == "task_embeddings" else self.targets

    def own_parameters(self) -> dict[str, dict[str, Parameter]]:
        r"""Returns the parameters that only one target's interests depend on: its embedding.

        Returns:
            Target to qualified name to parameter.
        """
        return own_parameters(self, self.targets, self.reached_by)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters(generator)
        if self.conditional:
            self.hypernetwork.out_weight.zero_()

    @torch.no_grad()
    def _add_target(self, name: str) -> list[Parameter]:
        r"""Adds a target, whose embedding begins as the mean of the others; returns its own."""
        self.targets.append(name)
        if not self.conditional:
            return []
        self.task_embeddings.append(Parameter(torch.stack(list(self.task_embeddings)).mean(0)))
        return [self.task_embeddings[-1]]

    def _norms(self) -> Tensor:
        r"""Returns what is added to scales of 1 and shifts of 0 [norms, 1 or K, M, 2 d]."""
        count, dim = len(self.behaviours), self.dim
        if not self.conditional:
            return self.norm_bias[:, None, None].expand(-1, 1, count, -1)
        tasks = torch.stack(list(self.task_embeddings))[:, None].expand(-1, count, dim)
        z = torch.cat([tasks, self.behaviour_embedding.expand_as(tasks)], dim=-1)  # [K, M, 2 d]
        return cast("Tensor", self.hypernetwork(z.flatten(0, 1)).unflatten(1, tasks.shape[:2]))

    def _pool(
        self, target: Tensor, sequences: Mapping[str, tuple[Tensor, Tensor]], seed: int | None
    ) -> list[tuple[Tensor, Tensor]]:
        r"""Returns every behaviour's interests [1 or K, B, d] and weights [1 or K, B, L]."""
        self._check(target, sequences)
        norms, query = self._norms(), self.transformer.query(target)
        number = norms.size(1)
        chunk = number if self.chunk is None else self.chunk
        again = chunk < number and torch.is_grad_enabled()
        pooled: dict[int, tuple[Tensor, Tensor]] = {}
        for group, rows, mask in by_length(self.behaviours, sequences):
            visible = mask | ~mask.any(-1, keepdim=True)  # attention to nothing would be NaN
            x = self.transformer.begin(rows, visible)  # [G, B, L, d]
            own_norms = torch.stack([norms[:, :, behaviour] for behaviour in group], dim=2)
            parts = []
            for first in range(0, number, chunk):
                # A seed of its own, so that a part that is made again is the same.
                own = None if seed is None else seed + group[0] * number + first
                part = own_norms[:, first : first + chunk]  # [norms, k, G, 2 d]
                run = partial(encode, self.transformer, x, mask, visible, query, part, own)
                parts.append(_made_again(run) if again else run())
            interests, weights = (torch.cat(part) for part in zip(*parts, strict=True))
            for position, behaviour in enumerate(group):  # of [1 or K, G, B, d] and [.., L]
                pooled[behaviour] = interests[:, position], weights[:, position]
        return [pooled[behaviour] for behaviour in range(len(self.behaviours))]

    def _check(self, target: Tensor, sequences: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        if target.dim() != 2 or target.size(1) != self.dim:
            raise InputError(
                f"'target' needs to have the shape [B, {self.dim}] in 'TIM'"
                f" (got {list(target.shape)})"
            )
        check_sequences("TIM", self.behaviours, target, sequences)
        for behaviour in self.behaviours:
            length = sequences[behaviour][0].size(1)
            if self.max_len is not None and length > self.max_len:
                raise InputError(
                    f"'max_len' needs to be {length} or more in 'TIM', whose positions are learned:"
                    f" '{behaviour}' is of that length (got {self.max_len})"
                )

    def __repr__(self) -> str:
        return (
            f"TIM({self.dim}, targets={self.targets}, behaviours={self.behaviours},"
            f" conditional={self.conditional})"
        )


def _made_again(run: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    r"""Returns what a function returns, which runs once more in the backward pass."""
    return cast(
        "tuple[Tensor, Tensor]", checkpoint(run, use_reentrant=False, preserve_rng_state=False)
    )
