from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.embedding._init import xavier_uniform_


class FieldEmbedding(torch.nn.Module):
    r"""Columns of features to vectors, from one table that all fields share.

    A categorical field owns one row per category. A numeric field owns one row, which is
    multiplied by the standardised value. Every field owns one more row for what is missing:

    .. math::
        \mathbf{x}_f = \begin{cases}
        \mathbf{W}[o_f + c] & \text{category } c \\
        \frac{v - \mu_f}{\sigma_f} \, \mathbf{W}[o_f] & \text{number } v \\
        \mathbf{W}[m_f] & \text{missing}
        \end{cases}

    Missing is a negative category, a category beyond the field's number (never seen in training)
    or a number that is NaN.

    Args:
        num_categories: Number of categories of every categorical field.
        num_numeric: Number of numeric fields.
        dim: Width :math:`d` of the vectors.
        mean: Means :math:`\mu` of the numeric fields over the training rows (default: 0).
        std: Standard deviations :math:`\sigma`; a field that never varies has :math:`\sigma = 0`
            and is only centred (default: 1).
        generator: Source of the first values, drawn from Xavier's uniform law (default: a
            generator seeded with 0).

    Raises:
        InputError: If ``dim`` or a number of categories is not positive, if there is no field, or
            if ``mean`` or ``std`` does not hold one finite number per numeric field.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import FieldEmbedding
        >>> embedding = FieldEmbedding(num_categories=[2, 7], num_numeric=1, dim=4)
        >>> embedding
        FieldEmbedding([2, 7], num_numeric=1, dim=4)
        >>> gender_and_city = torch.tensor([[0, 6], [1, -1], [-1, 3]])
        >>> age = torch.tensor([[0.5], [float("nan")], [-1.2]])
        >>> embedding(gender_and_city, age).shape
        torch.Size([3, 3, 4])
    """

    sizes: Tensor
    offsets: Tensor
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        num_categories: Sequence[int],
        num_numeric: int,
        dim: int,
        mean: Tensor | Sequence[float] | None = None,
        std: Tensor | Sequence[float] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if dim < 1:
            raise InputError(f"'dim' needs to be positive in 'FieldEmbedding' (got {dim})")
        if any(number < 1 for number in num_categories):
            raise InputError(
                "'num_categories' needs to hold positive numbers in 'FieldEmbedding'"
                f" (got {list(num_categories)})"
            )
        if num_numeric < 0 or len(num_categories) + num_numeric == 0:
            raise InputError("'FieldEmbedding' needs at least one field (got none)")
        self.num_categories = list(num_categories)
        self.num_numeric = num_numeric
        self.dim = dim
        sizes = torch.tensor([*num_categories, *[1] * num_numeric])
        ends = (sizes + 1).cumsum(0)  # one more for what is missing
        # Derived from the arguments, so a checkpoint need not hold them.
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("offsets", ends - sizes - 1, persistent=False)
        self.register_buffer("mean", self._statistic("mean", mean, 0.0))
        std = self._statistic("std", std, 1.0)
        self.register_buffer("std", torch.where(std > 0, std, 1.0))
        self.weight = Parameter(torch.empty(int(ends[-1]), dim))
        self.reset_parameters(generator)

    @classmethod
    def from_columns(
        cls,
        categorical: Tensor | None,
        numeric: Tensor | None,
        dim: int,
        generator: torch.Generator | None = None,
    ) -> FieldEmbedding:
        r"""Makes the embedding of a table, with its numbers of categories, means and deviations.

        Args:
            categorical: Categories :math:`[n, F_c]` of the training rows, negative where missing.
            numeric: Numbers :math:`[n, F_n]` of the training rows, NaN where missing.
            dim: Width :math:`d` of the vectors.
            generator: Source of the first values (default: a generator seeded with 0).
        """
        num_categories: list[int] = []
        if categorical is not None and categorical.size(0) > 0:
            num_categories = (categorical.amax(0).clamp(min=0) + 1).tolist()
        elif categorical is not None:
            num_categories = [1] * categorical.size(1)
        if numeric is None:
            return cls(num_categories, 0, dim, generator=generator)
        known = ~numeric.isnan()
        count = known.sum(0).clamp(min=1)
        value = numeric.double()
        mean = torch.where(known, value, 0).sum(0) / count
        std = (torch.where(known, value - mean, 0).square().sum(0) / count).sqrt()
        return cls(num_categories, numeric.size(1), dim, mean, std, generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        r"""Draws the table anew.

        Args:
            generator: Source of randomness (default: a generator seeded with 0).
        """
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        xavier_uniform_(self.weight, generator)

    def forward(self, categorical: Tensor | None = None, numeric: Tensor | None = None) -> Tensor:
        r"""Looks the fields up.

        Args:
            categorical: Categories :math:`[B, F_c]`, left out if there is no such field.
            numeric: Numbers :math:`[B, F_n]`, left out if there is no such field.

        Returns:
            Vectors :math:`[B, F_c + F_n, d]`, categorical fields first.

        Raises:
            InputError: If a column is missing or too many.
        """
        index, scale = self.lookup(categorical, numeric)  # [B, F], [B, F]
        rows = self.weight.index_select(0, index.flatten())  # [B * F, d]
        return rows.view(*index.shape, self.dim) * scale.unsqueeze(-1)

    def lookup(
        self, categorical: Tensor | None = None, numeric: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Returns which rows of the table the fields read, and with which factor.

        Args:
            categorical: Categories :math:`[B, F_c]`.
            numeric: Numbers :math:`[B, F_n]`.

        Returns:
            Row ids :math:`[B, F]` and factors :math:`[B, F]`.
        """
        fields = [
            self._check("categorical", categorical, len(self.num_categories)),
            self._check("numeric", numeric, self.num_numeric),
        ]
        indices, scales = [], []
        if fields[0] is not None:
            code = fields[0].long()
            indices.append(code)
            scales.append(self.weight.new_ones(code.shape))
        if fields[1] is not None:
            value = (fields[1].to(self.mean.dtype) - self.mean) / self.std
            missing = value.isnan()
            indices.append(missing.long())  # the row after the field's own stands for missing
            scales.append(torch.where(missing, 1.0, value).to(self.weight.dtype))
        code = torch.cat(indices, dim=1)  # [B, F]
        known = (code >= 0) & (code < self.sizes)
        return self.offsets + torch.where(known, code, self.sizes), torch.cat(scales, dim=1)

    def _check(self, name: str, column: Tensor | None, number: int) -> Tensor | None:
        found = None if column is None else list(column.shape)
        if (column is None and number > 0) or (
            column is not None and (column.dim() != 2 or column.size(1) != number)
        ):
            raise InputError(
                f"'{name}' needs to have the shape [B, {number}] in 'FieldEmbedding' (got {found})"
            )
        return column if number > 0 else None

    def _statistic(
        self, name: str, value: Tensor | Sequence[float] | None, default: float
    ) -> Tensor:
        if value is None:
            return torch.full((self.num_numeric,), default, dtype=torch.float64)
        out = torch.as_tensor(value, dtype=torch.float64)  # float32 cannot centre a timestamp
        if out.shape != (self.num_numeric,) or not bool(out.isfinite().all()):
            raise InputError(
                f"'{name}' needs to hold {self.num_numeric} finite numbers in 'FieldEmbedding'"
                f" (got {out.tolist()})"
            )
        return out

    def __repr__(self) -> str:
        return (
            f"FieldEmbedding({self.num_categories}, num_numeric={self.num_numeric}, dim={self.dim})"
        )
