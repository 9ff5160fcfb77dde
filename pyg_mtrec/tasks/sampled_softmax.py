import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch
from pyg_mtrec.loader._shared_negative_sampler import SharedNegativeSampler
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch
from pyg_mtrec.tasks._positive_weight import positive_weight
from pyg_mtrec.tasks._shared_softmax import shared_softmax
from pyg_mtrec.tasks.task import Task

NEGATIVES = ("uniform", "batch")
# What scores are divided by unless the user says otherwise.
TEMPERATURES = {"cosine": 0.1, "dot": 1.0}


class SampledSoftmax(Task):
    r"""Cross entropy of each positive against negatives that the whole batch shares.

    It is the loss of `Wu et al. <https://arxiv.org/abs/2201.02327>`_. With scores :math:`s_{ui}`
    (the cosine or the dot product of rows, divided by the temperature) and negatives :math:`N`,

    .. math::
        L = \frac{1}{B} \sum_b w_b \log\left(1 + \sum_{j \in N,\, j \ne i}
        \frac{e^{s_{uj} - s_{ui}}}{c_j}\right)

    with :math:`c_j = 1`. A negative that is the pair's own positive is left out (and so is the
    source itself, if both ends have one type); other positives of the source are false negatives
    that stay in, as in the paper.

    Negatives are uniform draws, with replacement and once a step, or the destinations of the
    batch, once for every pair of positive weight. The latter meet popular items more often; with
    ``log_q``, :math:`c_j` is the number of times that :math:`j` is to be expected among the other
    pairs of a random batch, so that the sum in the loss estimates that over the whole catalogue
    without bias. The positive itself, which is always there, is not corrected
    (`Khrylchenko et al. <https://arxiv.org/abs/2507.09331>`_).

    Args:
        edge_type: The relation ``(source, name, destination)``.
        num_negatives: Number of uniform negatives per step, which all pairs share.
        negatives: ``"uniform"`` or ``"batch"``, for which ``num_negatives`` has no meaning.
        score: ``"cosine"`` or ``"dot"``.
        temperature: What scores are divided by (default: 0.1 for cosines, 1 for dot products).
        log_q: Whether negatives of the batch are corrected for popularity.
        anchored: Whether, as an auxiliary task, it takes the main task's edges or streams its own.
        view: Name of the representations' view that the task reads.

    Raises:
        InputError: If ``num_negatives`` or ``temperature`` is not positive, ``negatives`` or
            ``score`` is none of the two, or uniform negatives are to be corrected.

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Batch
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import SampledSoftmax
        >>> both, shared = torch.tensor([0, 1]), torch.tensor([[0, 1, 2]])
        >>> batch = Batch(("user", "interacts", "item"), 2, both, both, shared)
        >>> x_dict = {"user": torch.eye(2), "item": torch.tensor([[3.0, 0], [0, 1], [0, 2]])}
        >>> SampledSoftmax(temperature=1.0)(batch, Representations(x_dict))
        tensor(0.7067)
    """

    def __init__(
        self,
        edge_type: EdgeType = ("user", "interacts", "item"),
        num_negatives: int = 512,
        negatives: str = "uniform",
        score: str = "cosine",
        temperature: float | None = None,
        log_q: bool = False,
        anchored: bool = True,
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, view)
        if num_negatives < 1:
            raise InputError(
                f"'num_negatives' needs to be positive in 'SampledSoftmax' (got {num_negatives})"
            )
        if negatives not in NEGATIVES:
            raise InputError(
                f"'negatives' needs to be one of {NEGATIVES} in 'SampledSoftmax'"
                f" (got {negatives!r})"
            )
        if score not in TEMPERATURES:
            raise InputError(
                f"'score' needs to be one of {tuple(TEMPERATURES)} in 'SampledSoftmax'"
                f" (got {score!r})"
            )
        if temperature is None:
            temperature = TEMPERATURES[score]
        if not 0.0 < temperature < float("inf"):
            raise InputError(
                "'temperature' needs to be positive and finite in 'SampledSoftmax'"
                f" (got {temperature})"
            )
        if log_q and negatives != "batch":
            raise InputError(
                "'log_q' corrects negatives of the batch in 'SampledSoftmax': take it with"
                f" negatives='batch' (got {negatives!r})"
            )
        self.num_negatives, self.negatives = num_negatives, negatives
        self.score, self.temperature = score, temperature
        self.log_q, self.anchored = log_q, anchored

    def sampler(self, data: HeteroData, generator: torch.Generator) -> SharedNegativeSampler:
        num_shared = self.num_negatives if self.negatives == "uniform" else 0
        return SharedNegativeSampler(
            data, self.edge_type, generator, num_shared, self.log_q, self.anchored
        )

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        batch = as_batch(batch, self.edge_type)
        src_type, _, dst_type = batch.edge_type
        src_ids, dst_ids = batch.pairs()
        src = self._rows(representations, src_type, src_ids) / self.temperature  # [b, d]
        dst = self._rows(representations, dst_type, dst_ids)  # [b, d]
        weight = positive_weight(batch, src)  # [b]
        bias: Tensor | None = None
        if self.negatives == "batch":
            neg_ids, neg = dst_ids, dst  # [b], [b, d]
            bias = self._bias(batch, weight)  # [b]
        elif batch.dst_neg_index is not None:
            neg_ids = batch.dst_neg_index.reshape(-1)  # [m]: those of one pair serve all
            neg = self._rows(representations, dst_type, neg_ids)  # [m, d]
        else:
            raise InputError(
                f"'SampledSoftmax' over {tuple(batch.edge_type)} needs 'dst_neg_index' in the"
                " batch (found none): sample negatives, or take negatives='batch'"
            )
        hidden = (dst_ids, src_ids) if src_type == dst_type else (dst_ids,)
        pos = (src * dst).sum(dim=-1)  # [b]
        return shared_softmax(src, pos, neg, bias, neg_ids, hidden, weight) / batch.size

    def _rows(self, representations: Representations, node_type: str, ids: Tensor) -> Tensor:
        rows = representations.rows(node_type, ids, task=self.view)
        return normalize(rows, dim=-1) if self.score == "cosine" else rows

    def _bias(self, batch: Batch, weight: Tensor) -> Tensor:
        live = weight > 0
        bias = torch.zeros_like(weight).masked_fill(~live, -torch.inf)
        if not self.log_q:
            return bias
        if batch.dst_log_q is None:
            raise InputError(
                "'log_q' of 'SampledSoftmax' needs 'dst_log_q' in the batch (found none): let the"
                " task's own sampler make it"
            )
        others = (live.sum() - 1).clamp(min=1).to(weight.dtype)
        return bias - batch.dst_log_q.to(weight.dtype) - others.log()

    def extra_repr(self) -> str:
        drawn = f", num_negatives={self.num_negatives}" if self.negatives == "uniform" else ""
        return (
            f"{self.edge_type}, negatives={self.negatives!r}{drawn}, score={self.score!r},"
            f" temperature={self.temperature}, log_q={self.log_q}"
        )
