import torch
from torch_geometric.data import HeteroData

from pyg_mtrec.loader import PartnerSampler
from pyg_mtrec.tasks._partner_task import PartnerTask


class LinkPrediction(PartnerTask):
    r"""Tells linked nodes from others: who trusts whom, what is bought with what.

    A link :math:`(a, p)` is told from uniform non-links :math:`(a, n)` by the dot product
    :math:`s`. ``loss="bpr"`` ranks, ``loss="bce"`` classifies:

    .. math::
        \ell_{\mathrm{bpr}} = \log(1 + e^{s_{an} - s_{ap}}) \qquad
        \ell_{\mathrm{bce}} = \tfrac12 \log(1 + e^{-s_{ap}}) + \tfrac12 \log(1 + e^{s_{an}})

    and :math:`L = \frac{1}{B} \sum_b w_b \ell_b`, with the mean over several negatives. It is the
    social task of `PMTRec <https://arxiv.org/abs/2407.21364>`_, and its co-view and co-buy tasks.

    Args:
        edge_type: The relation ``(source, name, destination)``; links are directed.
        loss: ``"bpr"`` or ``"bce"``.
        anchored: Whether it samples around the main task's batch or streams its own links.
        num_negatives: Independent negatives per link.
        view: Name of the representations' view that the task reads.

    Raises:
        InputError: If ``loss`` is neither of the two or ``num_negatives`` is not positive.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Batch
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import LinkPrediction
        >>> task = LinkPrediction(("user", "trusts", "user"), loss="bce")
        >>> zero = torch.tensor([0])
        >>> batch = Batch(task.edge_type, 1, zero, zero + 1, zero + 2)
        >>> task(batch, Representations({"user": torch.tensor([[1.0], [2.0], [0.0]])}))
        tensor(0.4100)
    """

    def sampler(self, data: HeteroData, generator: torch.Generator) -> PartnerSampler:
        return PartnerSampler(data, self.edge_type, generator, self.num_negatives, self.anchored)
