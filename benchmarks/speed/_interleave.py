"""Arms that take turns, each in a process of its own."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed._problem import Problem

# Freed buffers stay with the process, for every library alike: glibc gives large ones back at once
# and the kernel clears them anew for the next step.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4000000000", "MALLOC_TRIM_THRESHOLD_": "8000000000"}


class Worker:
    """A process that waits for its turn."""

    def __init__(
        self,
        module: str,
        arm: str,
        path: Path,
        threads: int,
        peers: Sequence[str],
        malloc: Mapping[str, str] = MALLOC,
    ) -> None:
        paths = [*peers, os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]
        plain = {name: value for name, value in os.environ.items() if name not in MALLOC}
        env = {**plain, **malloc, "PYTHONPATH": os.pathsep.join(paths)}
        env |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed._worker", module, arm, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.missing: str | None = self.answer().get("missing")

    def answer(self) -> dict[str, Any]:
        """What the process says next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return {"missing": f"ended with exit status {self.process.wait()}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, steps: int) -> dict[str, Any]:
        """Lets it take steps while the others wait, or measure its memory (0)."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended: the answer says so
            print(steps, file=self.process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def interleave(
    module: str,
    arms: Mapping[str, int],
    problem: Problem,
    rounds: int,
    peers: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Times arms in turns.

    Args:
        module: The module whose ``ARMS`` make them.
        arms: Arm to steps in a round: slow ones take fewer.
        problem: What all of them get.
        rounds: Rounds; the one before them warms up.
        peers: Arm to folders that hold the packages it needs.

    Returns:
        Arm to milliseconds a step in every round, their median, the last values, and the peak of
        memory that does not stay; or to why it is missing.
    """
    peers = peers or {}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.pt"
        problem.save(path)
        workers = {
            arm: Worker(module, arm, path, problem.threads, peers.get(arm, ())) for arm in arms
        }
        try:
            for arm, worker in workers.items():
                found[arm] = {"missing": worker.missing} if worker.missing else _first(worker)
            for _ in range(rounds):
                for arm, steps in arms.items():
                    if "missing" not in found[arm]:
                        _add(found[arm], workers[arm].run(steps), steps)
        finally:
            for worker in workers.values():
                worker.close()
        for arm in arms:  # with the allocator as it is
            if "missing" not in found[arm]:
                worker = Worker(module, arm, path, problem.threads, peers.get(arm, ()), {})
                found[arm]["mb"] = worker.run(0).get("mb")
                worker.close()
    for entry in found.values():
        if entry.get("rounds_ms"):
            entry["ms"] = statistics.median(entry["rounds_ms"])
    return found


def ratio(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The median over rounds of how many times longer one takes than the other."""
    pairs = zip(one["rounds_ms"], other["rounds_ms"], strict=True)
    return statistics.median(a / b for a, b in pairs)


def _first(worker: Worker) -> dict[str, Any]:
    said = worker.run(1)
    if "missing" in said:
        return said
    return {"first_ms": 1e3 * said["seconds"], "values": [said["value"]], "rounds_ms": []}


def _add(entry: dict[str, Any], said: dict[str, Any], steps: int) -> None:
    if "missing" in said:
        entry["missing"] = said["missing"]
        return
    entry["rounds_ms"].append(1e3 * said["seconds"] / steps)
    entry["values"].append(said["value"])
