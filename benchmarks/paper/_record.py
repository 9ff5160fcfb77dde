"""PMTRec that keeps the weights it gave, for the plots."""

from typing import Any

import torch
from torch import Tensor

from pyg_mtrec.balancing import PMTRec
from pyg_mtrec.gradients import TaskGradients, Update


class RecordingPMTRec(PMTRec):
    """Adds up every row's weights over an epoch; the update is PMTRec's."""

    def __init__(self, rule: PMTRec, num_nodes: dict[str, int], num_tasks: int) -> None:
        super().__init__(
            rule.alpha, rule.tau, rule.mask_inactive, rule.scale, rule.relative, rule.dense
        )
        self.totals = {name: torch.zeros(num_tasks, size) for name, size in num_nodes.items()}
        self.counts = {name: torch.zeros(size) for name, size in num_nodes.items()}
        self.epochs: list[dict[str, list[float]]] = []
        self.run_totals = {name: torch.zeros_like(total) for name, total in self.totals.items()}
        self.run_counts = {name: torch.zeros_like(count) for name, count in self.counts.items()}

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        for name, rows in gradients.rows.items():
            weights = self.weights(gradients.norms(name), epoch=epoch).cpu()
            live = (rows.grads != 0).any(-1).any(0).cpu().float()
            ids = torch.arange(live.numel()) if rows.ids is None else rows.ids.cpu()
            self.totals[name].index_add_(1, ids, weights * live)
            self.counts[name].index_add_(0, ids, live)
        return super().update(gradients, epoch=epoch)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Closes an epoch's books: each task's mean weight over touched rows, per table."""
        self.epochs.append(
            {
                name: (total.sum(1) / self.counts[name].sum().clamp(min=1)).tolist()
                for name, total in self.totals.items()
            }
        )
        for name, total in self.totals.items():
            self.run_totals[name] += total
            self.run_counts[name] += self.counts[name]
            total.zero_()
            self.counts[name].zero_()

    def mean(self, name: str) -> Tensor:
        """Each row's mean weights over all steps of the run that touched it, one row a task."""
        return self.run_totals[name] / self.run_counts[name].clamp(min=1)
