import torch
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.loader import Sampler
from pyg_mtrec.loader._group_partner_sampler import GroupPartnerSampler
from pyg_mtrec.tasks._partner_task import PartnerTask


class SameCategory(PartnerTask):
    r"""Tells items that share a category from items that share none.

    For an anchor :math:`a`, one of its categories with other members is drawn uniformly, and of
    these members one, :math:`p`; :math:`n` is uniform over the items that share no category with
    the anchor. Anchors alone in their categories have weight 0. The losses are those of
    :class:`~pyg_mtrec.tasks.LinkPrediction`:

    .. math::
        L = \frac{1}{B} \sum_b w_b \log\left(1 + e^{\langle x_a, x_n \rangle - \langle x_a, x_p
        \rangle}\right)

    It is a task of `PMTRec <https://arxiv.org/abs/2407.21364>`_, which does not print its formula.

    Args:
        edge_type: The relation ``(item, name, category)``, or any other of nodes to their groups.
        loss: ``"bpr"`` or ``"bce"``.
        anchored: Whether it samples around the main task's batch or streams its own pairs.
        num_negatives: Independent negatives per anchor.
        view: Name of the representations' view that the task reads.

    Raises:
        InputError: If ``loss`` is neither of the two or ``num_negatives`` is not positive.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.tasks import SameCategory
        >>> data = HeteroData()
        >>> data["item"].num_nodes, data["category"].num_nodes = 4, 2
        >>> task = SameCategory(anchored=False)
        >>> data[task.edge_type].edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
        >>> sampler = task.sampler(data, torch.Generator().manual_seed(0))
        >>> batch = sampler.sample(torch.tensor([0, 1]), size=2)
        >>> batch.src_index, batch.dst_pos_index  # item 2 is alone, item 3 in no category
        (tensor([0, 1]), tensor([1, 0]))
    """

    def __init__(
        self,
        edge_type: EdgeType = ("item", "in", "category"),
        loss: str = "bpr",
        anchored: bool = True,
        num_negatives: int = 1,
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, loss, anchored, num_negatives, view)

    @property
    def pair_type(self) -> EdgeType:
        r"""The relation of its batches: between two nodes of a group, not node and group."""
        node_type, _, group_type = self.edge_type
        return (node_type, f"same_{group_type}", node_type)

    def sampler(self, data: HeteroData, generator: torch.Generator) -> Sampler:
        return GroupPartnerSampler(
            data, self.edge_type, generator, self.num_negatives, self.anchored
        )
