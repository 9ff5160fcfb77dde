"""A training step of LightGCN on Gowalla (d = 64, 3 layers, batches of 2048), and its epoch.

    python -m benchmarks.speed.lightgcn_epoch --root DIR [--peers DIR ...] [--out FILE.json]

Every library starts from the same tables and takes the same batches with the same negatives, each
in a process of its own, in turns; their losses are printed beside each other, since equal work is
what is compared. An epoch is as many steps as the training edges make batches of, without the
drawing of negatives and the evaluation, which have cases of their own. The bound is the time in
which the six products of a step would move their bytes at the measured rate of a copy, if every
row were fetched anew for every entry.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed._interleave import interleave, ratio
from benchmarks.speed._machine import machine
from benchmarks.speed._problem import Problem

MODULE, OURS = "benchmarks.speed.arms.lightgcn", "pyg_mtrec"
STEPS = {OURS: 6, "PyG": 1, "PyG, normalised CSR": 3, "RecBole": 3, "LightGCN-PyTorch": 3}
BATCHES, TARGET = 12, 3.0


def problem(root: str | None, args: argparse.Namespace) -> Problem:
    """Training edges of Gowalla, or of a random graph of its size."""
    if root is None:
        users, items, number = 29_858, 40_981, 810_128
        generator = torch.Generator().manual_seed(0)
        keys = torch.randint(users * items, (number,), generator=generator).unique()
        edges = torch.stack([keys // items, keys % items])
    else:
        from pyg_mtrec.datasets import Gowalla
        from pyg_mtrec.transforms import SplitInteractions

        train = SplitInteractions("given")(Gowalla(f"{root}/gowalla")[0])[0]
        edges = train["user", "interacts", "item"].edge_index
        users, items = int(train["user"].num_nodes), int(train["item"].num_nodes)
    generator = torch.Generator().manual_seed(1)
    picked = torch.randint(edges.size(1), (BATCHES, args.batch_size), generator=generator)

    def table(rows: int) -> Tensor:
        return 0.1 * torch.randn(rows, args.dim, generator=generator)

    return Problem(
        {
            "edge_index": edges.contiguous(),
            "user": edges[0][picked],
            "item": edges[1][picked],
            "negative": torch.randint(items, picked.shape, generator=generator),
            "user_x": table(users),
            "item_x": table(items),
        },
        {
            "num_users": users,
            "num_items": items,
            "dim": args.dim,
            "layers": args.layers,
            "lr": 1e-3,
            "l2": 1e-4,
        },
        args.device,
        args.threads,
    )


def copy_rate(device: str, megabytes: int = 256, repeats: int = 7) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.ones(megabytes << 18, device=device)
    target, best = torch.empty_like(source), math.inf
    for _ in range(repeats):
        began = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * 4 * source.numel() / best


def bytes_of_step(given: Problem) -> int:
    """Bytes that forward and backward products move."""
    sizes, edges = given.sizes, given.tensors["edge_index"].size(1)
    rows = sizes["num_users"] + sizes["num_items"]
    one = 2 * edges * (4 * sizes["dim"] + 8) + rows * (4 * sizes["dim"] + 4)
    return int(2 * sizes["layers"] * one)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Times all libraries."""
    torch.set_num_threads(args.threads)
    given = problem(args.root, args)
    arms = {name: steps for name, steps in STEPS.items() if not args.arms or name in args.arms}
    found = interleave(
        MODULE, arms, given, args.rounds, {name: args.peers for name in arms if name != OURS}
    )
    steps = math.ceil(given.tensors["edge_index"].size(1) / args.batch_size)
    rate = copy_rate(args.device)
    for entry in found.values():
        if "ms" in entry:
            entry["epoch_seconds"] = entry["ms"] * steps / 1e3
            entry["times_ours"] = ratio(entry, found[OURS])
    return {
        "case": "lightgcn-epoch",
        "data": "gowalla" if args.root else "random",
        "sizes": {**given.sizes, "edges": given.tensors["edge_index"].size(1)},
        "batch_size": args.batch_size,
        "steps_per_epoch": steps,
        "machine": {**machine(), "threads": args.threads, "device": args.device},
        "rounds": args.rounds,
        "bound_ms": 1e3 * bytes_of_step(given) / rate,
        "copy_gb_per_s": rate / 1e9,
        "target": TARGET,
        "arms": found,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What every case that has peers takes."""
    parser.add_argument("--root", help="folder of the data sets (default: random data)")
    parser.add_argument("--peers", nargs="*", default=[], help="folders with peers' packages")
    parser.add_argument("--arms", nargs="*", help="only these")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file to write")


def say(found: dict[str, Any], out: Path | None) -> None:
    """Prints what was measured, and writes it where asked."""
    text = json.dumps(found, indent=2)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")


def main() -> None:
    """Prints one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=2048)
    args = parser.parse_args()
    say(measure(args), args.out)


if __name__ == "__main__":
    main()
