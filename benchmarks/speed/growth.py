"""How training and ranking grow with the data: ``planted`` from ten thousand interactions on.

    python -m benchmarks.speed.growth [--sizes 10000 ... 10000000] [--out FILE.json]

Every size has a process of its own. MF takes batches of 2048, so that an epoch has as many more
steps as there are more interactions; a few hundred steps are timed, and an epoch is as many as it
has. LightGCN takes ten batches an epoch whatever the size: a step propagates over the whole graph,
and batches of one size would make an epoch quadratic for everybody. Ranking is of a fixed sample of
a thousand users over the whole catalogue. Memory is the largest resident size above the imports;
drawing and splitting the world happen elsewhere. The exponent is the slope of a straight line
through the logarithms of the three largest sizes: what small ones pay for calls is no growth.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import HeteroData

from benchmarks.speed._machine import machine
from benchmarks.speed._worlds import add_arguments, measured
from benchmarks.speed.lightgcn_epoch import say
from benchmarks.speed.uprth_epoch import peak_gb
from benchmarks.speed.uprth_growth import exponent
from pyg_mtrec.balancing import PMTRec
from pyg_mtrec.datasets import Planted
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
from pyg_mtrec.nn import MF, Adjacency, Encoder, LightGCN, NodeEmbedding
from pyg_mtrec.tasks import BPR, LinkPrediction, Task
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import NormalizedAdjacency, SplitInteractions

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
MAIN = ("user", "interacts", "item")
STEPS, USERS = 200, 1000  # timed of MF's epoch, ranked
TARGETS = {"exponent": 1.05, "peak_gb": 12.0}
NAMES = ("mf_epoch_seconds", "lightgcn_epoch_seconds", "ranking_seconds", "peak_above_imports_gb")


def prepare(size: int, path: Path) -> None:
    """Draws a world, splits it, and keeps what training and ranking read."""
    train, _, test = SplitInteractions("random", seed=0)(Planted(num_interactions=size)[0])
    stores = {key: train[key].edge_index for key in train.edge_types}
    graph = {
        "nodes": {name: int(train[name].num_nodes) for name in train.node_types},
        "edges": {"/".join(key): edges for key, edges in stores.items()},
        "seen": test[MAIN].seen_edge_index,
        "held_out": test[MAIN].edge_label_index,
    }
    torch.save(graph, path)


def read(path: Path) -> tuple[HeteroData, HeteroData]:
    """The training graph and the test split."""
    graph = torch.load(path, weights_only=True, mmap=True)
    train = HeteroData()
    for name, number in graph["nodes"].items():
        train[name].num_nodes = number
    for name, edges in graph["edges"].items():
        train[tuple(name.split("/"))].edge_index = edges
    train[MAIN].seen_edge_index = train[MAIN].edge_index
    test = HeteroData()
    for name, number in graph["nodes"].items():
        test[name].num_nodes = number
    test[MAIN].edge_index = test[MAIN].seen_edge_index = graph["seen"]
    test[MAIN].edge_label_index = graph["held_out"]
    return train, test


def measure(path: Path, dim: int) -> dict[str, Any]:
    """Epochs and a ranking of one world, in this process."""
    imports = peak_gb()
    train, test = read(path)
    number = train[MAIN].edge_index.size(1)
    adj_dict = Adjacency.dict_from(NormalizedAdjacency()(train))
    main = {key: adj for key, adj in adj_dict.items() if {key[0], key[2]} == {"user", "item"}}
    mf = epoch(train, dim, MF(), {}, 2048)
    lightgcn = epoch(train, dim, LightGCN(3), main, -(-number // 10))
    embedding = NodeEmbedding.from_data(train, dim)
    evaluator = RankingEvaluator(test, max_users=USERS)
    scorer = DotProductScorer(*(embedding.weight_dict[n].detach() for n in ("user", "item")))
    ranking = statistics.median(_timed(lambda: evaluator(scorer)) for _ in range(3))
    return {
        "users": int(train["user"].num_nodes),
        "items": int(train["item"].num_nodes),
        "training_interactions": number,
        "mf_epoch_seconds": mf,
        "lightgcn_epoch_seconds": lightgcn,
        "ranking_seconds": ranking,
        "peak_above_imports_gb": peak_gb() - imports,
    }


def epoch(
    train: HeteroData, dim: int, encoder: Encoder, adj_dict: dict[Any, Adjacency], batch_size: int
) -> float:
    """Seconds of an epoch of three tasks under PMTRec, with its batches and its optimiser."""
    tasks: dict[str, Task] = {
        "bpr": BPR(),
        "social": LinkPrediction(("user", "trusts", "user")),
        "also-viewed": LinkPrediction(("item", "also_viewed", "item")),
    }
    generator = torch.Generator().manual_seed(0)
    samplers = {name: task.sampler(train, generator) for name, task in tasks.items()}
    loader = MultiTaskLoader(samplers, batch_size, generator)
    embedding = NodeEmbedding.from_data(train, dim)
    collector = GradientCollector(embedding, encoder, tasks, at="representation")
    step = MultiTaskStep(collector, PMTRec(), adj_dict)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=1e-3, fused=True)

    def run(batches: Any) -> int:
        taken = 0
        for taken, batch in enumerate(batches, start=1):  # noqa: B007
            step(batch, epoch=1)
            optimizer.step()
        return taken

    run(islice(loader, 2))
    began = time.perf_counter()
    taken = run(islice(loader, STEPS))
    return (time.perf_counter() - began) / taken * len(loader)


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    """Measures every size and prints what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add_arguments(parser, SIZES)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.prepare:
        prepare(args.sizes[0], args.prepare)
        return
    if args.measure:
        print(json.dumps(measure(args.measure, args.dim)))
        return
    same = ["--dim", args.dim, "--threads", args.threads]
    found = measured("benchmarks.speed.growth", args.sizes, same)
    largest = dict(list(found.items())[-3:])
    content = {
        "case": "growth",
        "data": "planted",
        "dim": args.dim,
        "sizes": {str(size): entry for size, entry in found.items()},
        "exponents": {
            name: exponent(list(largest), [entry[name] for entry in largest.values()])
            for name in NAMES
        }
        if len(largest) > 1
        else {},
        "targets": TARGETS,
        "machine": {**machine(), "threads": args.threads},
    }
    say(content, args.out)


if __name__ == "__main__":
    main()
