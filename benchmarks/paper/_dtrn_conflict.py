"""How often targets' gradients contradict each other, on what the targets share."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.paper._dtrn_cells import Cell
from benchmarks.paper._dtrn_runs import METRIC, Run, load
from benchmarks.paper._htlnet_cells import Params, Study
from benchmarks.paper._search import read_json, write_json
from pyg_mtrec.balancing import Balancer
from pyg_mtrec.gradients import PredictionCollector, TaskGradients
from pyg_mtrec.training.multi_task_step import MultiTaskStep

ARMS_MEASURED = ("bare", "plain", "dtrn")
EVERY = 4  # steps between two measurements
Counts = dict[str, list[float]]  # block to pairs measured, negative ones, sum of cosines


class Measured(MultiTaskStep):
    """A step that looks at every target's gradient now and then, before it does what it does."""

    collector: PredictionCollector

    def __init__(
        self, collector: Any, balancer: Balancer, adj_dict: Mapping[Any, Any] | None
    ) -> None:
        super().__init__(collector, balancer, adj_dict)
        self.epochs: list[Counts] = []
        self.steps = 0

    def __call__(self, batches: Any, *, epoch: int) -> Tensor:
        if self.steps % EVERY == 0:
            while len(self.epochs) < epoch:
                self.epochs.append({})
            count(self.collector.collect(batches, self.adj_dict), self.epochs[epoch - 1])
        self.steps += 1
        return super().__call__(batches, epoch=epoch)


def measure(study: Study, cell: Cell, path: Path, *, seed: int, params: Params) -> str:
    """Trains as the table's run of this seed did, and writes the cosines of every epoch."""
    found = read_json(path)
    if found is None:
        settings = cell.settings(study, params, seed)
        run = Run(settings, load(settings), Measured)
        step = run.arm.step
        assert isinstance(step, Measured)
        found = {
            "cell": str(cell),
            "seed": seed,
            "epoch": run.trainer.stopping.best_epoch,
            "valid": run.valid[METRIC],
            "epochs": step.epochs,
            "share": shares(step.epochs),
        }
        write_json(path, found)
    return f"share of negative cosines {found['share']['all']:.3f}"


def count(gradients: TaskGradients, into: Counts) -> None:
    """Adds the cosines of one step to the counts of its epoch.

    Blocks are all that targets share, the tables, and the head's and the bottom's dense parts. In
    ``rows`` every row of a table that two targets' losses both reach counts by itself.
    """
    grams = {"all": gradients.gram(), "tables": gradients.tables_gram()}
    for part in ("head", "bottom"):
        names = [name for name in gradients.dense if name.startswith(f"{part}.")]
        if names:
            flat = [gradients.dense[name].flatten(1).double() for name in names]
            joined = torch.cat(flat, dim=1)
            grams[part] = joined @ joined.t()
    for block, gram in grams.items():
        _add(into, block, gram[None])
    for table in gradients.rows:
        _add(into, "rows", gradients.row_gram(table))


def shares(epochs: list[Counts]) -> dict[str, float]:
    """Block to the share of negative cosines over all of training."""
    blocks = {block for counts in epochs for block in counts}
    totals = {block: [_sum(epochs, block, place) for place in (0, 1)] for block in sorted(blocks)}
    return {block: negative / max(number, 1) for block, (number, negative) in totals.items()}


def _sum(epochs: list[Counts], block: str, place: int) -> float:
    return sum(counts[block][place] for counts in epochs if block in counts)


def _add(into: Counts, block: str, grams: Tensor) -> None:
    """Adds Gram matrices [n, T, T]; pairs of which one gradient is zero are none."""
    norms = grams.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()  # [n, T]
    found = into.setdefault(block, [0.0, 0.0, 0.0])
    for s, t in itertools.combinations(range(grams.size(1)), 2):
        both = (norms[:, s] > 0) & (norms[:, t] > 0)
        cosines = grams[both, s, t] / (norms[both, s] * norms[both, t])
        found[0] += float(both.sum())
        found[1] += float((cosines < 0).sum())
        found[2] += float(cosines.sum())
