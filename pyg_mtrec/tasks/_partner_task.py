from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch
from pyg_mtrec.tasks._losses import bce_loss, bpr_loss, check_loss
from pyg_mtrec.tasks.task import Task


class PartnerTask(Task):
    r"""Ranks a node's partner above nodes that are none; what a partner is, the sampler says."""

    def __init__(
        self,
        edge_type: EdgeType,
        loss: str = "bpr",
        anchored: bool = True,
        num_negatives: int = 1,
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, view)
        name = type(self).__name__
        if num_negatives < 1:
            raise InputError(
                f"'num_negatives' needs to be positive in {name!r} (got {num_negatives})"
            )
        self.loss = check_loss(loss, name)
        self.anchored, self.num_negatives = anchored, num_negatives

    @property
    def pair_type(self) -> EdgeType:
        r"""The relation of its batches."""
        return self.edge_type

    def node_ids(self, batch: Batch | HeteroData) -> dict[str, Tensor | None]:
        return as_batch(batch, self.pair_type).node_ids()

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        batch = as_batch(batch, self.pair_type)
        loss = bpr_loss if self.loss == "bpr" else bce_loss
        return loss(batch, representations, self.view)

    def extra_repr(self) -> str:
        return f"{self.edge_type}, loss={self.loss!r}, anchored={self.anchored}"
