"""Times one pretraining epoch of UPRTH and takes its memory, on Steam or at the size of XMarket-MX.

    python -m benchmarks.speed.uprth_epoch --root DIR [--data xmrec_mx] [--out FILE.json]

The settings are the authors': d = 128, full batches, all pretext tasks, attention, Adam. The
authors' code takes 1.5 to 2 seconds for an epoch on Steam and 2.0 GB. Seconds are medians over
epochs, of the wall and of the processor: where the two differ, other processes had the machine.
Memory is the largest resident size of the process after pretraining, finetuning and one ranking of
all test users, in all and above what the imports take. Without --root, and for --data synthetic,
edges are random and their numbers those of XMarket-MX.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks.paper import _uprth_authors as authors
from benchmarks.speed._machine import machine
from pyg_mtrec.datasets import Steam, XMRecMX

DATASETS = {"steam": Steam, "xmrec_mx": XMRecMX}
TARGETS = {"steam": {"seconds": 0.5, "gb": 1.0}, "xmrec_mx": {"gb": 4.0}, "synthetic": {"gb": 4.0}}
USERS, ITEMS, TEST_USERS = 221_890, 35_235, 64_923
LINES = {"bought_together": (4_221, 4_822), "compared_together": (2_309, 3_390)}
LABELS = {"category": 14, "rating": 9}


def synthetic() -> HeteroData:
    """Random edges as many as in XMarket-MX: one training item a user, few very popular items."""
    generator = torch.Generator().manual_seed(0)

    def draw(high: int, number: int, skew: float = 1.0) -> Tensor:
        return (torch.rand(number, generator=generator).pow(skew) * high).long()

    data = HeteroData()
    sizes = {"user": USERS, "item": ITEMS, **LABELS}
    for name, size in sizes.items():
        data[name].num_nodes, data[name].raw_id = size, torch.arange(size)
    train = torch.stack([torch.arange(USERS), draw(ITEMS, USERS, 4.0)])
    test = torch.stack([torch.arange(TEST_USERS), draw(ITEMS, TEST_USERS, 4.0)])
    test = test[:, test[1] != train[1, :TEST_USERS]]
    data[authors.MAIN].edge_index = torch.cat([train, test], dim=1)
    data[authors.MAIN].split = torch.tensor([0, 2]).repeat_interleave(
        torch.tensor([USERS, test.size(1)])
    )
    for name, size in LABELS.items():
        data["item", "in", name].edge_index = torch.stack([torch.arange(ITEMS), draw(size, ITEMS)])
    for name, (heads, pairs) in LINES.items():
        data["item", name, "item"].edge_index = torch.stack(
            [torch.arange(heads).repeat(2)[:pairs], draw(ITEMS, pairs)]
        )
    return data


def peak_gb() -> float:
    """The largest resident size so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def parts(stage: authors.Stage, rounds: int) -> dict[str, float]:
    """Median processor seconds of what can be run alone, and of the rest of an epoch."""
    found: dict[str, list[float]] = {}

    def timed(name: str, began: float) -> float:
        now = time.process_time()
        found.setdefault(name, []).append(now - began)
        return now

    for _ in range(rounds):
        now = time.process_time()
        batches = stage.batches()
        now = timed("negatives", now)
        with torch.no_grad():
            stage.encoder(stage.embedding(), stage.adj_dict)
        now = timed("encoder, forwards", now)
        stage.optimizer.step()  # on the gradients of the last step
        now = timed("adam", now)
        stage.step(batches)
        timed("step", now)
    median = {name: statistics.median(values) for name, values in found.items()}
    rest = median.pop("step") - median["encoder, forwards"] - median["adam"]
    return {**median, "losses and gradients": rest}


