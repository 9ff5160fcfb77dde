from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter, ParameterList

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.bottoms._own import own_parameters
from pyg_mtrec.nn.embedding._init import xavier_uniform_
from pyg_mtrec.nn.embedding._seeded import Seeded

# The weight of a field is slope * sigmoid(logit) + offset.
_GATES = {"sigmoid": (1.0, 0.0), "2sigmoid": (2.0, 0.0), "residual": (1.0, 1.0)}


class TRM(Seeded):
    r"""Task-specific refinement in the manner of `DTRN <https://arxiv.org/abs/2308.05996>`_.

    For every target, a perceptron that reads all fields weighs every one of them:

    .. math::
        \mathbf{w}_k = \sigma \left( \mathbf{W}_{k,2} \, \mathrm{relu} \left( \mathbf{W}_{k,1}
        \left[ \mathbf{x}_{k,1} \,\Vert\, \dots \,\Vert\, \mathbf{x}_{k,F} \right] +
        \mathbf{c}_{k,1} \right) + \mathbf{c}_{k,2} \right), \qquad
        \tilde{\mathbf{x}}_{k,f} = w_{k,f} \, \mathbf{x}_{k,f}

    The second map begins with zeros, so that all fields of all targets begin with the same weight:
    0.5, 1 with ``gate="2sigmoid"`` and 1.5 with ``gate="residual"``.

    Args:
        dim: Width :math:`d` of a field.
        num_fields: Number of fields :math:`F`, interests included.
        targets: Names of the :math:`K` targets.
        granularity: ``"field"`` for a weight per field, ``"dimension"`` for one per element.
        gate: What a field is multiplied with: ``"sigmoid"`` as above, ``"2sigmoid"`` for
            :math:`2 \mathbf{w}_k`, ``"residual"`` for :math:`\mathbf{1} + \mathbf{w}_k`.
        reduction: Width of the hidden layers (default: :math:`F d / 4`).
        generator: Source of the first weights, on the CPU (default: seeded with 0).

    Raises:
        InputError: If an argument is out of its range or not among its choices.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import TRM
        >>> trm = TRM(8, num_fields=3, targets=["cart", "buy"], gate="2sigmoid")
        >>> x = torch.rand(5, 3, 8)
        >>> refined = trm(x)
        >>> refined.shape
        torch.Size([2, 5, 3, 8])
        >>> torch.equal(refined[1], x)
        True
        >>> trm.gate_weights(x)["buy"].shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        dim: int,
        num_fields: int,
        targets: Iterable[str],
        granularity: str = "field",
        gate: str = "sigmoid",
        reduction: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        _arguments.positive("TRM", dim=dim, num_fields=num_fields)
        self.reduction = max(dim * num_fields // 4, 1) if reduction is None else reduction
        _arguments.positive("TRM", reduction=self.reduction)
        self.dim, self.num_fields = dim, num_fields
        self.targets = _arguments.names("TRM", "targets", targets)
        self.granularity = _arguments.choice(
            "TRM", "granularity", granularity, ("field", "dimension")
        )
        self.gate = _arguments.choice("TRM", "gate", gate, tuple(_GATES))
        number, out = len(self.targets), num_fields * (dim if granularity == "dimension" else 1)
        self.in_weights = _empty(number, self.reduction, num_fields * dim)
        self.in_biases = _empty(number, self.reduction)
        self.out_weights = _empty(number, out, self.reduction)
        self.out_biases = _empty(number, out)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        r"""Refines the fields.

        Args:
            x: Fields :math:`[B, F, d]`, or those of every target :math:`[K, B, F, d]`.

        Returns:
            Refined fields :math:`[K, B, F, d]`.

        Raises:
            InputError: If ``x`` has another shape.
        """
        return x * self._weights(x)

    def gate_weights(self, x: Tensor) -> dict[str, Tensor]:
        r"""Returns what fields are multiplied with.

        Args:
            x: Fields :math:`[B, F, d]`, or those of every target :math:`[K, B, F, d]`.

        Returns:
            Target to factors :math:`[B, F]`, or :math:`[B, F, d]` with
            ``granularity="dimension"``.

        Raises:
            InputError: If ``x`` has another shape.
        """
        weights = self._weights(x)
        weights = weights.squeeze(-1) if self.granularity == "field" else weights
        return dict(zip(self.targets, weights.unbind(0), strict=True))

    def _weights(self, x: Tensor) -> Tensor:
        r"""Returns what fields are multiplied with [K, B, F, 1 or d]."""
        number = len(self.targets)
        if (
            x.dim() not in (3, 4)
            or x.shape[-2:] != (self.num_fields, self.dim)
            or x.shape[:-3] not in ((), (number,))
        ):
            shape = f"B, {self.num_fields}, {self.dim}]"
            raise InputError(
                f"'x' needs to have the shape [{shape} or [{number}, {shape} in 'TRM'"
                f" (got {list(x.shape)})"
            )
        joined = x.flatten(-2)  # [B, F * d] or [K, B, F * d]
        each = joined.unbind(0) if joined.dim() == 3 else [joined] * number
        logits = []
        for own, *parts in zip(
            each, self.in_weights, self.in_biases, self.out_weights, self.out_biases, strict=True
        ):
            in_weight, in_bias, out_weight, out_bias = parts
            hidden = torch.addmm(in_bias, own, in_weight.t()).relu_()  # [B, R]
            logits.append(torch.addmm(out_bias, hidden, out_weight.t()))
        slope, offset = _GATES[self.gate]
        weights = torch.stack(logits).sigmoid() * slope + offset
        size = 1 if self.granularity == "field" else self.dim
        return weights.view(*weights.shape[:-1], self.num_fields, size)

    def reached_by(self, name: str) -> Sequence[str]:
        r"""Returns the targets whose refinement depends on a parameter.

        Args:
            name: The parameter's qualified name.
        """
        return [self.targets[int(name.rpartition(".")[2])]]

    def own_parameters(self) -> dict[str, dict[str, Parameter]]:
        r"""Returns the parameters that only one target's refinement depends on: all, by target.

        Returns:
            Target to qualified name to parameter.
        """
        return own_parameters(self, self.targets, self.reached_by)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        super().reset_parameters(generator)
        for parameter in [*self.in_biases, *self.out_weights, *self.out_biases]:
            parameter.zero_()

    @torch.no_grad()
    def _add_target(self, name: str) -> list[Parameter]:
        r"""Adds a target with a fresh perceptron; returns its own parameters."""
        self.targets.append(name)
        added = []
        for parameters in (self.in_weights, self.in_biases, self.out_weights, self.out_biases):
            parameters.append(Parameter(torch.zeros_like(parameters[0])))
            added.append(parameters[-1])
        xavier_uniform_(added[0], self.generator)
        return added

    def __repr__(self) -> str:
        return (
            f"TRM({self.dim}, num_fields={self.num_fields}, targets={self.targets},"
            f" granularity={self.granularity!r}, gate={self.gate!r})"
        )


def _empty(number: int, *shape: int) -> ParameterList:
    return ParameterList([Parameter(torch.empty(shape)) for _ in range(number)])
