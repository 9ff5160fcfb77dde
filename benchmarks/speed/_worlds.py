"""Planted worlds of several sizes, each drawn in one process and measured in another."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser, sizes: Iterable[int]) -> None:
    """What a case takes that measures worlds."""
    parser.add_argument("--sizes", type=int, nargs="+", default=list(sizes), help="interactions")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)


def measured(module: str, sizes: Iterable[int], options: Iterable[Any]) -> dict[int, Any]:
    """Size to what a module says of a world, by its own ``--prepare`` and ``--measure``."""
    found = {}
    for size in sorted(sizes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "graph.pt"
            _call(module, "--sizes", size, "--prepare", path)
            found[size] = json.loads(_call(module, "--measure", path, *options))
        print(f"{size:,} interactions are measured", file=sys.stderr)
    return found


def _call(module: str, *words: Any) -> str:
    command = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
