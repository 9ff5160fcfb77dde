from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pyg_mtrec.balancing import Balancer
from pyg_mtrec.gradients import GradientCollector

if TYPE_CHECKING:
    from pyg_mtrec.gradients import PredictionCollector


class MultiTaskStep:
    r"""One training step up to the optimiser: batches in, ``.grad`` of every parameter out.

    Args:
        collector: Takes the tasks' gradients and writes the combined one.
        balancer: The rule that combines them.
        adj_dict: Relation to operator, for encoders that propagate.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import PMTRec
        >>> from pyg_mtrec.gradients import GradientCollector
        >>> from pyg_mtrec.loader import Batch
        >>> from pyg_mtrec.nn import MF, NodeEmbedding
        >>> from pyg_mtrec.tasks import BPR
        >>> from pyg_mtrec.training import MultiTaskStep
        >>> embedding = NodeEmbedding({"user": 3, "item": 4}, dim=2)
        >>> collector = GradientCollector(embedding, MF(), {"bpr": BPR()})
        >>> step = MultiTaskStep(collector, PMTRec(tau=1e-3))
        >>> one = torch.tensor([1])
        >>> batch = Batch(("user", "interacts", "item"), 1, one, one + 1, one + 2)
        >>> losses = step({"bpr": batch}, epoch=1)
        >>> embedding.weight_dict["user"].grad.count_nonzero(dim=1)
        tensor([0, 2, 0])
    """

    def __init__(
        self,
        collector: "GradientCollector | PredictionCollector",
        balancer: Balancer,
        adj_dict: Mapping[Any, Any] | None = None,
    ) -> None:
        self.collector, self.balancer, self.adj_dict = collector, balancer, adj_dict

    def __call__(self, batches: Any, *, epoch: int) -> Tensor:
        r"""Fills ``.grad``; what was there is replaced.

        Args:
            batches: Name to batch, for every task; of a head's targets, impressions.
            epoch: The epoch :math:`s = 1, 2, \ldots`, which schedules read.

        Returns:
            The tasks' losses :math:`[T]`, detached.
        """
        if self.balancer.needs == "losses":
            losses, update = self.collector.collect_weighted(
                batches,
                self.adj_dict,
                lambda losses: self.balancer.loss_weights(losses, epoch=epoch),
            )
        else:
            gradients = self.collector.collect(batches, self.adj_dict, self.balancer.at)
            losses, update = gradients.losses, self.balancer.update(gradients, epoch=epoch)
        self.collector.write(update)
        return losses
