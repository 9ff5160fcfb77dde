import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.loader import Batch, EdgeSampler, FullBatch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch
from pyg_mtrec.tasks._full_losses import full_alignment_loss
from pyg_mtrec.tasks._losses import weighted_mean
from pyg_mtrec.tasks._penalty import check_l2, check_reduction, l2_penalty, tables_of
from pyg_mtrec.tasks.task import Task


class Alignment(Task):
    r"""Pulls interacting pairs together: the main pretext task of UPRTH.

    `UPRTH <https://arxiv.org/abs/2310.13286>`_ pretrains with it, without negatives and without
    normalising rows:

    .. math::
        L = \frac{1}{B} \sum_b w_b \lVert x_u - x_i \rVert^2
        + \frac{\lambda}{2} \left( \frac{\lVert E_u \rVert_F^2}{N_u}
        + \frac{\lVert E_i \rVert_F^2}{N_i} \right)

    with the embedding tables :math:`E`. Alone it is solved by zero: other tasks have to resist,
    and it says nothing about when to stop. The tables' penalty needs all of their rows, so it is
    that of the rows of the batch unless the batch is a :class:`~pyg_mtrec.loader.FullBatch`.

    Args:
        edge_type: The relation ``(source, name, destination)``.
        l2: The factor :math:`\lambda \ge 0`.
        reduction: ``"mean"`` over the rows of a table as above, so that the strength does not
            grow with the data, or ``"sum"`` (without :math:`N`), as the authors have it.
        anchored: Whether, as an auxiliary task, it takes the main task's edges or streams its own.
        view: Name of the representations' view that the task reads.

    Raises:
        InputError: If ``l2`` is negative or ``reduction`` is neither of the two.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Batch
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import Alignment
        >>> zero = torch.tensor([0])
        >>> batch = Batch(("user", "interacts", "item"), 1, zero, zero)
        >>> x_dict = {"user": torch.tensor([[1.0, 2.0]]), "item": torch.tensor([[0.0, 0.0]])}
        >>> Alignment()(batch, Representations(x_dict))
        tensor(5.)
    """

    def __init__(
        self,
        edge_type: EdgeType = ("user", "interacts", "item"),
        l2: float = 0.0,
        reduction: str = "mean",
        anchored: bool = True,
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, view)
        self.l2, self.anchored = check_l2(l2, "Alignment"), anchored
        self.reduction = check_reduction(reduction, "Alignment")

    def sampler(self, data: HeteroData, generator: torch.Generator) -> EdgeSampler:
        return EdgeSampler(data, self.edge_type, generator, num_negatives=0, anchored=self.anchored)

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        batch = as_batch(batch, self.edge_type)
        src_type, _, dst_type = batch.edge_type
        if isinstance(batch, FullBatch):
            loss = full_alignment_loss(
                representations.matrix(src_type, self.view),  # [S, d]
                representations.matrix(dst_type, self.view),  # [D, d]
                batch,
            )
        else:
            src_ids, dst_ids = batch.pairs()
            src = representations.rows(src_type, src_ids, task=self.view)  # [b, d]
            dst = representations.rows(dst_type, dst_ids, task=self.view)  # [b, d]
            loss = weighted_mean((src - dst).square().sum(dim=-1), batch)
        if self.l2:
            tables = tables_of(representations, "Alignment")
            loss = loss + self.l2 * l2_penalty(batch.node_ids(), *tables, self.reduction)
        return loss

    def extra_repr(self) -> str:
        return f"{self.edge_type}, l2={self.l2}, reduction={self.reduction!r}"
