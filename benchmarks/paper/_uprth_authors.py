"""UPRTH with its authors' settings, made of the library's modules.

Full batches, penalties on sums of squares, negatives that may be true, Adam with two rates, and an
epoch of finetuning that the *test* set selects: what is needed to stand beside their numbers, and
no more than that.
"""

import time
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.balancing import Constant, Sum
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import Batch, EdgeSampler, MultiTaskLoader
from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
from pyg_mtrec.nn import Incidence, NodeEmbedding, Representations, TaskHypergraphEncoder
from pyg_mtrec.tasks import BPR, Alignment, HyperedgePrediction, Task
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import AddTaskHypergraphs, PermuteIds, SplitInteractions

MAIN: EdgeType = ("user", "interacts", "item")
DIM, STD, L2 = 128, 0.1, 1e-4
PRETRAIN_LR, FINETUNE_LR = 0.01, 0.1
MAIN_WEIGHT, SIDE_WEIGHT = 2 * 0.8, 2 * 0.2
EVERY, PATIENCE = 10, 5  # epochs between two looks, and looks without a gain
LABELS = ("category", "rating")  # tasks with few hyperedges, all of which are negatives
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
Row = dict[str, Any]


def split(data: HeteroData, seed: int = 0) -> tuple[HeteroData, HeteroData]:
    """The published training and test parts, with hypergraphs: friends are stars with a head."""
    given = SplitInteractions("given", val_fraction=0.0)
    train, _, test = given(PermuteIds(seed)(data))
    return AddTaskHypergraphs()(train), AddTaskHypergraphs()(test)


