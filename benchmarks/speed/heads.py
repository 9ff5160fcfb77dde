"""Times a training step of every head, and two heads beside those of other libraries.

    python -m benchmarks.speed.heads [--root DIR] [--out FILE.json]

A step is forward, the targets' gradients, the rule and the optimiser, on impressions of KuaiRand's
slice with ``--root`` and of a planted world without. Beside it, forward and backward of MMoE and
PLE as this library, DeepCTR-Torch and torch-rechub have them, of the same sizes and on the same
input; a library that cannot be imported is left out. All of it takes turns in one process, and
milliseconds are medians over the rounds.
"""

import argparse
import importlib.metadata
import itertools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.speed._machine import machine
from pyg_mtrec.nn import PLE, MMoE
from pyg_mtrec.training import Settings
from pyg_mtrec.training._impressions import ImpressionData, load_impressions
from pyg_mtrec.training._predictor_arm import PredictorArm

HEADS = ("single-task", "shared-bottom", "mmoe", "ple", "esmm", "aitm", "htlnet")
RULE = "gradient-adjustment"
BASE, OURS = "shared-bottom + sum", f"htlnet + {RULE}"
TARGETS = {"click": "binary", "long_view": "binary", "watch_time": "continuous"}
EXPERT, TOWER, EXPERTS, OWN, SHARED, LEVELS, DROPOUT = (128, 64), (64,), 4, 2, 2, 2, 0.1
PEERS = {"DeepCTR-Torch": "deepctr-torch", "torch-rechub": "torch-rechub"}


class Step:
    """One arm: its own tables, head and optimiser; all see the same batches."""

    def __init__(self, data: ImpressionData, settings: Settings, head: str, rule: str) -> None:
        settings.head, settings.balancer = head, rule
        self.arm = PredictorArm(head, settings, head, rule, data, torch.device("cpu"))
        self.optimizer = self.arm._optimizer()
        self.arm.model.train()
        batches = [batch for batch in self.arm.loader if batch.size == settings.batch_size]
        self.batches = itertools.cycle(batches)

    def __call__(self) -> None:
        self.arm.step(next(self.batches), epoch=1)
        self.optimizer.step()


