import torch
from torch import Tensor

from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.nn import Predictor
from pyg_mtrec.tasks import PredictionTask


class PredictionScorer:
    r"""Ranks items by what a head predicts of one target: a :class:`~pyg_mtrec.metrics.Scorer`.

    Every item is scored as if it were shown to the user at an unknown moment: features of users
    and items are there, those of an impression are missing.

    Args:
        model: The predictor.
        task: The target to rank by.
        loader: Knows the features of users and items.
        rows: What ``model.represent(adj_dict)`` returned (default: without an encoder's operators).

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.loader import ImpressionLoader
        >>> from pyg_mtrec.nn import NodeEmbedding, Predictor, SharedBottom
        >>> from pyg_mtrec.tasks import Classification
        >>> from pyg_mtrec.training import PredictionScorer
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 2, 3
        >>> store = data["user", "interacts", "item"]
        >>> store.edge_label_index = torch.tensor([[0, 1], [2, 0]])
        >>> store.edge_label = torch.tensor([[1.0], [0.0]])
        >>> store.edge_label_names, store.edge_label_kinds = ["click"], ["binary"]
        >>> model = Predictor(
        ...     SharedBottom(8, {"click": "binary"}), NodeEmbedding({"user": 2, "item": 3}, 4))
        >>> scorer = PredictionScorer(model, Classification("click"), ImpressionLoader(data))
        >>> scorer.score(torch.tensor([1, 0])).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        model: Predictor,
        task: PredictionTask,
        loader: ImpressionLoader,
        rows: dict[str, Tensor] | None = None,
    ) -> None:
        self.model, self.task, self.loader = model.eval(), task, loader
        self.rows = model.represent() if rows is None else rows

    @property
    def num_items(self) -> int:
        r"""The number of items :math:`I`."""
        return self.loader.num_items

    @torch.no_grad()
    def score(self, user_ids: Tensor) -> Tensor:
        r"""Predicts the target for every item.

        Args:
            user_ids: Users :math:`[b]`.

        Returns:
            Scores :math:`[b, I]`: logits of a binary target, values in its own units of a
            continuous one.
        """
        items = torch.arange(self.num_items, device=user_ids.device)
        scores = []
        for user in user_ids:  # one user's items are a batch that is large enough
            batch = self.loader.pairs(user.expand(items.numel()), items)
            found = self.model.predict_from(self.rows, batch)[self.task.target]
            scores.append(found if self.task.kind == "binary" else self.task.predict(found))
        return torch.stack(scores) if scores else items.new_zeros(0, items.numel()).float()
