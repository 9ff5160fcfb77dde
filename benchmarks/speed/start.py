"""How long the package takes to import, its command to answer, and a run to its first step.

    python -m benchmarks.speed.start [--rounds 9] [--out FILE.json]

Every time is of a process of its own, in turns. Import is what ``import pyg_mtrec`` adds to
``import torch, torch_geometric``, whether the package alone is imported or every public name too.
The first step is one training step of LightGCN on the smallest planted world, with its data, from
the start of the process.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.speed._machine import machine
from benchmarks.speed.lightgcn_epoch import say

TARGETS = {"import_seconds": 0.3, "help_seconds": 1.0}
_BASE = "import torch, torch_geometric"
_NAMES = """
import pyg_mtrec
for room in pyg_mtrec.__all__:
    module = getattr(pyg_mtrec, room)
    for name in getattr(module, "__all__", ()):
        getattr(module, name)
"""
_STEP = """
import torch
from pyg_mtrec.datasets import Planted
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.balancing import PMTRec
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.nn import Adjacency, LightGCN, NodeEmbedding
from pyg_mtrec.tasks import BPR
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import NormalizedAdjacency, SplitInteractions
train = SplitInteractions(seed=0)(Planted(num_interactions=10_000)[0])[0]
adj_dict = Adjacency.dict_from(NormalizedAdjacency()(train))
tasks = {"bpr": BPR()}
embedding = NodeEmbedding.from_data(train, 64)
draws = torch.Generator().manual_seed(0)
loader = MultiTaskLoader({"bpr": tasks["bpr"].sampler(train, draws)}, 2048, draws)
step = MultiTaskStep(GradientCollector(embedding, LightGCN(3), tasks), PMTRec(), adj_dict)
optimizer = torch.optim.Adam(embedding.parameters(), fused=True)
step(next(iter(loader)), epoch=1)
optimizer.step()
"""
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "torch and torch_geometric": [sys.executable, "-c", _BASE],
    "and pyg_mtrec": [sys.executable, "-c", f"{_BASE}\nimport pyg_mtrec"],
    "and every public name": [sys.executable, "-c", _BASE + _NAMES],
    "pyg-mtrec --help": [sys.executable, "-m", "pyg_mtrec.cli", "--help"],
    "first step": [sys.executable, "-c", _STEP],
}


def seconds(command: list[str]) -> float:
    """How long a process takes."""
    began = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return time.perf_counter() - began


def measure(rounds: int) -> dict[str, Any]:
    """Times all commands."""
    for command in COMMANDS.values():
        seconds(command)  # reads the files
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            found[name].append(seconds(command))
    base = found["torch and torch_geometric"]
    return {
        "case": "start",
        "machine": machine(),
        "rounds": rounds,
        "seconds": {name: statistics.median(times) for name, times in found.items()},
        "added": {
            name: statistics.median(a - b for a, b in zip(found[name], base, strict=True))
            for name in ("and pyg_mtrec", "and every public name")
        },
        "targets": TARGETS,
        "rounds_seconds": found,
    }


def main() -> None:
    """Prints one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    say(measure(args.rounds), args.out)


if __name__ == "__main__":
    main()
