from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn._look_up import LookUp
from pyg_mtrec.nn.bottoms import Bottom
from pyg_mtrec.nn.embedding import FieldEmbedding, NodeEmbedding
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.nn.heads import Head


class _Impressions(Protocol):
    user: Tensor
    item: Tensor
    categorical: Tensor | None
    numeric: Tensor | None
    sequences: dict[str, Tensor] | None


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
        bottom: Makes an input of its own for every target, from the rows and from the items that
            the user came across before (default: none, all targets read the same).

    Raises:
        InputError: If there is neither ``embedding`` nor ``fields``, the head was made for inputs
            of another width or the bottom for other rows or targets.

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
        bottom: Bottom | None = None,
    ) -> None:
        super().__init__()
        width = self.width(embedding, fields, encoder)
        if bottom is not None:
            _check_bottom(bottom, head, self.shape(embedding, fields, encoder))
            width = bottom.out_dim
        if head.in_dim != width:
            raise InputError(
                f"the head of 'Predictor' needs 'in_dim' {width}, the width of its rows"
                f" (got {head.in_dim})"
            )
        self.head, self.embedding, self.fields, self.encoder = head, embedding, fields, encoder
        self.bottom = bottom

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

    @staticmethod
    def shape(
        embedding: NodeEmbedding | None,
        fields: FieldEmbedding | None,
        encoder: Encoder | None = None,
    ) -> tuple[int, int]:
        r"""Returns how many rows a bottom gets of an impression, and how wide they are.

        Args:
            embedding: Tables of users and items.
            fields: Table of the features.
            encoder: Propagates the node tables.

        Raises:
            InputError: If there is no row of the item, or features have another width.
        """
        if embedding is None:
            raise InputError("a bottom of 'Predictor' reads items: pass 'embedding' (got none)")
        dim = embedding.dim if encoder is None else encoder.out_dim(embedding.dim)
        if fields is not None and fields.dim != dim:
            raise InputError(
                f"a bottom of 'Predictor' needs rows of one width (got {dim} of nodes and"
                f" {fields.dim} of features)"
            )
        num_fields = 0 if fields is None else len(fields.num_categories) + fields.num_numeric
        return 2 + num_fields, dim

    @property
    def tables(self) -> dict[str, torch.nn.Parameter]:
        r"""The embedding tables: one per node type, and ``fields``."""
        tables = {} if self.embedding is None else dict(self.embedding.weight_dict.items())
        if self.fields is not None:
            tables["fields"] = self.fields.weight
        return tables

    def own_parameters(self) -> dict[str, dict[str, torch.nn.Parameter]]:
        r"""Returns the parameters outside the tables that only one target's loss reaches.

        Returns:
            Target to qualified name to parameter.
        """
        own = self.head.own_parameters()
        found = {
            target: {f"head.{name}": parameter for name, parameter in named.items()}
            for target, named in own.items()
        }
        below = {} if self.bottom is None else self.bottom.own_parameters()
        for target, named in below.items():
            if list(self.head.read_by(target)) == [target]:  # the head keeps its input to it
                found[target] |= {f"bottom.{name}": p for name, p in named.items()}
        return found

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
        masks: dict[str, Tensor] = {}
        if self.bottom is not None:
            events = _events(self.bottom, batch)
            masks = {name: items >= 0 for name, items in events.items()}
            # Row 0 stands in for padding, whose mask keeps it from being read.
            ids["item"] = torch.cat(
                [batch.item, *(x.clamp(min=0).view(-1) for x in events.values())]
            )
        if self.fields is None:
            return LookUp(ids, None, masks)
        found, factors = self.fields.lookup(batch.categorical, batch.numeric)  # [B, F] each
        return LookUp({**ids, "fields": found.reshape(-1)}, factors, masks)

    def join(self, rows: Mapping[str, Tensor], found: LookUp) -> Tensor:
        r"""Puts the rows of a batch side by side.

        Args:
            rows: Table to the rows :math:`[n, d]` that were looked up.
            found: What :meth:`look_up` returned.

        Returns:
            The input of the head :math:`[B, D]`, or one per target :math:`[K, B, D]`.
        """
        fields = None
        if found.factors is not None:
            fields = rows["fields"].view(*found.factors.shape, -1)  # [B, F, d]
            fields = fields * found.factors.unsqueeze(-1)
        if self.bottom is None:
            parts = [rows[name] for name in ("user", "item") if name in rows]
            return torch.cat(parts if fields is None else [*parts, fields.flatten(1)], dim=1)
        size = rows["user"].size(0)
        sizes = [size, *(mask.numel() for mask in found.masks.values())]
        item, *events = rows["item"].split(sizes)
        sequences = {
            name: (part.view(*mask.shape, -1), mask)  # [B, L, d], [B, L]
            for (name, mask), part in zip(found.masks.items(), events, strict=True)
        }
        nodes = torch.stack([rows["user"], item], dim=1)  # [B, 2, d]
        joined = nodes if fields is None else torch.cat([nodes, fields], dim=1)  # [B, 2 + F, d]
        inputs: Tensor = self.bottom(joined, item, sequences)
        return inputs

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


def _events(bottom: Bottom, batch: _Impressions) -> dict[str, Tensor]:
    r"""Returns the items of the behaviours that a bottom reads, -1 where there is none."""
    held = batch.sequences or {}
    missing = [name for name in bottom.behaviours if name not in held]
    if missing:
        raise InputError(
            f"the bottom reads '{missing[0]}', which these impressions lack (they have"
            f" {', '.join(held) or 'no sequences'}): give 'ImpressionLoader' the 'sequences'"
        )
    return {name: held[name] for name in bottom.behaviours}


def _check_bottom(bottom: Bottom, head: Head, shape: tuple[int, int]) -> None:
    if (bottom.num_fields, bottom.dim) != shape:
        raise InputError(
            f"the bottom of 'Predictor' needs 'num_fields' {shape[0]} and 'dim' {shape[1]}, the"
            f" rows that it gets (got {bottom.num_fields} and {bottom.dim})"
        )
    if list(bottom.targets) != list(head.targets):
        raise InputError(
            f"the bottom of 'Predictor' needs the head's targets, {', '.join(head.targets)}"
            f" (got {', '.join(bottom.targets)})"
        )
