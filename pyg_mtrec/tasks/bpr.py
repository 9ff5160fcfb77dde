import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, EdgeSampler
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch
from pyg_mtrec.tasks._losses import as_columns, bpr_loss, weighted_mean
from pyg_mtrec.tasks.task import Task


class BPR(Task):
    r"""Bayesian personalised ranking (`Rendle et al. <https://arxiv.org/abs/1205.2618>`_).

    Each positive pair :math:`(u, i)` is to score above uniform negatives :math:`j`:

    .. math::
        L = \frac{1}{B} \sum_b w_b \frac{1}{m} \sum_{j}
        \log\left(1 + e^{\langle x_u, x_j \rangle - \langle x_u, x_i \rangle}\right)

    With ``l2`` the penalty of `LightGCN <https://arxiv.org/abs/2002.02126>`_ is added, on rows of
    the embedding tables and not of the representations, once for every occurrence in the batch:

    .. math::
        \frac{\lambda}{2B} \sum_b w_b \left(\lVert e_u \rVert^2 + \lVert e_i \rVert^2
        + \frac{1}{m} \sum_j \lVert e_j \rVert^2\right)

    Args:
        edge_type: The relation ``(source, name, destination)``.
        num_negatives: Independent negatives :math:`m` per positive.
        l2: The factor :math:`\lambda \ge 0`; weight decay of an optimiser is another thing.
        view: Name of the representations' view that the task reads.

    Raises:
        InputError: If ``num_negatives`` is not positive or ``l2`` is negative.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Batch
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import BPR
        >>> zero = torch.tensor([0])
        >>> batch = Batch(("user", "interacts", "item"), 1, zero, zero, zero + 1)
        >>> x_dict = {"user": torch.tensor([[1.0]]), "item": torch.tensor([[2.0], [0.0]])}
        >>> BPR()(batch, Representations(x_dict))
        tensor(0.1269)
    """

    def __init__(
        self,
        edge_type: EdgeType = ("user", "interacts", "item"),
        num_negatives: int = 1,
        l2: float = 0.0,
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, view)
        if num_negatives < 1:
            raise InputError(f"'num_negatives' needs to be positive in 'BPR' (got {num_negatives})")
        if not l2 >= 0.0:
            raise InputError(f"'l2' needs to be at least 0 in 'BPR' (got {l2})")
        self.num_negatives, self.l2 = num_negatives, l2

    def sampler(self, data: HeteroData, generator: torch.Generator) -> EdgeSampler:
        return EdgeSampler(data, self.edge_type, generator, self.num_negatives)

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        batch = as_batch(batch, self.edge_type)
        loss = bpr_loss(batch, representations, self.view)
        return loss + self.l2 / 2 * self._penalty(batch, representations) if self.l2 else loss

    def _penalty(self, batch: Batch, representations: Representations) -> Tensor:
        read = getattr(representations, "table_rows", None)
        if read is None:
            raise InputError(
                "'l2' of 'BPR' penalises rows of the embedding tables, which these representations"
                " do not hold: let 'GradientCollector' run the step"
            )
        assert batch.src_index is not None and batch.dst_neg_index is not None
        src_type, _, dst_type = batch.edge_type
        src = read(src_type, batch.src_index).square().sum(dim=-1)  # [b]
        pos = read(dst_type, batch.dst_pos_index).square().sum(dim=-1)  # [b]
        neg = (
            read(dst_type, as_columns(batch.dst_neg_index)).square().sum(dim=-1).mean(dim=1)
        )  # [b]
        return weighted_mean(src + pos + neg, batch)

    def extra_repr(self) -> str:
        return f"{self.edge_type}, num_negatives={self.num_negatives}, l2={self.l2}"
