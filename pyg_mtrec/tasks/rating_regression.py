import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, EdgeSampler
from pyg_mtrec.loader._relation import count_nodes, positives_of
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch
from pyg_mtrec.tasks._losses import labels_of, pair_scores, weighted_mean
from pyg_mtrec.tasks.task import Task


class RatingRegression(Task):
    r"""Predicts ratings by the dot product and a bias of each end.

    .. math::
        \hat{r}_{ui} = \mu + b_u + b_i + \langle x_u, x_i \rangle \qquad
        L = \frac{1}{B} \sum_b w_b (\hat{r}_{ui} - r_{ui})^2

    with the mean training rating :math:`\mu`. It is a task of
    `PMTRec <https://arxiv.org/abs/2407.21364>`_, which does not print its formula. The biases
    are parameters from the start, so an optimiser made before the first batch finds them. Pairs
    whose rating is NaN have weight 0.

    Args:
        num_src: Number of source nodes.
        num_dst: Number of destination nodes.
        mean: The mean training rating :math:`\mu`.
        edge_type: The relation ``(source, name, destination)`` with the edge attribute ``rating``.
        anchored: Whether, as an auxiliary task, it takes the main task's edges or streams its own.
        view: Name of the representations' view that the task reads.

    Raises:
        InputError: If a number of nodes is not positive or ``mean`` is not finite.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import RatingRegression
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 1, 2
        >>> main = ("user", "interacts", "item")
        >>> data[main].edge_index = torch.tensor([[0, 0], [0, 1]])
        >>> data[main].rating = torch.tensor([5.0, 2.0])
        >>> task = RatingRegression.from_data(data)
        >>> batch = task.sampler(data, torch.Generator()).sample(torch.tensor([0, 1]), size=2)
        >>> x_dict = {"user": torch.tensor([[1.0]]), "item": torch.tensor([[1.0], [-1.0]])}
        >>> task.predict(batch, Representations(x_dict)).detach()
        tensor([4.5000, 2.5000])
    """

    mean: Tensor

    def __init__(
        self,
        num_src: int,
        num_dst: int,
        mean: float = 0.0,
        edge_type: EdgeType = ("user", "interacts", "item"),
        anchored: bool = True,
        view: str | None = None,
    ) -> None:
        super().__init__(edge_type, view)
        if num_src < 1 or num_dst < 1:
            raise InputError(
                "'num_src' and 'num_dst' need to be positive in 'RatingRegression'"
                f" (got {num_src} and {num_dst})"
            )
        mean = float(mean)
        if not abs(mean) < float("inf"):
            raise InputError(f"'mean' needs to be finite in 'RatingRegression' (got {mean})")
        self.anchored = anchored
        self.register_buffer("mean", torch.tensor(mean))
        self.src_bias = nn.Parameter(torch.zeros(num_src))
        self.dst_bias = nn.Parameter(torch.zeros(num_dst))

    @classmethod
    def from_data(
        cls,
        data: HeteroData,
        edge_type: EdgeType = ("user", "interacts", "item"),
        anchored: bool = True,
        view: str | None = None,
    ) -> "RatingRegression":
        r"""Reads the numbers of nodes and the mean rating from a training graph.

        Args:
            data: The training graph.
            edge_type: The relation ``(source, name, destination)``.
            anchored: Whether it takes the main task's edges or streams its own.
            view: Name of the representations' view that the task reads.

        Raises:
            InputError: If the relation has no ``rating``, or none that is not NaN.
        """
        rating = positives_of(data, edge_type, ("rating",)).attrs["rating"].double()
        mean = float(rating.nanmean())
        return cls(
            count_nodes(data, edge_type[0]),
            count_nodes(data, edge_type[2]),
            mean,
            edge_type,
            anchored,
            view,
        )

    def reset_parameters(self) -> None:
        r"""Sets all biases to 0."""
        nn.init.zeros_(self.src_bias)
        nn.init.zeros_(self.dst_bias)

    def sampler(self, data: HeteroData, generator: torch.Generator) -> EdgeSampler:
        return EdgeSampler(data, self.edge_type, generator, 0, ("rating",), self.anchored)

    def predict(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        r"""Returns the predicted ratings :math:`[b]` of the batch's pairs.

        Args:
            batch: The batch.
            representations: What the encoder returned.
        """
        batch = as_batch(batch, self.edge_type)
        src, dst = batch.pairs()
        bias = self.src_bias.index_select(0, src) + self.dst_bias.index_select(0, dst)
        return pair_scores(batch, representations, self.view) + bias + self.mean

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        batch = as_batch(batch, self.edge_type)
        prediction = self.predict(batch, representations)
        rating, known = labels_of(batch, prediction)
        return weighted_mean((prediction - rating).square(), batch, known)

    def extra_repr(self) -> str:
        return f"{self.edge_type}, {self.src_bias.numel()}, {self.dst_bias.numel()}"
