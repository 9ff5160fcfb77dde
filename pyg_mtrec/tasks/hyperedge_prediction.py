from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, EdgeSampler, FullBatch
from pyg_mtrec.loader._label_sampler import LabelSampler
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch
from pyg_mtrec.tasks._losses import bpr_loss, weighted_mean
from pyg_mtrec.tasks._penalty import check_l2, check_reduction, l2_penalty
from pyg_mtrec.tasks.task import Task

NEGATIVES = ("vertices", "labels")


class HyperedgePrediction(Task):
    r"""Tells a hyperedge's vertices from others: the auxiliary pretext task of UPRTH.

    Scores are inner products :math:`s_{ev} = \langle x_e, x_v \rangle` of a hyperedge and a
    vertex, both as the encoder's view of this task has them
    (`UPRTH <https://arxiv.org/abs/2310.13286>`_). An incidence :math:`(v, e)` is ranked either
    above a vertex :math:`n` outside of the hyperedge, drawn uniformly, or above all hyperedges
    :math:`f` that the vertex does not belong to (its other labels):

    .. math::
        \ell_{\mathrm{vertices}} = \log\left(1 + e^{s_{en} - s_{ev}}\right), \qquad
        \ell_{\mathrm{labels}} = \mathrm{mean}_{f \not\ni v}
        \log\left(1 + e^{s_{fv} - s_{ev}}\right)

    .. math::
        L = \frac{1}{B} \sum_b w_b \ell_b + \frac{\lambda}{2} \left(
        \frac{\lVert X_v \rVert_F^2}{N_v} + \frac{\lVert X_e \rVert_F^2}{N_e} \right)

    A loss near :math:`\log 2` has learned nothing. The penalty is taken over the matrices of all
    vertices and hyperedges, or over the rows of the batch where it is not a
    :class:`~pyg_mtrec.loader.FullBatch`.

    Args:
        edge_type: The relation ``(vertex, name, hyperedge)``.
        negatives: ``"vertices"``, or ``"labels"`` for few hyperedges: one product
            :math:`[N_v, N_e]` holds all scores.
        exclude: Whether what is true is no negative: other vertices of the hyperedge, other labels
            of the vertex. The authors count it as negative.
        num_negatives: Independent vertices per incidence, with ``negatives="vertices"``.
        l2: The factor :math:`\lambda \ge 0`.
        reduction: ``"mean"`` over the rows as above, so that the strength does not grow with the
            data, or ``"sum"`` (without :math:`N`), as the authors have it.
        view: Name of the representations' view that the task reads (default: that of its relation
            in :class:`~pyg_mtrec.nn.TaskHypergraphEncoder`, ``" ".join(edge_type)``).

    Raises:
        InputError: If an argument is outside of its range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import HyperedgePrediction
        >>> data = HeteroData()
        >>> data["item"].num_nodes, data["category"].num_nodes = 3, 2
        >>> data["item", "in", "category"].edge_index = torch.tensor([[0, 1, 1], [0, 0, 1]])
        >>> task = HyperedgePrediction(("item", "in", "category"), negatives="labels")
        >>> batch = task.sampler(data, torch.Generator()).full()
        >>> x_dict = {"item": torch.tensor([[2.0], [1.0], [0.0]]), "category": torch.eye(2)[:, :1]}
        >>> task(batch, Representations(x_dict))  # item 1 has both labels, so item 0 counts alone
        tensor(0.0423)
    """

    def __init__(
        self,
        edge_type: EdgeType,
        negatives: str = "vertices",
        exclude: bool = True,
        num_negatives: int = 1,
        l2: float = 0.0,
        reduction: str = "mean",
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, " ".join(edge_type) if view is None else view)
        if negatives not in NEGATIVES:
            raise InputError(
                f"'negatives' needs to be one of {NEGATIVES} in 'HyperedgePrediction'"
                f" (got {negatives!r})"
            )
        if num_negatives < 1:
            raise InputError(
                f"'num_negatives' needs to be positive in 'HyperedgePrediction'"
                f" (got {num_negatives})"
            )
        self.negatives, self.exclude, self.num_negatives = negatives, exclude, num_negatives
        self.l2 = check_l2(l2, "HyperedgePrediction")
        self.reduction = check_reduction(reduction, "HyperedgePrediction")

    @property
    def pair_type(self) -> EdgeType:
        r"""The relation of its batches: from hyperedges to vertices if these are negatives."""
        vertex, name, hyperedge = self.edge_type
        return (
            (hyperedge, f"rev_{name}", vertex) if self.negatives == "vertices" else self.edge_type
        )

    def sampler(self, data: HeteroData, generator: torch.Generator) -> EdgeSampler:
        if self.negatives == "labels":
            return LabelSampler(data, self.edge_type, generator)
        return EdgeSampler(
            data,
            self.edge_type,
            generator,
            self.num_negatives,
            avoid_positives=self.exclude,
            reverse=True,
        )

    def node_ids(self, batch: Batch | HeteroData) -> dict[str, Tensor | None]:
        ids = as_batch(batch, self.pair_type).node_ids()
        if self.negatives == "labels":
            ids[self.edge_type[2]] = None  # all labels are scored
        return ids

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        batch = as_batch(batch, self.pair_type)
        if self.negatives == "vertices":
            loss = bpr_loss(batch, representations, self.view)
        else:
            loss = self._over_labels(batch, representations)
        if self.l2:
            matrix = partial(representations.matrix, task=self.view)
            rows = partial(representations.rows, task=self.view)
            penalty = l2_penalty(self.node_ids(batch), matrix, rows, self.reduction)
            loss = loss + self.l2 * penalty
        return loss

    def _over_labels(self, batch: Batch, representations: Representations) -> Tensor:
        vertex_type, _, label_type = self.edge_type
        vertex, label = batch.pairs()  # [b]
        labels = representations.matrix(label_type, self.view)  # [L, d]
        if isinstance(batch, FullBatch):
            vertices = representations.matrix(vertex_type, self.view)  # [N, d]
            scores = (vertices @ labels.t()).index_select(0, vertex)  # [b, L]
        else:
            scores = representations.rows(vertex_type, vertex, task=self.view) @ labels.t()
        losses = softplus(scores - scores.gather(1, label[:, None]))  # [b, L]
        is_negative = self._is_negative(batch, vertex, label, losses)  # [b, L]
        number = is_negative.sum(dim=1)
        mean = (losses * is_negative).sum(dim=1) / number.clamp(min=1)  # 0 without a negative
        return weighted_mean(mean, batch)

    def _is_negative(self, batch: Batch, vertex: Tensor, label: Tensor, like: Tensor) -> Tensor:
        if not self.exclude:
            return torch.ones_like(like, requires_grad=False).scatter_(1, label[:, None], 0.0)
        if batch.src_known is None:
            raise InputError(
                f"'HyperedgePrediction' over {self.edge_type} needs 'src_known' in the batch to"
                " leave true labels out (found none): take the batches of its own sampler, or"
                " exclude=False"
            )
        return (~batch.src_known.index_select(0, vertex)).to(like.dtype)

    def extra_repr(self) -> str:
        return f"{self.edge_type}, negatives={self.negatives!r}, l2={self.l2}"
