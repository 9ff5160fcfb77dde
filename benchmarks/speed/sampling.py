"""An epoch of batches and negatives on Gowalla, without a model, beside RecBole's and PyG's.

    python -m benchmarks.speed.sampling --root DIR [--peers DIR ...] [--out FILE.json]

Batches of 2048 shuffled training edges with a negative each. ``value`` is the share of negatives
of a batch that are interactions of the user after all.
"""

import argparse
from typing import Any

from benchmarks.speed._interleave import interleave, ratio
from benchmarks.speed._machine import machine
from benchmarks.speed.arms.sampling import ARMS
from benchmarks.speed.lightgcn_epoch import add_arguments, problem, say

MODULE, OURS = "benchmarks.speed.arms.sampling", "pyg_mtrec"


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Times all libraries."""
    args.dim, args.layers = 1, 0  # there is no model
    given = problem(args.root, args)
    given.tensors = {"edge_index": given.tensors["edge_index"]}
    given.sizes["batch_size"] = args.batch_size
    chosen = dict.fromkeys(args.arms or ARMS, 1)
    peers = {name: args.peers for name in chosen if name != OURS}
    found = interleave(MODULE, chosen, given, args.rounds, peers)
    for entry in found.values():
        if "ms" in entry:
            entry["times_ours"] = ratio(entry, found[OURS])
    return {
        "case": "sampling",
        "data": "gowalla" if args.root else "random",
        "sizes": {**given.sizes, "edges": given.tensors["edge_index"].size(1)},
        "machine": {**machine(), "threads": args.threads},
        "rounds": args.rounds,
        "arms": found,
    }


def main() -> None:
    """Prints one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=2048)
    args = parser.parse_args()
    say(measure(args), args.out)


if __name__ == "__main__":
    main()
