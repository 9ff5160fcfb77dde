"""Rules and tasks that only the open questions need."""

from dataclasses import replace
from typing import ClassVar

from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks.paper.questions._changes import RANDOM_PAIRS
from pyg_mtrec.balancing import Balancer, LossBalancer, PMTRec
from pyg_mtrec.balancing.balancer import Needs
from pyg_mtrec.gradients import RowGradients, TaskGradients, Update
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import BPR


class ScaledGradients(Balancer):
    """A rule that sees the gradients of losses that were multiplied by a factor.

    With the batch size as factor it sees losses that are sums over the batch and not means.
    """

    needs: ClassVar[Needs] = "rows"

    def __init__(self, rule: Balancer, factor: float) -> None:
        super().__init__()
        self.rule, self.factor, self.at = rule, factor, rule.at

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        factor = self.factor
        scaled = replace(
            gradients,
            losses=gradients.losses * factor,
            rows={
                name: RowGradients(rows.ids, rows.grads * factor)
                for name, rows in gradients.rows.items()
            },
            dense={name: grads * factor for name, grads in gradients.dense.items()},
            own={
                task: {name: grad * factor for name, grad in grads.items()}
                for task, grads in gradients.own.items()
            },
        )
        return self.rule.update(scaled, epoch=epoch)


class FocusSchedule(LossBalancer):
    r"""Focusing without a look at any gradient: the same weights for every row.

    With the growth :math:`\alpha` of PMTRec, task 0 being the main task,

    .. math::
        w_0 = \frac{\alpha^s}{\alpha^s + T - 1} \qquad w_t = \frac{1}{\alpha^s + T - 1}

    Args:
        rule: The PMTRec rule whose growth it takes.
    """

    def __init__(self, rule: PMTRec) -> None:
        super().__init__()
        self.alpha = rule.alpha

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        others = self.alpha**-epoch  # which does not overflow
        weights = losses.new_full(losses.shape, others)
        weights[0] = 1.0
        return weights / (1 + (losses.numel() - 1) * others)


class ReversedBPR(BPR):
    """The main task with its labels reversed: what was not interacted with is to score higher."""

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        assert isinstance(batch, Batch) and batch.dst_neg_index is not None
        turned = replace(
            batch, dst_pos_index=batch.dst_neg_index, dst_neg_index=batch.dst_pos_index
        )
        return super().forward(turned, representations)


class RandomPairsBPR(BPR):
    """The main task's loss on pairs that mean nothing."""

    def __init__(self) -> None:
        super().__init__(RANDOM_PAIRS)
