"""Full ranking on Gowalla or Epinions beside RecBole's and the loop of PyG's example.

    python -m benchmarks.speed.ranking --root DIR --dataset gowalla [--peers DIR ...] [--out FILE]

Representations are random (cost does not depend on what was learned), the test users and their
seen items are those of the split, and Recall@20 and NDCG@20 have to be the same for all. RecBole
and the loop get batches of 256 users, which is faster than what their defaults come to. The bounds
form every score: once with ``topk`` alone, once with nothing but the largest score.
"""

import argparse
from typing import Any

import torch

from benchmarks.speed._interleave import interleave, ratio
from benchmarks.speed._machine import machine
from benchmarks.speed._problem import Problem
from benchmarks.speed.lightgcn_epoch import add_arguments, say

MODULE, OURS = "benchmarks.speed.arms.ranking", "pyg_mtrec"
ARMS = (OURS, "PyG", "RecBole", "product and topk", "product and maximum")
TARGETS = {"times_faster": 5.0, "of_bound": 2.0}


def problem(args: argparse.Namespace) -> Problem:
    """The test split of a data set, or random interactions."""
    generator = torch.Generator().manual_seed(0)
    if args.root:
        from pyg_mtrec.datasets import Epinions, Gowalla
        from pyg_mtrec.transforms import SplitInteractions

        if args.dataset == "gowalla":
            test = SplitInteractions("given")(Gowalla(f"{args.root}/gowalla")[0])[2]
        else:
            test = SplitInteractions(seed=0)(Epinions(f"{args.root}/epinions")[0])[2]
        store = test["user", "interacts", "item"]
        users, items = int(test["user"].num_nodes), int(test["item"].num_nodes)
        seen, held_out = store.seen_edge_index, store.edge_label_index
    else:
        users, items = args.users, args.items
        keys = torch.randint(users * items, (20 * users,), generator=generator).unique()
        keys = keys[torch.randperm(len(keys), generator=generator)]
        edges = torch.stack([keys // items, keys % items])
        seen, held_out = edges.tensor_split([int(0.8 * len(keys))], dim=1)
    x = [torch.randn(number, args.dim, generator=generator) for number in (users, items)]
    return Problem(
        {
            "seen": seen.contiguous(),
            "held_out": held_out.contiguous(),
            "user_x": x[0],
            "item_x": x[1],
        },
        {"num_users": users, "num_items": items, "dim": args.dim, "batch": 256},
        args.device,
        args.threads,
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Times all libraries, and stops if their metrics differ."""
    given = problem(args)
    chosen = dict.fromkeys(args.arms or ARMS, 1)
    peers = {name: args.peers for name in chosen if name != OURS}
    found = interleave(MODULE, chosen, given, args.rounds, peers)
    values = {name: entry["values"][-1] for name, entry in found.items() if entry.get("values")}
    for name, value in values.items():
        for metric, number in value.items():
            if abs(number - values[OURS][metric]) > 1e-5:
                raise SystemExit(f"{metric}: {name} {number}, {OURS} {values[OURS][metric]}")
    for entry in found.values():
        if "ms" in entry:
            entry["times_ours"] = ratio(entry, found[OURS])
    return {
        "case": "ranking",
        "data": args.dataset if args.root else "random",
        "sizes": {**given.sizes, "test_users": int(given.tensors["held_out"][0].unique().numel())},
        "machine": {**machine(), "threads": args.threads, "device": args.device},
        "rounds": args.rounds,
        "targets": TARGETS,
        "arms": found,
    }


def main() -> None:
    """Prints one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--dataset", choices=("gowalla", "epinions"), default="gowalla")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=2000, help="of random data")
    parser.add_argument("--items", type=int, default=5000, help="of random data")
    args = parser.parse_args()
    say(measure(args), args.out)


if __name__ == "__main__":
    main()
