"""Times the hypergraph convolution beside PyG's, on the groups of Steam.

    python -m benchmarks.speed.hypergraph_conv --root DIR [--out FILE.json]

Forward and backward of one layer without weights, in one process and one thread, interleaved;
seconds are medians. PyG's layer has an identity for its linear map, so that both compute the same.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.nn import HypergraphConv as PyGHypergraphConv

from benchmarks.speed._machine import machine
from pyg_mtrec.datasets import Steam
from pyg_mtrec.nn import HypergraphConv, Incidence


def main() -> None:
    """Prints the medians, and writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, help="folder of the data sets")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = Steam(str(Path(args.root) / "steam"))[0]
    edge_index = data["user", "in", "group"].edge_index
    users, groups = data["user"].num_nodes, data["group"].num_nodes
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(users, args.dim, generator=generator).requires_grad_()
    out_grad = torch.randn(users, args.dim, generator=generator)

    peer = PyGHypergraphConv(args.dim, args.dim, bias=False)
    peer.lin = nn.Identity()
    ours = HypergraphConv()  # type: ignore[abstract]
    incidence = Incidence(edge_index, users, groups)
    layers: dict[str, Callable[[], Tensor]] = {
        "PyG": lambda: peer(x, edge_index, num_edges=groups),
        "ours, Incidence": lambda: ours(x, incidence),
        "ours, edge_index": lambda: ours(x, edge_index, num_edges=groups),
    }
    outputs = [layer() for layer in layers.values()]
    apart = max(float((out - outputs[0]).abs().max().detach()) for out in outputs)
    del outputs
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(args.rounds):
        for name, layer in layers.items():
            began = time.perf_counter()
            torch.autograd.grad(layer(), x, out_grad)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    found = {
        "case": "hypergraph_conv",
        "data": "steam groups",
        "incidences": edge_index.size(1),
        "vertices": users,
        "hyperedges": groups,
        "dim": args.dim,
        "rounds": args.rounds,
        "machine": machine(),
        "seconds": medians,
        "times_faster": {name: medians["PyG"] / value for name, value in medians.items()},
        "largest_difference": apart,
    }
    text = json.dumps(found, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
