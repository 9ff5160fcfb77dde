"""One arm in a process of its own: makes it ready, then runs as many steps as it is told to.

    python -m benchmarks.speed._worker MODULE ARM PROBLEM

A line in is a number of steps, or 0 to measure memory; a line out is JSON: seconds and what the
last step returned, or the peak in MB above what stays from one step to the next (model, gradients,
what the optimiser keeps).
"""

import contextlib
import ctypes
import gc
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed._problem import Problem


def resident(name: str) -> float:
    """Resident memory of this process in MB, ``VmRSS`` now or ``VmHWM`` at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name))) / 1024


def timed(step: Callable[[], Any], steps: int, gpu: bool) -> dict[str, Any]:
    """Runs steps and says how long they took."""
    wait = torch.cuda.synchronize if gpu else (lambda: None)
    wait()
    began, value = time.perf_counter(), None
    for _ in range(steps):
        value = step()
    wait()
    return {"seconds": time.perf_counter() - began, "value": value}


def memory(step: Callable[[], Any], gpu: bool) -> dict[str, Any]:
    """Runs a few steps and says how much of their memory does not stay."""
    step()
    gc.collect()
    if gpu:
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return {"mb": (torch.cuda.max_memory_allocated() - before) / 2**20}
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed goes back before it counts
    at_rest = resident("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    step()
    step()
    return {"mb": resident("VmHWM") - at_rest}


def main() -> None:
    """Serves one arm until the lines end."""
    module, arm, path = sys.argv[1:4]
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries that print do not answer
    problem = Problem.load(Path(path))
    torch.set_num_threads(problem.threads)
    make = importlib.import_module(module).ARMS[arm]
    gpu = problem.device.startswith("cuda")
    try:
        step = make(problem)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), file=answers, flush=True)
        return
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        said = timed(step, int(line), gpu) if int(line) > 0 else memory(step, gpu)
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