class Pass:
    """Forward and backward of a model on an input that needs a gradient, as one of tables does."""

    def __init__(self, model: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> None:
        self.model, self.forward = model.train(), forward
        self.x = x.clone().requires_grad_()
        self.leaves = [self.x, *(p for p in model.parameters() if p.requires_grad)]

    def __call__(self) -> None:
        torch.autograd.grad(self.forward(self.x).sum(), self.leaves, allow_unused=True)

    @property
    def num_parameters(self) -> int:
        return sum(leaf.numel() for leaf in self.leaves[1:])


def deepctr(name: str, x: Tensor) -> Pass:
    """DeepCTR-Torch's, with linear gates and one dense input."""
    from deepctr_torch.inputs import DenseFeat
    from deepctr_torch.models import MMOE
    from deepctr_torch.models import PLE as PeerPLE

    columns = [DenseFeat("x", x.size(1))]
    sizes: dict[str, Any] = {
        "expert_dnn_hidden_units": EXPERT,
        "gate_dnn_hidden_units": (),
        "tower_dnn_hidden_units": TOWER,
        "dnn_dropout": DROPOUT,
        "task_types": ["binary" if k == "binary" else "regression" for k in TARGETS.values()],
        "task_names": list(TARGETS),
    }
    if name == "mmoe":
        model = MMOE(columns, num_experts=EXPERTS, **sizes)
    else:
        model = PeerPLE(
            columns,
            shared_expert_num=SHARED,
            specific_expert_num=OWN,
            num_levels=LEVELS,
            **sizes,
        )
    return Pass(model, model, x)


def rechub(name: str, x: Tensor) -> Pass:
    """torch-rechub's, whose layers have batch normalisation throughout."""
    from torch_rechub.basic.features import DenseFeature
    from torch_rechub.models.multi_task import MMOE
    from torch_rechub.models.multi_task import PLE as PeerPLE

    features = [DenseFeature("x", x.size(1))]
    kinds = ["classification" if k == "binary" else "regression" for k in TARGETS.values()]
    expert = {"dims": list(EXPERT), "dropout": DROPOUT}
    towers = [{"dims": list(TOWER), "dropout": DROPOUT} for _ in TARGETS]
    if name == "mmoe":
        model = MMOE(features, kinds, EXPERTS, expert, towers)
    else:
        model = PeerPLE(features, kinds, LEVELS, OWN, SHARED, expert, towers)
    return Pass(model, lambda x: model({"x": x}), x)


def own(name: str, x: Tensor) -> Pass:
    """Ours."""
    sizes: dict[str, Any] = {"hidden": EXPERT, "tower": TOWER, "dropout": DROPOUT}
    head = (
        MMoE(x.size(1), TARGETS, num_experts=EXPERTS, **sizes)
        if name == "mmoe"
        else PLE(x.size(1), TARGETS, OWN, SHARED, LEVELS, **sizes)
    )
    return Pass(head, lambda x: torch.stack(list(head(x).values())), x)


def peers(x: Tensor) -> dict[str, dict[str, Pass]]:
    """Head to library to what is timed."""
    makers = {"pyg_mtrec": own, "DeepCTR-Torch": deepctr, "torch-rechub": rechub}
    found: dict[str, dict[str, Pass]] = {"mmoe": {}, "ple": {}}
    for library, make in makers.items():
        for name, of in found.items():
            try:
                of[library] = make(name, x)
            except ImportError as error:
                print(f"{library} is left out: {error}")
                break
    return found


def rounds(arms: dict[str, Callable[[], None]], number: int, steps: int) -> dict[str, list[float]]:
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--impressions", type=int, default=60_000, help="of a planted world")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3, help="of an arm in a round")
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings(
        dataset="kuairand-slice" if args.root else "planted",
        root=args.root,
        dataset_options=[]
        if args.root
        else ["targets=hybrid", f"num_interactions={args.impressions}"],
        batch_size=args.batch_size,
        dim=args.dim,
        lr=1e-3,
    )
    data = load_impressions(settings)
    steps = {f"{head} + sum": Step(data, settings, head, "sum") for head in HEADS}
    steps |= {
        f"{head} + {RULE}": Step(data, settings, head, RULE) for head in ("shared-bottom", "htlnet")
    }
    width = steps[BASE].arm.model.head.in_dim
    x = torch.randn(args.batch_size, width, generator=torch.Generator().manual_seed(0))
    models = peers(x)
    took = rounds(dict(steps), args.rounds, args.steps)
    passes = {f"{name}/{lib}": arm for name, of in models.items() for lib, arm in of.items()}
    beside = rounds(dict(passes), args.rounds, args.steps)
    found = {
        "case": "heads",
        "data": settings.dataset,
        "batch_size": args.batch_size,
        "input_width": width,
        "machine": machine(),
        "rounds": args.rounds,
        "ms_per_step": {name: statistics.median(ms) for name, ms in took.items()},
        "ratio": {name: _ratio(ms, took[BASE]) for name, ms in took.items()},
        "target": {"arm": OURS, "ratio": 2.0, "times_faster": 2.0},
        "rounds_ms": took,
        "peers": {
            name: {
                library: {
                    "ms": statistics.median(beside[f"{name}/{library}"]),
                    "times_ours": _ratio(beside[f"{name}/{library}"], beside[f"{name}/pyg_mtrec"]),
                    "parameters": arm.num_parameters,
                    "version": _version(library),
                    "rounds_ms": beside[f"{name}/{library}"],
                }
                for library, arm in of.items()
            }
            for name, of in models.items()
        },
    }
    text = json.dumps(found, indent=2)
    print(text)
    if args.out:
        with open(args.out, "w") as file:
            file.write(text + "\n")


def _ratio(numerator: list[float], denominator: list[float]) -> float:
    pairs = zip(numerator, denominator, strict=True)
    return statistics.median(a / b for a, b in pairs)


def _version(library: str) -> str | None:
    return importlib.metadata.version(PEERS[library]) if library in PEERS else None


if __name__ == "__main__":
    main()
