"""A training step on gathered rows beside the same step by plain dense autograd.

    python -m benchmarks.speed.multi_task_step --root DIR [--out FILE.json]

Four arms train MF on Epinions with three tasks from the same tables, batches and negatives: sum
and PMTRec as the library does it, and both as one would write them with autograd on the whole
tables. The arms take turns in one process. Without --root the tables have the size of Epinions
and the edges are random.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks.speed._machine import machine
from pyg_mtrec.balancing import PMTRec, Sum
from pyg_mtrec.datasets import Epinions
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import Batch, MultiTaskLoader
from pyg_mtrec.nn import MF, NodeEmbedding, Representations
from pyg_mtrec.tasks import BPR, LinkPrediction, SameCategory, Task
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import SplitInteractions

ALPHA, TAU, LR, WEIGHT_DECAY = 1.06, 1e-3, 0.005, 1e-6


class WholeTables(Representations):
    """Rows as one writes them down: ``x[index]``."""

    def rows(self, node_type: str, index: Tensor, task: str | None = None) -> Tensor:
        return self.x_dict[node_type][index]


class Run:
    """One arm: its own tables, optimiser and loader; all arms start alike."""

    def __init__(self, train: HeteroData, dim: int, batch_size: int, rule: str, naive: bool):
        self.embedding = NodeEmbedding.from_data(train, dim, seed=0)
        self.tasks: dict[str, Task] = {
            "bpr": BPR(),
            "social": LinkPrediction(("user", "trusts", "user")),
            "same-category": SameCategory(),
        }
        self.optimizer = torch.optim.Adam(
            self.embedding.parameters(), lr=LR, weight_decay=WEIGHT_DECAY, fused=True
        )
        generator = torch.Generator().manual_seed(0)
        samplers = {name: task.sampler(train, generator) for name, task in self.tasks.items()}
        self.loader = MultiTaskLoader(samplers, batch_size=batch_size, generator=generator)
        self.balancer = PMTRec(ALPHA, TAU) if rule == "pmtrec" else Sum()
        collector = GradientCollector(self.embedding, MF(), self.tasks)
        gathered = MultiTaskStep(collector, self.balancer)
        dense = self._dense_pmtrec if rule == "pmtrec" else self._dense_sum
        self.step: Callable[..., Any] = dense if naive else gathered
        self.batches = self._forever()

    def _forever(self) -> Iterator[dict[str, Batch]]:
        while True:
            yield from self.loader

    def _losses(self, batches: dict[str, Batch]) -> list[Tensor]:
        full = WholeTables(self.embedding())
        return [task(batches[name], full) for name, task in self.tasks.items()]

    def _dense_sum(self, batches: dict[str, Batch], *, epoch: int) -> None:
        self.optimizer.zero_grad()
        torch.stack(self._losses(batches)).sum().backward()

    def _dense_pmtrec(self, batches: dict[str, Batch], *, epoch: int) -> None:
        tables = list(self.embedding.parameters())
        grads = [
            torch.autograd.grad(loss, tables, allow_unused=True) for loss in self._losses(batches)
        ]
        for i, table in enumerate(tables):
            stack = torch.stack([torch.zeros_like(table) if g[i] is None else g[i] for g in grads])
            norms = stack.norm(dim=-1)  # [T, N]
            norms[0] *= ALPHA**epoch
            weights = (norms / TAU).softmax(dim=0)
            table.grad = (weights.unsqueeze(-1) * stack).sum(dim=0)

    def run(self, steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            self.step(next(self.batches), epoch=1)
            self.optimizer.step()
        return (time.perf_counter() - began) / steps


def random_graph() -> HeteroData:
    """Random edges on tables of the size of Epinions."""
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 22_166, 296_277
    data["category"].num_nodes = 27

    def edges(num: int, src: str, dst: str) -> Tensor:
        pairs = [
            torch.randint(int(data[n].num_nodes), (num,), generator=generator) for n in (src, dst)
        ]
        return torch.stack(pairs).unique(dim=1)

    data["user", "interacts", "item"].edge_index = edges(922_267, "user", "item")
    data["user", "trusts", "user"].edge_index = edges(355_503, "user", "user")
    data["item", "in", "category"].edge_index = edges(296_854, "item", "category")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="folder with epinions/raw (default: random edges)")
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=54, help="steps of a fast arm in a round")
    parser.add_argument("--naive-steps", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", help="JSON file to write")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    data = Epinions(f"{args.root}/epinions")[0] if args.root else random_graph()
    train, _, _ = SplitInteractions(seed=0)(data)
    arms = {
        f"{'naive ' if naive else ''}{rule}": Run(train, args.dim, args.batch_size, rule, naive)
        for naive in (False, True)
        for rule in ("sum", "pmtrec")
    }
    # After as many equal steps the naive arm's tables must be those of the library's.
    for arm in arms.values():
        arm.run(args.naive_steps)
    difference = max(
        float((a - b).detach().abs().max())
        for rule in ("sum", "pmtrec")
        for a, b in zip(
            arms[rule].embedding.parameters(),
            arms[f"naive {rule}"].embedding.parameters(),
            strict=True,
        )
    )
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(args.rounds):
        for name, arm in arms.items():
            seconds[name].append(arm.run(args.naive_steps if "naive" in name else args.steps))
    steps = len(arms["sum"].loader)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        "case": "multi_task_step",
        "data": "epinions" if args.root else "random edges, size of epinions",
        "machine": machine(),
        "settings": vars(args) | {"root": None, "out": None},
        "steps_per_epoch": steps,
        "ms_per_step": {name: 1e3 * value for name, value in median.items()},
        "s_per_epoch": {name: steps * value for name, value in median.items()},
        "rounds_ms": {name: [1e3 * v for v in values] for name, values in seconds.items()},
        "ratio": {
            "pmtrec / sum": _ratio(seconds["pmtrec"], seconds["sum"]),
            "naive sum / sum": _ratio(seconds["naive sum"], seconds["sum"]),
            "naive pmtrec / pmtrec": _ratio(seconds["naive pmtrec"], seconds["pmtrec"]),
        },
        "largest_difference_of_tables": difference,
    }
    print(json.dumps(result, indent=2))
    if args.out:
        with open(args.out, "w") as file:
            json.dump(result, file, indent=2)
            file.write("\n")


def _ratio(numerator: list[float], denominator: list[float]) -> float:
    pairs = zip(numerator, denominator, strict=True)
    return statistics.median(a / b for a, b in pairs)


if __name__ == "__main__":
    main()
