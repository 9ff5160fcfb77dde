"""How a pretraining epoch of UPRTH grows with the data, on worlds of ``planted``.

    python -m benchmarks.speed.uprth_growth [--sizes 10000 ... 10000000] [--out FILE.json]

Every size has a process of its own, which pretrains as ``pyg-mtrec train --encoder uprth`` does:
alignment and one task a relation, attention, Adam, all edges in one step. Seconds are medians over
epochs. Memory is the largest resident size of that process, and of what is above its imports; the
world is drawn and split by another one, whose memory does not count. The exponent is the slope of
a straight line through the logarithms: 1 is linear growth, less is what small sizes pay for calls.
Ten million interactions draw for minutes and take several gigabytes, so they are left out unless
asked for.
"""

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from benchmarks.speed._machine import machine
from benchmarks.speed._worlds import add_arguments, measured
from benchmarks.speed.uprth_epoch import peak_gb
from pyg_mtrec.datasets import Planted
from pyg_mtrec.training import Settings
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import SplitData
from pyg_mtrec.training._stages import pretraining
from pyg_mtrec.transforms import AddTaskHypergraphs, SplitInteractions

SIZES = (10_000, 100_000, 1_000_000)
MAIN = ("user", "interacts", "item")


def prepare(size: int, path: Path) -> None:
    """Draws a world, splits it, and keeps its training graph with the task hypergraphs."""
    train = SplitInteractions("random", seed=0)(Planted(num_interactions=size)[0])[0]
    train = AddTaskHypergraphs()(train)
    graph: dict[str, Any] = {"nodes": {}, "edges": []}
    for name in train.node_types:
        graph["nodes"][name] = int(train[name].num_nodes)
    for key in train.edge_types:
        store = train[key]
        graph["edges"].append((*key, store.edge_index, store.get("task")))
    torch.save(graph, path)


def read(path: Path) -> HeteroData:
    """The graph that was kept."""
    graph = torch.load(path, weights_only=True)
    data = HeteroData()
    for name, number in graph["nodes"].items():
        data[name].num_nodes = number
    for src, relation, dst, edge_index, task in graph["edges"]:
        data[src, relation, dst].edge_index = edge_index
        if task is not None:
            data[src, relation, dst].task = task
    return data


def measure(path: Path, dim: int, epochs: int, warm_up: int) -> dict[str, Any]:
    """Some epochs of pretraining on a graph, in this process."""
    imports = peak_gb()
    data = read(path)
    hypergraphs = [key for key in data.edge_types if "task" in data[key]]
    names = [f"hyperedge-{data[key].task.replace('_', '-')}" for key in hypergraphs]
    settings = pretraining(Settings(encoder="uprth", balancer="sum", dim=dim))
    split = SplitData(data, data, data, ["alignment", *names], "random")
    arm = Arm("growth", settings, split.tasks, "sum", split, torch.device("cpu"))
    optimizer = arm.pretrainer(progress=False).optimizer
    wall, cpu = [], []
    for epoch in range(1, warm_up + epochs + 1):
        on_wall, on_cpu = time.perf_counter(), time.process_time()
        for batches in arm.loader:
            arm.step(batches, epoch=epoch)
            optimizer.step()
        wall.append(time.perf_counter() - on_wall)
        cpu.append(time.process_time() - on_cpu)
    wall, cpu = wall[warm_up:], cpu[warm_up:]
    peak = peak_gb()
    return {
        "users": int(data["user"].num_nodes),
        "items": int(data["item"].num_nodes),
        "training_interactions": data[MAIN].num_edges,
        "incidences": sum(data[key].num_edges for key in hypergraphs),
        "tasks": split.tasks,
        "epoch_seconds": statistics.median(wall),
        "epoch_cpu_seconds": statistics.median(cpu),
        "epochs_seconds": wall,
        "imports_gb": imports,
        "peak_gb": peak,
        "peak_above_imports_gb": peak - imports,
    }


def exponent(sizes: list[int], values: list[float]) -> float:
    """Slope of the logarithms by least squares."""
    x, y = ([math.log(value) for value in found] for found in (sizes, values))
    return statistics.linear_regression(x, y).slope


def _exponents(found: dict[int, dict[str, Any]]) -> dict[str, float]:
    names = ("epoch_seconds", "epoch_cpu_seconds", "peak_above_imports_gb")
    return {
        name: exponent(list(found), [entry[name] for entry in found.values()]) for name in names
    }


def main() -> None:
    """Measures every size and prints what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser, SIZES)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.prepare:
        prepare(args.sizes[0], args.prepare)
        return
    if args.measure:
        print(json.dumps(measure(args.measure, args.dim, args.epochs, args.warm_up)))
        return
    load = os.getloadavg()[0]
    same = ["--dim", args.dim, "--epochs", args.epochs, "--warm-up", args.warm_up]
    same += ["--threads", args.threads]
    found = measured("benchmarks.speed.uprth_growth", args.sizes, same)
    content: dict[str, Any] = {
        "case": "uprth_growth",
        "data": "planted",
        "dim": args.dim,
        "sizes": {str(size): entry for size, entry in found.items()},
        "machine": machine(),
        "load_before": load,  # of other processes
        # Whether the wall's seconds are those of the processor, so that nothing was waited for.
        "quiet": all(
            entry["epoch_cpu_seconds"] >= 0.95 * entry["epoch_seconds"] for entry in found.values()
        ),
    }
    if len(found) > 1:
        content["exponents"] = _exponents(found)
        content["exponents_of_largest"] = _exponents(dict(list(found.items())[-2:]))
    text = json.dumps(content, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
