import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.metrics._direction import is_smaller_better
from pyg_mtrec.runs import Checkpoint, History
from pyg_mtrec.training._state import load_state, save_state
from pyg_mtrec.training.early_stopping import EarlyStopping
from pyg_mtrec.training.multi_task_step import MultiTaskStep
from pyg_mtrec.training.row_adam import RowAdam

if TYPE_CHECKING:
    from pyg_mtrec.loader import ImpressionLoader

Row = dict[str, float]


class Trainer:
    r"""Trains until validation stops rising, keeps the best weights, and resumes after a kill.

    All that a later epoch depends on (weights, optimiser, balancer, random generators, counters)
    is in the checkpoint that ends an epoch, so a resumed run is the run that was not interrupted.

    Args:
        step: Fills ``.grad``.
        loader: Yields the batches of an epoch; its first task is the main one.
        optimizer: Owns the parameters of tables, encoder and tasks.
        evaluate: Returns the validation metrics of the current weights (default: none).
        select: The validation metric that selects the epoch, whether larger is better or, as with
            an error, smaller. ``"loss"`` is the sum of the tasks' mean losses during the epoch.
        epochs: The largest number of epochs.
        patience: Epochs without a gain before stopping.
        min_delta: A gain has to be larger than this.
        loss_weights: Weights of the tasks' losses in ``"loss"`` (default: all one).
        checkpoint: Where the state is saved (default: nowhere).
        checkpoint_every: Epochs from one checkpoint to the next; the last epoch has one, too.
        history: Where one row an epoch is appended (default: nowhere).
        loggers: Called with every row of the history.
        title: Stands before the progress bar.
        progress: Whether to show a progress bar on standard error, if that is a terminal.

    Raises:
        InputError: If ``patience`` or ``checkpoint_every`` is not positive, ``min_delta`` is
            negative, or ``loss_weights`` is not one number a task.

    Example:
        >>> from pyg_mtrec.training import Trainer  # see examples/ for a whole run
    """

    def __init__(
        self,
        step: MultiTaskStep,
        loader: "MultiTaskLoader | ImpressionLoader",
        optimizer: Optimizer,
        evaluate: Callable[[], Mapping[str, float]] = dict,
        *,
        select: str = "recall@20",
        epochs: int = 100,
        patience: int = 10,
        min_delta: float = 0.0,
        loss_weights: Sequence[float] | None = None,
        checkpoint: Checkpoint | None = None,
        checkpoint_every: int = 1,
        history: History | None = None,
        loggers: Sequence[Callable[[Row], None]] = (),
        title: str = "",
        progress: bool = True,
    ) -> None:
        if checkpoint_every < 1:
            raise InputError(
                f"'checkpoint_every' needs to be at least 1 in 'Trainer' (got {checkpoint_every})"
            )
        if loss_weights is not None and len(loss_weights) != len(step.collector.tasks):
            raise InputError(
                f"'loss_weights' of 'Trainer' need one number a task (got {len(loss_weights)} for"
                f" {len(step.collector.tasks)} tasks)"
            )
        self.step, self.loader, self.optimizer = step, loader, optimizer
        self.evaluate, self.select, self.epochs = evaluate, select, epochs
        self.checkpoint, self.history, self.loggers = checkpoint, history, loggers
        self.checkpoint_every, self.loss_weights = checkpoint_every, loss_weights
        self.title, self.progress = title, progress
        self.stopping = EarlyStopping(patience, min_delta=min_delta)
        self.epoch = 0
        self.global_step = 0
        self.seconds = {"train": 0.0, "validate": 0.0}
        self.best_metrics: Row = {}
        self._best: dict[str, Any] = {}

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        r"""What the optimiser trains and the checkpoint holds, by name."""
        collector = self.step.collector
        return {
            **collector.modules,
            "balancer": self.step.balancer,
            **{f"task/{name}": task for name, task in collector.tasks.items()},
        }

    def fit(self, resume: bool = False) -> Row:
        r"""Trains and leaves the best epoch's weights in place.

        Args:
            resume: Continue from ``checkpoint`` if it holds a state.

        Returns:
            The validation metrics of the best epoch; with ``select="loss"`` also ``loss`` and
            each task's ``loss/TASK``.

        Raises:
            InputError: If a loss or the selecting metric stops being a finite number.
        """
        if resume and self.checkpoint is not None:
            state = self.checkpoint.load()
            if state is not None:
                load_state(self, state)
            if self.history is not None:
                self.history.truncate(self.epoch)
        total = self.epochs * len(self.loader)
        with tqdm(
            total=total,
            initial=self.epoch * len(self.loader),
            desc=self.title or None,
            disable=None if self.progress else True,  # None: where there is no terminal
            unit="step",
            dynamic_ncols=True,
            leave=False,
        ) as bar:
            while not self._is_over:
                row = self._epoch(bar)
                bar.set_postfix_str(self._describe(row), refresh=False)
        for name, module in self.modules.items():
            if name in self._best:
                module.load_state_dict(self._best[name])
            module.eval()  # also where a resumed run had no epoch left
        return self.best_metrics

    @property
    def _sign(self) -> int:
        return -1 if self.select == "loss" or is_smaller_better(self.select) else 1

    @property
    def _is_over(self) -> bool:
        return self.epoch >= self.epochs or self.stopping.should_stop(self.epoch)

    def _epoch(self, bar: "tqdm[Any]") -> Row:
        epoch = self.epoch + 1
        began = time.perf_counter()
        total: Tensor | None = None
        for module in self.modules.values():
            module.train()
        for batches in self.loader:
            losses = self.step(batches, epoch=epoch)
            self.optimizer.step()
            total = losses if total is None else total + losses
            bar.update()
        if total is None:
            raise InputError("the main task has no edges to train on: is the split empty?")
        losses_of = dict(
            zip(self.step.collector.tasks, (total / len(self.loader)).tolist(), strict=True)
        )
        for name, value in losses_of.items():
            if not math.isfinite(value):
                raise InputError(
                    f"the loss of task {name!r} became {value} in epoch {epoch}: try a smaller"
                    " learning rate or, if it happens at once, look for it in the data"
                )
        if isinstance(self.optimizer, RowAdam):
            self.optimizer.flush()
        trained = time.perf_counter()
        for module in self.modules.values():
            module.eval()
        metrics = dict(self.evaluate())
        validated = time.perf_counter()
        self.seconds["train"] += trained - began
        self.seconds["validate"] += validated - trained
        return self._finish(epoch, losses_of, metrics, trained - began)

    def _finish(self, epoch: int, losses: Row, metrics: Row, seconds: float) -> Row:
        by_name = {f"loss/{name}": value for name, value in losses.items()}
        if self.select == "loss":
            weights = self.loss_weights or [1.0] * len(losses)
            pairs = zip(weights, losses.values(), strict=True)
            metrics |= {"loss": sum(weight * loss for weight, loss in pairs), **by_name}
        elif self.select not in metrics:
            raise InputError(
                f"'select_metric' {self.select!r} is not computed"
                f" (found {', '.join(metrics) or 'none'})"
            )
        self.epoch = epoch
        self.global_step += len(self.loader)
        value = metrics[self.select]
        if self.stopping.update(epoch, self._sign * value):
            self.best_metrics = metrics
            self._best = {
                name: deepcopy(module.state_dict()) for name, module in self.modules.items()
            }
        row = {"epoch": float(epoch), "seconds": seconds, **by_name}
        row |= {
            name if name.partition("/")[0] == "loss" else f"valid/{name}": value
            for name, value in metrics.items()
        }
        if self.history is not None:
            self.history.append({**row, "epoch": epoch})
        if self.checkpoint is not None and (self._is_over or epoch % self.checkpoint_every == 0):
            self.checkpoint.save(save_state(self))
        for log in self.loggers:
            log(row)
        return row

    def _describe(self, row: Row) -> str:
        losses = " ".join(
            f"{key.removeprefix('loss/')} {value:.4f}"
            for key, value in row.items()
            if key.startswith("loss/")
        )
        column = "loss" if self.select == "loss" else f"valid/{self.select}"
        return (
            f"{losses} | {self.select} {row[column]:.4f}"
            f" best {self._sign * self.stopping.best_value:.4f} @ {self.stopping.best_epoch}"
        )
