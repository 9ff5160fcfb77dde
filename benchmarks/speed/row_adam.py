"""RowAdam beside fused dense AdamW on tables of several sizes, of which a step reads few rows.

    python -m benchmarks.speed.row_adam [--out FILE.json]

Both take a step in turns on tables of the same size; RowAdam's includes bringing the rows up to
date. Its first dense steps are left out.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import Parameter

from benchmarks.speed._machine import machine
from benchmarks.speed.lightgcn_epoch import say
from pyg_mtrec.training import RowAdam

# Rows and width of the table, rows that a step reads
SIZES = ((318_000, 32, 12_000), (833_000, 64, 12_000), (3_000_000, 64, 12_000))


def measure(rows: int, dim: int, read: int, steps: int) -> dict[str, Any]:
    """Milliseconds of a step of both."""
    draws = torch.Generator().manual_seed(0)
    tables = [Parameter(0.1 * torch.randn(rows, dim, generator=draws)) for _ in range(2)]
    for table in tables:
        table.grad = torch.zeros_like(table)
    ids = torch.randint(rows, (steps, read), generator=draws)
    dense, sparse = torch.optim.AdamW(tables[:1], fused=True), RowAdam({"table": tables[1]})
    sparse.dense_steps = 1
    dense.step()
    sparse.step()
    took: tuple[list[float], list[float]] = ([], [])
    for some in ids:
        took[0].append(_timed(dense.step))
        took[1].append(_timed(lambda some=some: (sparse.read({"table": some}), sparse.step())))
    names = ("dense_ms", "row_adam_ms")
    found = {name: statistics.median(ms) for name, ms in zip(names, took, strict=True)}
    return {"rows": rows, "dim": dim, "read": read, **found}


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    """Prints one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [measure(*size, args.steps) for size in SIZES]
    say({"case": "row_adam", "machine": machine(), "sizes": sizes}, args.out)


if __name__ == "__main__":
    main()
