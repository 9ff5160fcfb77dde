import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from tqdm import tqdm

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.runs import Checkpoint, History
from pyg_mtrec.training._state import load_state, save_state
from pyg_mtrec.training.early_stopping import EarlyStopping
from pyg_mtrec.training.multi_task_step import MultiTaskStep

Row = dict[str, float]


class Trainer:
    r"""Trains until validation stops rising, keeps the best weights, and resumes after a kill.

    All that a later epoch depends on (weights, optimiser, balancer, random generators, counters)
    is in the checkpoint that ends an epoch, so a resumed run is the run that was not interrupted.

    Args:
        step: Fills ``.grad``.
        loader: Yields the batches of an epoch; its first task is the main one.
        optimizer: Owns the parameters of tables, encoder and tasks.
        evaluate: Returns the validation metrics of the current weights.
        select: The validation metric that selects the epoch; larger is better.
        epochs: The largest number of epochs.
        patience: Epochs without a gain before stopping.
        checkpoint: Where the state is saved after every epoch (default: nowhere).
        history: Where one row an epoch is appended (default: nowhere).
        loggers: Called with every row of the history.
        title: Stands before the progress bar.
        progress: Whether to show a progress bar on standard error, if that is a terminal.

    Example:
        >>> from pyg_mtrec.training import Trainer  # see examples/ for a whole run
    """

    def __init__(
        self,
        step: MultiTaskStep,
        loader: MultiTaskLoader,
        optimizer: Optimizer,
        evaluate: Callable[[], Mapping[str, float]],
        *,
        select: str = "recall@20",
        epochs: int = 100,
        patience: int = 10,
        checkpoint: Checkpoint | None = None,
        history: History | None = None,
        loggers: Sequence[Callable[[Row], None]] = (),
        title: str = "",
        progress: bool = True,
    ) -> None:
        self.step, self.loader, self.optimizer = step, loader, optimizer
        self.evaluate, self.select, self.epochs = evaluate, select, epochs
        self.checkpoint, self.history, self.loggers = checkpoint, history, loggers
        self.title, self.progress = title, progress
        self.stopping = EarlyStopping(patience)
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
            "embedding": collector.embedding,
            "encoder": collector.encoder,
            "balancer": self.step.balancer,
            **{f"task/{name}": task for name, task in collector.tasks.items()},
        }

    def fit(self, resume: bool = False) -> Row:
        r"""Trains and leaves the best epoch's weights in place.

        Args:
            resume: Continue from ``checkpoint`` if it holds a state.

        Returns:
            The validation metrics of the best epoch.

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
            while self.epoch < self.epochs and not self.stopping.should_stop(self.epoch):
                row = self._epoch(bar)
                bar.set_postfix_str(self._describe(row), refresh=False)
        for name, module in self.modules.items():
            if name in self._best:
                module.load_state_dict(self._best[name])
            module.eval()  # also where a resumed run had no epoch left
        return self.best_metrics

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
                    f"the loss of task {name!r} became {value} in epoch {epoch}:"
                    " try a smaller 'lr' or, if it happens at once, look for it in the data"
                )
        trained = time.perf_counter()
        for module in self.modules.values():
            module.eval()
        metrics = dict(self.evaluate())
        validated = time.perf_counter()
        self.seconds["train"] += trained - began
        self.seconds["validate"] += validated - trained
        return self._finish(epoch, losses_of, metrics, trained - began)

    def _finish(self, epoch: int, losses: Row, metrics: Row, seconds: float) -> Row:
        if self.select not in metrics:
            raise InputError(
                f"'select_metric' {self.select!r} is not computed (found {', '.join(metrics)})"
            )
        self.epoch = epoch
        self.global_step += len(self.loader)
        if self.stopping.update(epoch, metrics[self.select]):
            self.best_metrics = metrics
            self._best = {
                name: deepcopy(module.state_dict()) for name, module in self.modules.items()
            }
        row = {"epoch": float(epoch), "seconds": seconds}
        row |= {f"loss/{name}": value for name, value in losses.items()}
        row |= {f"valid/{name}": value for name, value in metrics.items()}
        if self.history is not None:
            self.history.append({**row, "epoch": epoch})
        if self.checkpoint is not None:
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
        return (
            f"{losses} | {self.select} {row['valid/' + self.select]:.4f}"
            f" best {self.stopping.best_value:.4f} @ {self.stopping.best_epoch}"
        )
