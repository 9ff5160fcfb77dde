from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.embedding._seeded import Seeded


class Head(Seeded, ABC):
    r"""Maps inputs to one prediction per target: discrete and continuous ones together.

    A prediction of a binary target is a logit, that of a continuous one a number in whatever units
    the loss is taken. The order of the targets is that of the chain for heads that have one.

    A head without parts that only one target reaches needs ``forward`` alone. It calls
    :meth:`begin` first, and names parts of single targets in :meth:`reached_by`.

    Args:
        in_dim: Width :math:`D` of the input.
        targets: Name to kind, ``"binary"`` or ``"continuous"``, in order.
        generator: Source of the first weights (Xavier's uniform law, zero biases) and of
            everything random in training, which every forward pass draws once. Needs to live on
            the CPU, whatever the device of the input; its state is part of :meth:`state_dict`
            (default: seeded with 0).

    Raises:
        InputError: If ``in_dim`` is not positive, if there is no target, if a kind is none of the
            two, or if ``generator`` does not live on the CPU.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import Head
        >>> class Linear(Head):
        ...     def __init__(self, in_dim, targets, generator=None):
        ...         super().__init__(in_dim, targets, generator)
        ...         self.weight = torch.nn.Parameter(torch.empty(len(targets), in_dim))
        ...         self.reset_parameters()
        ...     def forward(self, x):
        ...         inputs, _ = self.begin(x)
        ...         return {t: x @ w for t, x, w in zip(self.targets, inputs, self.weight)}
        >>> head = Linear(4, {"click": "binary", "watch_time": "continuous"})
        >>> head
        Linear(4, click: binary, watch_time: continuous)
        >>> head(torch.zeros(3, 4))["click"]
        tensor([0., 0., 0.], grad_fn=...)
    """

    def __init__(
        self, in_dim: int, targets: Mapping[str, str], generator: torch.Generator | None = None
    ) -> None:
        super().__init__(generator)
        name = type(self).__name__
        if in_dim < 1:
            raise InputError(f"'in_dim' needs to be positive in '{name}' (got {in_dim})")
        if not targets:
            raise InputError(f"'targets' needs to hold at least one target in '{name}' (got none)")
        for target, kind in targets.items():
            if kind not in ("binary", "continuous"):
                raise InputError(
                    f"the kind of '{target}' needs to be 'binary' or 'continuous' in '{name}'"
                    f" (got {kind!r})"
                )
        self.in_dim = in_dim
        self.targets = dict(targets)

    @abstractmethod
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        r"""Predicts all targets.

        Args:
            x: Input :math:`[B, D]`, or one input per target :math:`[K, B, D]`.

        Returns:
            Target to prediction :math:`[B]`.

        Raises:
            InputError: If ``x`` has another shape.
        """

    def penalties(self, predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        r"""Returns what is added to the losses of some targets: a scalar each.

        Args:
            predictions: What :meth:`forward` returned.
        """
        return {}

    def reached_by(self, name: str) -> Sequence[str]:
        r"""Returns the targets whose losses reach a parameter (here: all of them).

        Args:
            name: The parameter's qualified name.
        """
        return list(self.targets)

    def read_by(self, target: str) -> Sequence[str]:
        r"""Returns the targets whose losses reach a target's input, where each has one of its own.

        Args:
            target: The target whose input it is (here: that target alone).
        """
        return [target]

    def own_parameters(self) -> dict[str, dict[str, Parameter]]:
        r"""Returns the parameters that only one target's loss reaches; all others are shared.

        Returns:
            Target to qualified name to parameter.
        """
        own: dict[str, dict[str, Parameter]] = {target: {} for target in self.targets}
        for name, parameter in self.named_parameters():
            reached = self.reached_by(name)
            if len(reached) == 1:
                own[reached[0]][name] = parameter
        return own

    def check(self, x: Tensor) -> None:
        r"""Refuses an input of another shape than the head was made for.

        Args:
            x: Input :math:`[B, D]`, or one input per target :math:`[K, B, D]`.

        Raises:
            InputError: If ``x`` has another shape.
        """
        number = len(self.targets)
        if (
            x.dim() not in (2, 3)
            or x.shape[-1] != self.in_dim
            or x.shape[:-2] not in ((), (number,))
        ):
            raise InputError(
                f"'x' needs to have the shape [B, {self.in_dim}] or [{number}, B, {self.in_dim}],"
                f" one input per target, in '{type(self).__name__}' (got {list(x.shape)})"
            )

    def begin(self, x: Tensor) -> tuple[list[Tensor], torch.Generator | None]:
        r"""Begins a forward pass.

        Args:
            x: Input :math:`[B, D]`, or one input per target :math:`[K, B, D]`.

        Returns:
            The input :math:`[B, D]` of every target, and the source of everything random in this
            pass, on the input's device: :obj:`None` where nothing is.

        Raises:
            InputError: If ``x`` has another shape.
        """
        self.check(x)
        inputs = list(x.unbind(0)) if x.dim() == 3 else [x] * len(self.targets)
        seed = self._seed()
        return inputs, None if seed is None else torch.Generator(x.device).manual_seed(seed)

    def __repr__(self) -> str:
        parts = [str(self.in_dim), *(f"{target}: {kind}" for target, kind in self.targets.items())]
        if self.extra_repr():
            parts.append(self.extra_repr())
        return f"{type(self).__name__}({', '.join(parts)})"
