import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, EdgeSampler
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch
from pyg_mtrec.tasks._positive_weight import positive_weight
from pyg_mtrec.tasks._uniformity import first_occurrence, uniformity
from pyg_mtrec.tasks.task import Task


class AlignmentUniformity(Task):
    r"""Pulls interacting pairs together and spreads all rows, without negatives.

    It is the loss of `DirectAU <https://arxiv.org/abs/2206.12811>`_. With rows
    :math:`\hat{x} = x / \lVert x \rVert`,

    .. math::
        L &= \frac{\sum_b w_b}{B} \left( \mathrm{mean}_b \lVert \hat{x}_u - \hat{x}_i \rVert^2
        + \frac{\gamma}{2} \left( \mathrm{unif}(u) + \mathrm{unif}(i) \right) \right) \\
        \mathrm{unif}(z) &= \log \mathrm{mean}_{b < c}
        \exp\left(-t \lVert \hat{z}_b - \hat{z}_c \rVert^2\right)

    where all means are weighted. The first factor is 1 except for a short last batch, whose
    rows then keep the scale of their gradients. The loss is negative as a rule.

    Args:
        edge_type: The relation ``(source, name, destination)``.
        gamma: Weight of uniformity :math:`\gamma \ge 0`.
        t: Sharpness of uniformity :math:`t > 0`.
        unique: Whether a node that occurs more than once in the batch enters uniformity once. The
            paper's code lets it enter every time, as pairs at distance 0.
        anchored: Whether, as an auxiliary task, it takes the main task's edges or streams its own.
        view: Name of the representations' view that the task reads.

    Raises:
        InputError: If ``gamma`` is negative or ``t`` is not positive.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Batch
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import AlignmentUniformity
        >>> both = torch.tensor([0, 1])
        >>> batch = Batch(("user", "interacts", "item"), 2, both, both)
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
        >>> AlignmentUniformity()(batch, Representations({"user": x, "item": x}))
        tensor(-4.)
    """

    def __init__(
        self,
        edge_type: EdgeType = ("user", "interacts", "item"),
        gamma: float = 1.0,
        t: float = 2.0,
        unique: bool = False,
        anchored: bool = True,
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, view)
        if not gamma >= 0.0:
            raise InputError(
                f"'gamma' needs to be at least 0 in 'AlignmentUniformity' (got {gamma})"
            )
        if not t > 0.0:
            raise InputError(f"'t' needs to be positive in 'AlignmentUniformity' (got {t})")
        self.gamma, self.t, self.unique, self.anchored = gamma, t, unique, anchored

    @property
    def lower_bound(self) -> float:
        # Squared distances of unit rows are at most 4, so uniformity is at least -4 t a side.
        return -4.0 * self.t * self.gamma

    def sampler(self, data: HeteroData, generator: torch.Generator) -> EdgeSampler:
        return EdgeSampler(data, self.edge_type, generator, num_negatives=0, anchored=self.anchored)

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        batch = as_batch(batch, self.edge_type)
        src_type, _, dst_type = batch.edge_type
        src_ids, dst_ids = batch.pairs()
        src = normalize(representations.rows(src_type, src_ids, task=self.view), dim=-1)  # [b, d]
        dst = normalize(representations.rows(dst_type, dst_ids, task=self.view), dim=-1)  # [b, d]
        weight = positive_weight(batch, src)  # [b]
        total = weight.sum()
        loss = (weight * (src - dst).square().sum(dim=-1)).sum() / batch.size
        if self.gamma:
            spread = src.new_zeros(())
            for x, ids in ((src, src_ids), (dst, dst_ids)):
                counted = weight * first_occurrence(ids, weight) if self.unique else weight
                spread = spread + uniformity(x, counted, self.t, ids)
            loss = loss + self.gamma / 2 * total / batch.size * spread
        return loss

    def extra_repr(self) -> str:
        return f"{self.edge_type}, gamma={self.gamma}, t={self.t}, unique={self.unique}"
