"""A step of three tasks on Epinions under every rule, beside LibMTL and TorchJD.

    python -m benchmarks.speed.rules --root DIR [--peers DIR ...] [--out FILE.json]

MF and LightGCN (two layers), d = 32, batches of 2048, fused Adam in every arm, each in a process of
its own, in turns. ``sum`` is one backward pass of the summed loss. Ratios are medians over rounds:
of a rule to ``sum`` within a library, and of a library to this one under the same rule.
"""

import argparse
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed._interleave import interleave, ratio
from benchmarks.speed._machine import machine
from benchmarks.speed._problem import Problem
from benchmarks.speed.arms.rules import RULES, THEIRS
from benchmarks.speed.lightgcn_epoch import add_arguments, say

MODULE, BATCHES = "benchmarks.speed.arms.rules", 12
TARGETS = {
    "mf pmtrec": 1.15,
    "lightgcn pmtrec representation": 1.2,
    "lightgcn pmtrec embedding": 2.0,
    "peers": 5.0,
}


def problem(args: argparse.Namespace) -> Problem:
    """Epinions, or random edges of its size, and triplets of three relations."""
    generator = torch.Generator().manual_seed(0)
    users, items = 22_166, 296_277
    if args.root:
        from pyg_mtrec.datasets import Epinions
        from pyg_mtrec.transforms import SplitInteractions

        train = SplitInteractions(seed=0)(Epinions(f"{args.root}/epinions")[0])[0]
        users, items = int(train["user"].num_nodes), int(train["item"].num_nodes)
        edges = train["user", "interacts", "item"].edge_index
        social = train["user", "trusts", "user"].edge_index
        category = train["item", "in", "category"].edge_index
        alike = _neighbours(category)
    else:
        edges = _random(generator, 550_000, users, items)
        social = _random(generator, 355_503, users, users)
        alike = _random(generator, 300_000, items, items)
    shape = (BATCHES, args.batch_size)
    triplets = []
    for pairs, targets in ((edges, items), (social, users), (alike, items)):
        picked = torch.randint(pairs.size(1), shape, generator=generator)
        negative = torch.randint(targets, shape, generator=generator)
        triplets.append(torch.stack([pairs[0][picked], pairs[1][picked], negative], dim=1))
    return Problem(
        {
            "edge_index": edges.contiguous(),
            "triplets": torch.stack(triplets, dim=1).contiguous(),  # [batches, tasks, 3, B]
            "user_x": 0.1 * torch.randn(users, args.dim, generator=generator),
            "item_x": 0.1 * torch.randn(items, args.dim, generator=generator),
        },
        {
            "num_users": users,
            "num_items": items,
            "dim": args.dim,
            "layers": args.layers,
            "batch_size": args.batch_size,
            "lr": 1e-3,
        },
        args.device,
        args.threads,
    )


def _neighbours(category: Tensor) -> Tensor:
    """Pairs of items that stand beside each other in a category."""
    item, group = category[:, category[1].argsort(stable=True)]
    same = group[1:] == group[:-1]
    return torch.stack([item[:-1][same], item[1:][same]])


def _random(generator: torch.Generator, number: int, rows: int, columns: int) -> Tensor:
    parts = [torch.randint(size, (number,), generator=generator) for size in (rows, columns)]
    return torch.stack(parts)


def arms(encoder: str, rule: str, at: str) -> dict[str, int]:
    """Arm to steps in a round: our sum and our rule, and the rule of others."""
    steps = 5 if encoder == "lightgcn" else 15
    ours = {f"pyg_mtrec {encoder} {name} {at}": steps for name in dict.fromkeys(("sum", rule))}
    found = [library for library, rules in THEIRS.items() if rule in rules]
    others = found if at == "embedding" else []
    return ours | {f"{library} {encoder} {rule}": 2 for library in others}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Times all rules of all libraries."""
    given, found = problem(args), []
    for encoder in args.encoders:
        cases = [(rule, "embedding") for rule in args.rules]
        if encoder == "lightgcn":
            cases += [(rule, "representation") for rule in args.rules if rule == "pmtrec"]
        for rule, at in cases:
            chosen = arms(encoder, rule, at)
            peers = {name: args.peers for name in chosen if not name.startswith("pyg_mtrec")}
            timed = interleave(MODULE, chosen, given, args.rounds, peers)
            found.append({"encoder": encoder, "rule": rule, "at": at, "arms": timed})
            _compare(timed, f"pyg_mtrec {encoder} sum {at}", f"pyg_mtrec {encoder} {rule} {at}")
    return {
        "case": "rules",
        "data": "epinions" if args.root else "random",
        "sizes": {**given.sizes, "edges": given.tensors["edge_index"].size(1)},
        "machine": {**machine(), "threads": args.threads, "device": args.device},
        "rounds": args.rounds,
        "tables_mb": sum(given.tensors[f"{n}_x"].numel() for n in ("user", "item")) * 4 / 2**20,
        "targets": TARGETS,
        "cases": found,
    }


def _compare(timed: dict[str, Any], base: str, ours: str) -> None:
    for name, entry in timed.items():
        if "ms" not in entry:
            continue
        if name.startswith("pyg_mtrec"):
            entry["times_sum"] = ratio(entry, timed[base])
        else:
            entry["times_ours"] = ratio(entry, timed[ours])


def main() -> None:
    """Prints one measurement."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--encoders", nargs="+", default=["mf", "lightgcn"])
    parser.add_argument("--rules", nargs="+", default=[RULES[0], "pmtrec", *RULES[1:]])
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=2048)
    args = parser.parse_args()
    say(measure(args), args.out)


if __name__ == "__main__":
    main()
