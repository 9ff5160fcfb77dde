"""Times a training step of every head, and two heads beside those of other libraries.

    python -m benchmarks.speed.heads [--root DIR] [--out FILE.json]

A step is forward, the targets' gradients, the rule and the optimiser, on impressions of KuaiRand's
slice with ``--root`` and of a planted world without. HTLNet stands there with the published sizes,
which hold six times the parameters of SharedBottom's, and both also with about as many as the
other. Beside it, MMoE and PLE of the same sizes as this library, DeepCTR-Torch and torch-rechub
have them: a whole step of each library's training loop on the same impressions, and forward and
backward of the head alone on the same input. A library that cannot be imported is left out. All of
it takes turns in one process, and milliseconds are medians over the rounds.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed import _head_peers
from benchmarks.speed._head_peers import PACKAGES, Columns, head_alone, whole_step
from benchmarks.speed._machine import machine
from pyg_mtrec.training import Settings
from pyg_mtrec.training._arm import optimizer_of
from pyg_mtrec.training._impressions import ImpressionData, load_impressions
from pyg_mtrec.training._predictor_arm import PredictorArm

HEADS = ("single-task", "shared-bottom", "mmoe", "ple", "esmm", "aitm", "htlnet")
RULE = "gradient-adjustment"
BASE, OURS = "shared-bottom + sum", f"htlnet + {RULE}"
SMALL, LARGE = f"htlnet, small + {RULE}", "shared-bottom, large + sum"
# About as many parameters as the other of the two has in its default sizes.
SIZED = {
    SMALL: ("htlnet", RULE, {"tower": "48,32", "fusion_dim": 32}),
    LARGE: ("shared-bottom", "sum", {"hidden": "400,256", "tower": "64,"}),
}
_COMMON = {"hidden": "128,64", "tower": "64,", "dropout": _head_peers.DROPOUT}
OWN_SIZES = {
    "mmoe": {**_COMMON, "num_experts": _head_peers.EXPERTS},
    "ple": {
        **_COMMON,
        "num_own": _head_peers.OWN,
        "num_shared": _head_peers.SHARED,
        "num_levels": _head_peers.LEVELS,
    },
}


class Step:
    """One arm: its own tables, head and optimiser; all see the same batches."""

    def __init__(
        self,
        data: ImpressionData,
        settings: Settings,
        head: str,
        rule: str,
        sizes: Mapping[str, Any] | None = None,
    ) -> None:
        options = [f"{name}={value}" for name, value in (sizes or {}).items()]
        settings = replace(settings, head=head, balancer=rule, head_options=options)
        self.arm = PredictorArm(head, settings, head, rule, data, torch.device("cpu"))
        self.optimizer = optimizer_of(settings, [self.arm.model], self.arm.step)
        self.arm.model.train()
        self.all = [batch for batch in self.arm.loader if batch.size == settings.batch_size]
        self.batches = itertools.cycle(self.all)

    def __call__(self) -> None:
        self.arm.step(next(self.batches), epoch=1)
        self.optimizer.step()

    @property
    def num_parameters(self) -> int:
        """Of the head."""
        return sum(p.numel() for p in self.arm.model.head.parameters())


def columns_of(step: Step) -> Columns:
    """The first batch of an arm, for other libraries: a category more for what is missing."""
    batch, model = step.all[0], step.arm.model
    sizes = {name: table.size(0) for name, table in model.tables.items() if name != "fields"}
    found = [batch.user, batch.item]
    for place, number in enumerate(model.fields.num_categories if model.fields else []):
        assert batch.categorical is not None
        column = batch.categorical[:, place]
        sizes[f"categorical{place}"] = number + 1
        found.append(torch.where((column < 0) | (column >= number), number, column))
    numeric = [] if batch.numeric is None else list(batch.numeric.nan_to_num().unbind(1))
    names = [f"numeric{place}" for place in range(len(numeric))]
    x = torch.stack([column.float() for column in [*found, *numeric]], dim=1)
    return Columns(sizes, names, x, batch.label.float())


def peers(
    data: ImpressionData, settings: Settings, x: Tensor
) -> tuple[dict[str, Callable[[], None]], dict[str, Callable[[], None]]]:
    """Whole steps and passes through the head alone, by ``"head/library"``."""
    steps: dict[str, Callable[[], None]] = {}
    passes: dict[str, Callable[[], None]] = {}
    for head in _head_peers.HEADS:
        ours = Step(data, settings, head, "sum", OWN_SIZES[head])
        steps[f"{head}/pyg_mtrec"] = ours
        passes[f"{head}/pyg_mtrec"] = head_alone("pyg_mtrec", head, x)
        for library in PACKAGES:
            try:
                passes[f"{head}/{library}"] = head_alone(library, head, x)
            except ImportError as error:
                print(f"{library} is left out: {error}")
                continue
            steps[f"{head}/{library}"] = whole_step(
                library, head, columns_of(ours), settings.dim, settings.lr
            )
    return steps, passes


def rounds(
    arms: Mapping[str, Callable[[], None]], number: int, steps: int
) -> dict[str, list[float]]:
    """Milliseconds a step, round by round."""
    for arm in arms.values():
        arm()
    found: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(number):
        for name, arm in arms.items():
            began = time.perf_counter()
            for _ in range(steps):
                arm()
            found[name].append(1e3 * (time.perf_counter() - began) / steps)
    return found


def main() -> None:
    """Prints the medians, and writes them where asked."""
    args = _parse()
    torch.set_num_threads(1)
    planted = ["targets=hybrid", f"num_interactions={args.impressions}"]
    settings = Settings(
        dataset="kuairand-slice" if args.root else "planted",
        root=args.root,
        dataset_options=[] if args.root else planted,
        batch_size=args.batch_size,
        dim=args.dim,
        lr=1e-3,
    )
    data = load_impressions(settings)
    steps = {f"{head} + sum": Step(data, settings, head, "sum") for head in HEADS}
    for head in ("shared-bottom", "htlnet"):
        steps[f"{head} + {RULE}"] = Step(data, settings, head, RULE)
    for name, (head, rule, sizes) in SIZED.items():
        steps[name] = Step(data, settings, head, rule, sizes)
    width = steps[BASE].arm.model.head.in_dim
    x = torch.randn(args.batch_size, width, generator=torch.Generator().manual_seed(0))
    took = rounds(steps, args.rounds, args.steps)
    whole, alone = (rounds(arms, args.rounds, args.steps) for arms in peers(data, settings, x))
    found = {
        "case": "heads",
        "data": settings.dataset,
        "batch_size": args.batch_size,
        "input_width": width,
        "machine": machine(),
        "rounds": args.rounds,
        "ms_per_step": {name: statistics.median(ms) for name, ms in took.items()},
        "parameters": {name: step.num_parameters for name, step in steps.items()},
        "ratio": {name: _ratio(ms, took[BASE]) for name, ms in took.items()},
        "ratio_small": _ratio(took[SMALL], took[BASE]),
        "ratio_large": _ratio(took[OURS], took[LARGE]),
        "target": {"arm": OURS, "ratio": 2.0, "times_faster": 2.0},
        "rounds_ms": took,
        "peers": {"whole step": _beside(whole), "head alone": _beside(alone)},
    }
    text = json.dumps(found, indent=2)
    print(text)
    if args.out:
        with open(args.out, "w") as file:
            file.write(text + "\n")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--impressions", type=int, default=60_000, help="of a planted world")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="of an arm in a round")
    parser.add_argument("--out", help="JSON file to write")
    return parser.parse_args()


def _beside(took: Mapping[str, list[float]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, ms in took.items():
        head, library = name.split("/")
        found.setdefault(head, {})[library] = {
            "ms": statistics.median(ms),
            "times_ours": _ratio(ms, took[f"{head}/pyg_mtrec"]),
            "version": _head_peers.version(library),
            "rounds_ms": ms,
        }
    return found


def _ratio(numerator: list[float], denominator: list[float]) -> float:
    pairs = zip(numerator, denominator, strict=True)
    return statistics.median(a / b for a, b in pairs)


if __name__ == "__main__":
    main()
