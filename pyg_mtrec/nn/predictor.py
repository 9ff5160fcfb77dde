from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.embedding import FieldEmbedding, NodeEmbedding
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.nn.heads import Head


class _Impressions(Protocol):
    user: Tensor
    item: Tensor
    categorical: Tensor | None
    numeric: Tensor | None


class Predictor(torch.nn.Module):
    r"""Impressions to predictions: rows of users, items and features, side by side, through a head.

    .. math::
        \hat{\mathbf{y}}_b = \mathrm{head}\left( \left[ \mathbf{h}_{u_b} \,\Vert\, \mathbf{h}_{i_b}
        \,\Vert\, \mathbf{x}_{b,1} \,\Vert\, \dots \,\Vert\, \mathbf{x}_{b,F} \right] \right)

    where :math:`\mathbf{h}` are rows of the node tables, or what an encoder such as
    :class:`LightGCN` makes of them, and :math:`\mathbf{x}_{b,f}` are the vectors of the features.

    Args:
        head: Maps the joined rows to one prediction per target.
        embedding: Tables of users and items (default: none, ids are no features).
        fields: Table of the features (default: none).
        encoder: Propagates the node tables (default: none, rows are taken as they are).

    Raises:
        InputError: If there is neither ``embedding`` nor ``fields``, or the head was made for
            inputs of another width.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Impressions
        >>> from pyg_mtrec.nn import FieldEmbedding, NodeEmbedding, Predictor, SharedBottom
        >>> embedding = NodeEmbedding({"user": 3, "item": 4}, dim=8)
        >>> fields = FieldEmbedding(num_categories=[5], num_numeric=1, dim=8)
        >>> targets = {"click": "binary", "watch_time": "continuous"}
        >>> width = Predictor.width(embedding, fields)
        >>> model = Predictor(SharedBottom(width, targets), embedding, fields).eval()
        >>> batch = Impressions(
        ...     user=torch.tensor([0, 2]),
        ...     item=torch.tensor([3, 3]),
        ...     label=torch.zeros(2, 2),
        ...     categorical=torch.tensor([[4], [-1]]),
        ...     numeric=torch.tensor([[0.5], [float("nan")]]),
        ...     index=torch.tensor([0, 1]),
        ... )
        >>> {name: tuple(out.shape) for name, out in model(batch).items()}
        {'click': (2,), 'watch_time': (2,)}
    """

    def __init__(
        self,
        head: Head,
        embedding: NodeEmbedding | None = None,
        fields: FieldEmbedding | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        super().__init__()
        width = self.width(embedding, fields, encoder)
        if head.in_dim != width:
            raise InputError(
                f"the head of 'Predictor' needs 'in_dim' {width}, the width of its rows"
                f" (got {head.in_dim})"
            )
        self.head, self.embedding, self.fields, self.encoder = head, embedding, fields, encoder

    @staticmethod
    def width(
        embedding: NodeEmbedding | None = None,
        fields: FieldEmbedding | None = None,
        encoder: Encoder | None = None,
    ) -> int:
        r"""Returns the width of a head's input.

        Args:
            embedding: Tables of users and items.
            fields: Table of the features.
            encoder: Propagates the node tables.
        """
        if embedding is None and fields is None:
            raise InputError("'Predictor' needs 'embedding' or 'fields' (got neither)")
        width = 0
        if embedding is not None:
            dim = embedding.dim if encoder is None else encoder.out_dim(embedding.dim)
            width += 2 * dim
        if fields is not None:
            width += (len(fields.num_categories) + fields.num_numeric) * fields.dim
        return width

    @property
    def tables(self) -> dict[str, torch.nn.Parameter]:
        r"""The embedding tables: one per node type, and ``fields``."""
        tables = {} if self.embedding is None else dict(self.embedding.weight_dict.items())
        if self.fields is not None:
            tables["fields"] = self.fields.weight
        return tables

    def represent(self, adj_dict: Mapping[Any, Any] | None = None) -> dict[str, Tensor]:
        r"""Returns all rows that impressions may look up, by table.

        Args:
            adj_dict: Relation to operator, for an encoder that propagates.
        """
        rows: dict[str, Tensor] = dict(self.tables)
        if self.embedding is not None and self.encoder is not None:
            rows |= self.encoder(self.embedding(), adj_dict or {}).x_dict
        return rows

    def look_up(self, batch: _Impressions) -> dict[str, tuple[Tensor, Tensor | None]]:
        r"""Returns which rows a batch reads: table to row ids and factors.

        Args:
            batch: Impressions.

        Returns:
            Row ids :math:`[B]` of users and items; row ids and factors :math:`[B, F]` of fields.
        """
        found: dict[str, tuple[Tensor, Tensor | None]] = {}
        if self.embedding is not None:
            found = {"user": (batch.user, None), "item": (batch.item, None)}
        if self.fields is not None:
            found["fields"] = self.fields.lookup(batch.categorical, batch.numeric)
        return found

    def join(self, rows: Mapping[str, Tensor], factors: Tensor | None) -> Tensor:
        r"""Puts the rows of a batch side by side.

        Args:
            rows: Rows :math:`[B, d]` of users and items, :math:`[B, F, d]` of fields.
            factors: Factors :math:`[B, F]` of fields.

        Returns:
            The input of the head :math:`[B, D]`.
        """
        parts = [rows[name] for name in ("user", "item") if name in rows]
        if "fields" in rows:
            assert factors is not None
            parts.append((rows["fields"] * factors.unsqueeze(-1)).flatten(1))  # [B, F * d]
        return torch.cat(parts, dim=1)

    def forward(
        self, batch: _Impressions, adj_dict: Mapping[Any, Any] | None = None
    ) -> dict[str, Tensor]:
        r"""Predicts all targets.

        Args:
            batch: Impressions, of an :class:`~pyg_mtrec.loader.ImpressionLoader` as a rule.
            adj_dict: Relation to operator, for an encoder that propagates.

        Returns:
            Target to prediction :math:`[B]`: a logit of a binary target, a standardised value of a
            continuous one.
        """
        return self.predict_from(self.represent(adj_dict), batch)

    def predict_from(self, rows: Mapping[str, Tensor], batch: _Impressions) -> dict[str, Tensor]:
        r"""Predicts from rows that were made before, as for many batches of one evaluation.

        Args:
            rows: What :meth:`represent` returned.
            batch: Impressions.
        """
        wanted = self.look_up(batch)
        own = {name: rows[name][ids] for name, (ids, _) in wanted.items()}
        factors = wanted["fields"][1] if "fields" in wanted else None
        predictions: dict[str, Tensor] = self.head(self.join(own, factors))
        return predictions