def initial(data: HeteroData, seed: int, dim: int = DIM) -> dict[str, Tensor]:
    """Normal tables, whose rows are in the order of the raw ids, however a graph is permuted."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: STD * torch.randn(int(data[name].num_nodes), dim, generator=generator)
        for name in ("user", "item")
    }


def tables(data: HeteroData, start: dict[str, Tensor], dtype: torch.dtype) -> NodeEmbedding:
    """The tables of a graph, which start as given."""
    dim = start["user"].size(1)
    embedding = NodeEmbedding.from_data(data, dim).to(dtype)
    with torch.no_grad():
        for name, weight in embedding.weight_dict.items():
            raw_id = data[name].raw_id
            if not torch.equal(raw_id.sort().values, torch.arange(len(raw_id))):
                raise ValueError(f"the raw ids of '{name}' need to be those of the rows")
            weight.copy_(start[name][raw_id])
    return embedding


def pretext_tasks(data: HeteroData) -> dict[str, Task]:
    """Alignment, and the prediction of every hypergraph of the data."""
    found: dict[str, Task] = {"alignment": Alignment(MAIN, l2=L2, reduction="sum")}
    for edge_type in data.edge_types:
        name = data[edge_type].get("task")
        if name is not None and data[edge_type].num_edges > 0:
            found[name] = HyperedgePrediction(
                edge_type,
                negatives="labels" if name in LABELS else "vertices",
                exclude=False,
                l2=L2,
                reduction="sum",
            )
    return found


class Stage:
    """One stage: an encoder, its tasks and a fresh Adam on tables that may go on."""

    def __init__(
        self,
        data: HeteroData,
        embedding: NodeEmbedding,
        encoder: TaskHypergraphEncoder,
        tasks: dict[str, Task],
        weights: list[float] | None,
        lr: float,
        seed: int,
    ) -> None:
        self.embedding, self.encoder, self.tasks = embedding, encoder, tasks
        read = {MAIN, encoder.reverse, *(task.edge_type for task in tasks.values())}
        fused = encoder.fusion != "none"  # attention gives a share to an empty relation as well
        found = Incidence.dict_from(data)
        self.adj_dict = {key: found[key] for key in found if fused or key in read}
        self.weights = torch.tensor(weights or [1.0] * len(tasks), dtype=torch.float64)
        draws = torch.Generator().manual_seed(seed)
        samplers = {name: task.sampler(data, draws) for name, task in tasks.items()}
        self.loader = MultiTaskLoader(samplers, batch_size=None, generator=draws)
        self.optimizer = torch.optim.Adam(embedding.parameters(), lr=lr, fused=True)
        collector = GradientCollector(embedding, encoder, tasks)
        self._step = MultiTaskStep(
            collector, Constant(weights) if weights else Sum(), self.adj_dict
        )

    def batches(self) -> dict[str, Batch]:
        """All edges of every task, with fresh negatives."""
        return next(iter(self.loader))

    def step(self, batches: dict[str, Batch] | None = None) -> dict[str, float]:
        """One epoch: the terms and their weighted sum before it."""
        losses = self._step(self.batches() if batches is None else batches, epoch=1).double()
        self.optimizer.step()
        values = dict(zip(self.tasks, losses.tolist(), strict=True))
        return {**values, "total": float(self.weights @ losses)}

    @torch.no_grad()
    def scorer(self) -> DotProductScorer:
        """Ranks by the present tables."""
        x_dict = self.encoder(self.embedding(), self.adj_dict).x_dict
        return DotProductScorer(x_dict["user"].detach(), x_dict["item"].detach())


class UniformBPR(BPR):
    """BPR whose negatives are any items, with a penalty on all rows of both tables."""

    def sampler(self, data: HeteroData, generator: torch.Generator) -> EdgeSampler:
        return EdgeSampler(data, self.edge_type, generator, 1, avoid_positives=False)

    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        loss = super().forward(batch, representations)
        for node_type in (self.edge_type[0], self.edge_type[2]):
            rows = representations.table(node_type).reshape(-1)  # type: ignore[attr-defined]
            loss = loss + L2 / 2 * torch.dot(rows, rows)
        return loss


def pretraining(
    data: HeteroData, embedding: NodeEmbedding, attention: bool = True, seed: int = 0
) -> Stage:
    """The first stage: all pretext tasks, one full batch an epoch."""
    tasks = pretext_tasks(data)
    fusion = "attention" if attention else "none"
    encoder = TaskHypergraphEncoder(fusion, keep_empty=True, scale=8.0, alpha=10.0, beta=0.1)
    weights = [MAIN_WEIGHT, *(SIDE_WEIGHT for _ in range(len(tasks) - 1))]
    return Stage(data, embedding, encoder, tasks, weights, PRETRAIN_LR, seed)


def finetuning(data: HeteroData, embedding: NodeEmbedding, seed: int = 0) -> Stage:
    """The second stage: the convolution of the interactions alone, and BPR."""
    encoder = TaskHypergraphEncoder("none")
    return Stage(data, embedding, encoder, {"bpr": UniformBPR(MAIN)}, None, FINETUNE_LR, seed)


def pretrain(stage: Stage, epochs: int) -> Row:
    """Trains until the loss, looked at every tenth epoch, has risen five times in a row."""
    began, best, worse = time.perf_counter(), float("inf"), 0
    history: list[dict[str, float]] = []
    while len(history) < epochs and worse < PATIENCE:
        history.append(stage.step())
        if len(history) % EVERY == 0:
            total = history[-1]["total"]
            best, worse = (total, 0) if total <= best else (best, worse + 1)
    seconds = time.perf_counter() - began
    return {
        "epochs": len(history),
        "stopped": worse >= PATIENCE,
        "seconds": seconds,
        "losses": history,
    }


def finetune(stage: Stage, evaluator: RankingEvaluator, epochs: int) -> Row:
    """Trains until R@10 on the test set has fallen short of its best five times in a row.

    Ranked are the vectors of the forward pass of every tenth epoch, that is before its update.
    """
    began, best, worse = time.perf_counter(), -1.0, 0
    looks: list[Row] = []
    losses: list[float] = []
    while len(losses) < epochs and worse < PATIENCE:
        if (len(losses) + 1) % EVERY == 0:
            metrics = evaluator(stage.scorer()).metrics
            looks.append({"epoch": len(losses) + 1, **{name: metrics[name] for name in METRICS}})
            value = metrics["recall@10"]
            best, worse = (value, 0) if value >= best else (best, worse + 1)
        losses.append(stage.step()["total"])
    return {
        "epochs": len(losses),
        "stopped": worse >= PATIENCE,
        "seconds": time.perf_counter() - began,
        "looks": looks,
        "best": max(looks, key=lambda look: float(look["recall@10"])),
        "losses": losses,
    }


def evaluator_of(test: HeteroData) -> RankingEvaluator:
    """Every test user, all items, training items masked."""
    return RankingEvaluator(test, k=(10, 20), metrics=("recall", "ndcg"))
