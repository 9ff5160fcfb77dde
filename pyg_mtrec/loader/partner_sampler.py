import torch
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.loader._csr import to_csr
from pyg_mtrec.loader._draw import draw_below
from pyg_mtrec.loader._relation import count_nodes
from pyg_mtrec.loader.batch import Batch
from pyg_mtrec.loader.edge_sampler import EdgeSampler
from pyg_mtrec.loader.sampler import Sampler


class PartnerSampler(EdgeSampler):
    r"""Around each node of the main batch: one partner that it links to, and negatives.

    Anchors are the distinct sources of the relation among the main batch's positives (users for
    ``('user', 'trusts', 'user')``, items for ``('item', 'also_bought', 'item')``), as in
    Algorithm 1 of `PMTRec <https://arxiv.org/abs/2407.21364>`_, which feeds one batch to all
    tasks. A partner is uniform over the distinct nodes that the anchor links to; anchors without
    one have weight 0. Without a main task it streams the relation as
    :class:`~pyg_mtrec.loader.EdgeSampler` does.

    Args:
        data: The graph, as a rule the training graph of a split.
        edge_type: The relation ``(source, name, destination)``.
        generator: Source of all randomness, on the device of the data.
        num_negatives: Independent negatives per anchor.
        anchored: Whether, as an auxiliary task, it samples around the main batch.

    Raises:
        InputError: If the relation is missing or an id is out of range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.loader import Batch, PartnerSampler
        >>> data = HeteroData()
        >>> data["user"].num_nodes = 4
        >>> trusts = ("user", "trusts", "user")
        >>> data[trusts].edge_index = torch.tensor([[0, 0, 1], [1, 2, 3]])
        >>> sampler = PartnerSampler(data, trusts, torch.Generator().manual_seed(0))
        >>> users = torch.tensor([1, 2, 1])
        >>> main = Batch(("user", "interacts", "item"), 3, users, users)
        >>> batch = sampler.sample_anchored(main, size=3)
        >>> batch.src_index, batch.dst_pos_index[0], batch.weight
        (tensor([1, 2, 2]), tensor(3), tensor([1., 0., 0.]))
    """

    def __init__(
        self,
        data: HeteroData,
        edge_type: EdgeType,
        generator: torch.Generator,
        num_negatives: int = 1,
        anchored: bool = True,
    ) -> None:
        super().__init__(data, edge_type, generator, num_negatives, anchored=anchored)
        num_src, num_dst = count_nodes(data, edge_type[0]), count_nodes(data, edge_type[2])
        links = to_csr(self._src, self._dst, num_src, num_dst)
        self._start, self._degree = links.ptr[:-1], links.degree
        # One entry more, so that an anchor without links, or an empty relation, reads a valid id.
        self._col = torch.cat([links.col, links.col.new_zeros(1)])

    def sample_anchored(self, main: Batch, size: int) -> Batch:
        anchor, weight = self.anchors(main)  # [b]
        degree = self._degree[anchor]
        partner = self._col[self._start[anchor] + draw_below(degree, self.generator)]
        return self.triplets(anchor, partner, size, weight * (degree > 0))

    def check_main(self, main: Sampler) -> None:
        Sampler.check_main(self, main)
