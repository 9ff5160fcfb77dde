from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.bottoms import _arguments
from pyg_mtrec.nn.bottoms._own import own_parameters
from pyg_mtrec.nn.bottoms._sequences import check_sequences
from pyg_mtrec.nn.embedding._seeded import Seeded


class Bottom(Seeded, ABC):
    r"""Maps fields and behaviour sequences of impressions to one input of a head per target.

    A field is a vector of an impression: its user's row, its item's, one for each feature. A
    behaviour is a sequence of items, the user's views before the impression for example. All
    vectors are of one width. Every head takes what a bottom returns.

    A bottom without parts of single targets needs ``forward`` alone. Others name them in
    :meth:`reached_by`.

    Args:
        dim: Width :math:`d` of all vectors.
        num_fields: Number of fields :math:`F`.
        targets: Names of the :math:`K` targets in the order of the head's; its mapping of names to
            kinds may be given as it is.
        behaviours: Names of the :math:`M` behaviours.
        generator: Source of the first weights (Xavier's uniform law, zero biases) and of
            everything random in training, which every forward pass draws once. Needs to live on
            the CPU, whatever the device of the input; its state is part of :meth:`state_dict`
            (default: seeded with 0).

    Raises:
        InputError: If ``dim`` or ``num_fields`` is not positive, if there is no target or no
            behaviour or one is named twice, or if ``generator`` does not live on the CPU.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import Bottom
        >>> class Means(Bottom):
        ...     def forward(self, fields, target, sequences):
        ...         self.check(fields, target, sequences)
        ...         means = [  # [B, d] of each behaviour
        ...             (rows * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        ...             for rows, mask in (sequences[name] for name in self.behaviours)
        ...         ]
        ...         x = torch.cat([fields, torch.stack(means, dim=1)], dim=1).flatten(1)
        ...         return x.expand(len(self.targets), *x.shape)
        >>> bottom = Means(4, num_fields=2, targets=["click", "like"], behaviours=["clicks"])
        >>> bottom
        Means(4, num_fields=2, targets=['click', 'like'], behaviours=['clicks'])
        >>> rows, mask = torch.rand(3, 5, 4), torch.ones(3, 5, dtype=torch.bool)
        >>> bottom(torch.rand(3, 2, 4), torch.rand(3, 4), {"clicks": (rows, mask)}).shape
        torch.Size([2, 3, 12])
    """

    def __init__(
        self,
        dim: int,
        num_fields: int,
        targets: Iterable[str],
        behaviours: Iterable[str],
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        name = type(self).__name__
        _arguments.positive(name, dim=dim, num_fields=num_fields)
        self.dim, self.num_fields = dim, num_fields
        self.targets = _arguments.names(name, "targets", targets)
        self.behaviours = _arguments.names(name, "behaviours", behaviours)

    @property
    def out_dim(self) -> int:
        r"""Width :math:`D = (F + M) \cdot d` of the output."""
        return (self.num_fields + len(self.behaviours)) * self.dim

    @abstractmethod
    def forward(
        self, fields: Tensor, target: Tensor, sequences: Mapping[str, tuple[Tensor, Tensor]]
    ) -> Tensor:
        r"""Makes the targets' inputs.

        Args:
            fields: The fields :math:`[B, F, d]`.
            target: The row :math:`[B, d]` of the impression's item.
            sequences: Behaviour to rows :math:`[B, L, d]`, the newest last, and their mask
                :math:`[B, L]`, true where there is an event. Behaviours may differ in :math:`L`.

        Returns:
            One input per target :math:`[K, B, D]`.

        Raises:
            InputError: If a behaviour is missing or a tensor has another shape.
        """

    def reached_by(self, name: str) -> Sequence[str]:
        r"""Returns the targets whose inputs depend on a parameter (here: all of them).

        Args:
            name: The parameter's qualified name.
        """
        return self.targets

    def own_parameters(self) -> dict[str, dict[str, Parameter]]:
        r"""Returns the parameters that only one target's input depends on; all others are shared.

        Only that target's loss reaches them, unless the head passes on to one target what it has
        made of another one's input.

        Returns:
            Target to qualified name to parameter.
        """
        return own_parameters(self, self.targets, self.reached_by)

    def check(
        self, fields: Tensor, target: Tensor, sequences: Mapping[str, tuple[Tensor, Tensor]]
    ) -> None:
        r"""Refuses inputs of other shapes than the bottom was made for.

        Args:
            fields: The fields :math:`[B, F, d]`.
            target: The row :math:`[B, d]` of the impression's item.
            sequences: Behaviour to rows :math:`[B, L, d]` and their mask :math:`[B, L]`.

        Raises:
            InputError: If a behaviour is missing or a tensor has another shape.
        """
        name = type(self).__name__
        if fields.dim() != 3 or fields.shape[1:] != (self.num_fields, self.dim):
            raise InputError(
                f"'fields' needs to have the shape [B, {self.num_fields}, {self.dim}] in '{name}'"
                f" (got {list(fields.shape)})"
            )
        if target.shape != (fields.size(0), self.dim):
            raise InputError(
                f"'target' needs to have the shape [{fields.size(0)}, {self.dim}], a row per"
                f" impression, in '{name}' (got {list(target.shape)})"
            )
        check_sequences(name, self.behaviours, target, sequences)

    def extra_repr(self) -> str:
        return (
            f"{self.dim}, num_fields={self.num_fields}, targets={self.targets},"
            f" behaviours={self.behaviours}"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"
