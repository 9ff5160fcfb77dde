from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass
class LookUp:
    r"""What a batch reads of the tables.

    Args:
        ids: Table to row ids :math:`[n]`; of fields :math:`[B \cdot F]`.
        factors: Factors :math:`[B, F]` of the fields' rows.
    """

    ids: dict[str, Tensor]
    factors: Tensor | None = None


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

    def look_up(self, batch: _Impressions) -> LookUp:
        r"""Returns which rows a batch reads.

        Args:
            batch: Impressions.
        """
        ids: dict[str, Tensor] = {}
        if self.embedding is not None:
            ids = {"user": batch.user, "item": batch.item}
        if self.fields is None:
            return LookUp(ids)
        found, factors = self.fields.lookup(batch.categorical, batch.numeric)  # [B, F] each
        return LookUp({**ids, "fields": found.reshape(-1)}, factors)

    def join(self, rows: Mapping[str, Tensor], found: LookUp) -> Tensor:
        r"""Puts the rows of a batch side by side.

        Args:
            rows: Table to the rows :math:`[n, d]` that were looked up.
            found: What :meth:`look_up` returned.

        Returns:
            The input of the head :math:`[B, D]`.
        """
        parts = [rows[name] for name in ("user", "item") if name in rows]
        if found.factors is not None:
            fields = rows["fields"].view(*found.factors.shape, -1)  # [B, F, d]
            parts.append((fields * found.factors.unsqueeze(-1)).flatten(1))  # [B, F * d]
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
        found = self.look_up(batch)
        own = {name: rows[name].index_select(0, ids) for name, ids in found.ids.items()}
        predictions: dict[str, Tensor] = self.head(self.join(own, found))
        return predictions