def operators(stage: authors.Stage, epochs: int, rows: int) -> list[dict[str, Any]]:
    """The operators with the largest share of an epoch, by the number of rows they go over."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
    ) as profile:
        for _ in range(epochs):
            stage.step()
    spent: Counter[tuple[str, int]] = Counter()
    calls: Counter[tuple[str, int]] = Counter()
    for event in profile.key_averages(group_by_input_shape=True):
        # Losses go over chunks of edges, so rows tell users, hyperedges and chunks apart.
        sizes = [shape[0] for shape in event.input_shapes if isinstance(shape, list) and shape]
        key = (event.key, sizes[0] if sizes else 0)
        spent[key] += event.self_cpu_time_total
        calls[key] += event.count
    whole = sum(spent.values())
    return [
        {
            "operator": name,
            "rows": number,
            "ms": round(value / epochs / 1000, 2),
            "calls": round(calls[name, number] / epochs, 1),
            "share": round(value / whole, 4),
        }
        for (name, number), value in spent.most_common(rows)
    ]


def _load(name: str, root: Path | None) -> HeteroData:
    if name == "synthetic" or root is None:
        return synthetic()
    folder = root / name
    if not (folder / "processed").exists():
        # Reading text files has a peak of its own, which is that of another process.
        call = f"from pyg_mtrec.datasets import {DATASETS[name].__name__} as D; D({str(folder)!r})"
        subprocess.run([sys.executable, "-c", call], check=True)
    dataset: Any = DATASETS[name](str(folder))
    data: HeteroData = dataset[0]
    return data


def main() -> None:
    """Runs and prints one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder of the data sets")
    parser.add_argument("--data", choices=sorted(TARGETS), default="steam")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--dim", type=int, default=authors.DIM)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--profile", type=int, default=0, help="operators to list")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    imports = peak_gb()
    load = os.getloadavg()[0]

    train, test = authors.split(_load(args.data, args.root))
    start = authors.initial(train, 0, args.dim)
    embedding = authors.tables(train, start, torch.float32)
    del start
    stage = authors.pretraining(train, embedding)
    before = peak_gb()
    wall, cpu = [], []
    for _ in range(args.warm_up + args.epochs):
        on_wall, on_cpu = time.perf_counter(), time.process_time()
        stage.step()
        wall.append(time.perf_counter() - on_wall)
        cpu.append(time.process_time() - on_cpu)
    wall, cpu = wall[args.warm_up :], cpu[args.warm_up :]
    pretraining = peak_gb()
    by_part = parts(stage, 5)
    tasks = list(stage.tasks)
    del stage

    stage = authors.finetuning(train, embedding)
    began = time.process_time()
    for _ in range(args.epochs):
        stage.step()
    finetuning = (time.process_time() - began) / args.epochs
    authors.evaluator_of(test)(stage.scorer())
    peak = peak_gb()
    listed = []
    if args.profile:  # last, since the profiler's records take memory
        listed = operators(authors.pretraining(train, embedding), 3, args.profile)

    target = TARGETS[args.data]
    median = statistics.median(wall)
    found = {
        "case": "uprth_epoch",
        "data": args.data,
        "users": int(train["user"].num_nodes),
        "items": int(train["item"].num_nodes),
        "tasks": tasks,
        "dim": args.dim,
        "machine": machine(),
        "load_before": load,  # of other processes
        # Whether the wall's seconds are those of the processor, so that nothing was waited for.
        "quiet": statistics.median(cpu) >= 0.95 * median,
        "pretrain_epoch_seconds": median,
        "pretrain_epoch_seconds_fastest": min(wall),
        "pretrain_epoch_cpu_seconds": statistics.median(cpu),
        "finetune_epoch_cpu_seconds": finetuning,
        "epochs_seconds": wall,
        "cpu_seconds_of_parts": by_part,
        "imports_gb": imports,
        "before_training_gb": before,
        "pretraining_peak_gb": pretraining,
        "peak_gb": peak,
        "peak_above_imports_gb": peak - imports,
        "targets": target,
        "reached": {
            "gb": peak <= target["gb"],
            **({"seconds": median <= target["seconds"]} if "seconds" in target else {}),
        },
        "operators": listed,
    }
    text = json.dumps(found, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
