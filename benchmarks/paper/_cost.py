"""What a training step costs under every rule, relative to the sum."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.paper._cells import Cell
from benchmarks.paper._runs import arm_of, split
from benchmarks.speed._machine import machine


def cost(
    dataset: str, root: str | None, rules: list[str], device: str, rounds: int, steps: int = 16
) -> dict[str, Any]:
    """Times steps of all rules in turns, in one process, on the same batches.

    Args:
        dataset: The data set, with MF and all its tasks.
        root: The folder of the data sets.
        rules: The rules; the sum is always among them.
        device: Where to train.
        rounds: How often each takes its turn.
        steps: Steps of a turn, optimiser included.
    """
    rules = list(dict.fromkeys(["sum", *rules]))
    params = {"lr": 0.005, "weight_decay": 1e-5}
    turns = {rule: _Turns(Cell("mf", "all", rule), dataset, root, params, device) for rule in rules}
    for turn in turns.values():
        turn(steps)
    times: dict[str, list[float]] = {rule: [] for rule in rules}
    for _ in range(rounds):
        for rule, turn in turns.items():
            times[rule].append(1e3 * turn(steps))
    return {
        "encoder": "mf",
        "ms_per_step": {rule: statistics.median(values) for rule, values in times.items()},
        "ratio": {
            rule: statistics.median(a / b for a, b in zip(values, times["sum"], strict=True))
            for rule, values in times.items()
        },
        "rounds": rounds,
        "steps": steps,
        "machine": machine(),
    }


class _Turns:
    """Some steps of one arm, whenever it is its turn."""

    def __init__(
        self, cell: Cell, dataset: str, root: str | None, params: dict[str, Any], device: str
    ) -> None:
        settings = cell.settings(dataset, root, params)
        self.arm = arm_of(settings, split(dataset, root, 0), device)
        self.optimizer = self.arm.trainer(lambda scorer: None, progress=False).optimizer  # type: ignore[arg-type]
        self.batches = self._forever()

    def _forever(self) -> Iterator[Any]:
        while True:
            yield from self.arm.loader

    def __call__(self, steps: int) -> float:
        if self.arm.device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(steps):
            self.arm.step(next(self.batches), epoch=1)
            self.optimizer.step()
        if self.arm.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / steps
