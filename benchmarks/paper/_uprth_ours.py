"""Our UPRTH on Steam: a configuration, the two stages it makes, and one run of both.

Test users are halved by a seed: one half validates, the other tests. Strengths of penalties are
per row, every epoch is one full batch, and validation alone selects the epoch of finetuning.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.balancing import Balancer, Constant, PMTRec, Sum
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.metrics import DotProductScorer
from pyg_mtrec.nn import MF, Adjacency, Incidence, LightGCN, NodeEmbedding, TaskHypergraphEncoder
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import BPR, Alignment, HyperedgePrediction, SampledSoftmax, Task
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import (
    AddTaskHypergraphs,
    NormalizedAdjacency,
    PermuteIds,
    SplitInteractions,
)

MAIN: EdgeType = ("user", "interacts", "item")
REVERSE: EdgeType = ("item", "rev_interacts", "user")
LABELS = ("category", "rating")  # tasks with few hyperedges, all of which are negatives
METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
SELECT = "ndcg@20"
EVERY, PATIENCE = 5, 4  # epochs between two looks, and looks without a gain
Operators = Mapping[EdgeType, Any]


@dataclass(frozen=True)
class Config:
    """Settings of both stages.

    Args:
        dim: Width of the tables.
        std: Of their first values.
        pretrain_epochs: Steps of the first stage, 0 for none.
        pretrain_lr: Its learning rate.
        pretrain_l2: Penalty of every term, on the mean over rows.
        side: Weight of an auxiliary task beside the alignment, for the constant weights.
        rule: ``"constant"``, ``"sum"`` or ``"pmtrec"`` over the pretext tasks.
        tau: PMTRec's temperature.
        fusion: What the first stage's encoder does with the tasks' features.
        without: Pretext tasks that are left out.
        encoder: Of the second stage: ``"uprth"``, ``"lightgcn"`` or ``"mf"``.
        layers: Of LightGCN.
        epochs: Steps of the second stage at most.
        lr: Its learning rate.
        decay: Its weight decay.
        loss: ``"bpr"`` or ``"softmax"`` over ``negatives`` uniform items.
        negatives: Negatives of a pair, for the softmax shared by all pairs.
        strength: Standard deviation of scores that the second stage starts with beside the bias of
            log popularity, a column of items' tables beside a constant one of users'; None for the
            tables as they are and no bias.
    """

    dim: int = 64
    std: float = 0.1
    pretrain_epochs: int = 100
    pretrain_lr: float = 0.01
    pretrain_l2: float = 0.03
    side: float = 0.25
    rule: str = "constant"
    tau: float = 1e-5
    fusion: str = "attention"
    without: tuple[str, ...] = ()
    encoder: str = "uprth"
    layers: int = 3
    epochs: int = 100
    lr: float = 0.003
    decay: float = 0.0
    loss: str = "bpr"
    negatives: int = 1
    strength: float | None = 0.25


def split(data: HeteroData, seed: int) -> tuple[HeteroData, HeteroData, HeteroData]:
    """The published training part, and two halves of the test users."""
    given = SplitInteractions("given", val_from="test-users", seed=seed)
    parts: tuple[HeteroData, HeteroData, HeteroData] = given(PermuteIds(seed)(data))
    return parts


class Graph:
    """What models are trained on: a graph with hypergraphs and the operators of encoders."""

    def __init__(self, train: HeteroData) -> None:
        plain = copy.copy(train)
        self.data = AddTaskHypergraphs()(copy.copy(train))
        self.incidence = {
            key: found
            for key, found in Incidence.dict_from(self.data).items()
            if self.data[key].num_edges > 0
        }
        self.adjacency = Adjacency.dict_from(NormalizedAdjacency()(plain))

    def operators(self, encoder: str) -> Operators:
        """The operators of an encoder of the second stage."""
        if encoder == "uprth":
            return {key: self.incidence[key] for key in (MAIN, REVERSE)}
        return self.adjacency if encoder == "lightgcn" else {}


class Stage:
    """An encoder, its tasks and a fresh Adam on tables that may go on."""

    def __init__(
        self,
        data: HeteroData,
        embedding: NodeEmbedding,
        encoder: Encoder,
        adj_dict: Operators,
        tasks: dict[str, Task],
        balancer: Balancer,
        lr: float,
        decay: float,
        seed: int,
        bias: bool = False,
    ) -> None:
        self.embedding, self.encoder, self.adj_dict, self.bias = embedding, encoder, adj_dict, bias
        self.tasks = tasks
        draws = torch.Generator().manual_seed(seed)
        samplers = {name: task.sampler(data, draws) for name, task in tasks.items()}
        self.loader = MultiTaskLoader(samplers, batch_size=None, generator=draws)
        self.optimizer = torch.optim.Adam(
            embedding.parameters(), lr=lr, weight_decay=decay, fused=True
        )
        collector = GradientCollector(embedding, encoder, tasks)
        self._step = MultiTaskStep(collector, balancer, dict(adj_dict))
        self.epoch = 0

    def step(self) -> dict[str, float]:
        """One epoch; returns the losses before it."""
        self.epoch += 1
        losses = self._step(next(iter(self.loader)), epoch=self.epoch)
        self.optimizer.step()
        if self.bias:
            with torch.no_grad():
                self.embedding.weight_dict["user"][:, -1] = 1.0
        return dict(zip(self.tasks, losses.tolist(), strict=True))

    @torch.no_grad()
    def scorer(self, adj_dict: Operators | None = None) -> DotProductScorer:
        """Ranks by the present tables, over another graph's edges if these are given."""
        found = self.adj_dict if adj_dict is None else adj_dict
        x_dict = self.encoder(self.embedding(), dict(found)).x_dict
        return DotProductScorer(x_dict["user"].detach(), x_dict["item"].detach())


def pretext_tasks(data: HeteroData, config: Config) -> dict[str, Task]:
    """Alignment, and the prediction of every hypergraph; true labels are no negatives."""
    l2 = config.pretrain_l2
    found: dict[str, Task] = {"alignment": Alignment(MAIN, l2=l2)}
    for key in data.edge_types:
        name = data[key].get("task")
        if name is not None and data[key].num_edges > 0:
            negatives = "labels" if name in LABELS else "vertices"
            found[name] = HyperedgePrediction(key, negatives=negatives, l2=l2)
    return {name: task for name, task in found.items() if name not in config.without}


def pretraining(graph: Graph, embedding: NodeEmbedding, config: Config, seed: int) -> Stage:
    """The first stage."""
    tasks = pretext_tasks(graph.data, config)
    balancers: dict[str, Balancer] = {
        "constant": Constant([1.0 if name == "alignment" else config.side for name in tasks]),
        "sum": Sum(),
        "pmtrec": PMTRec(tau=config.tau),
    }
    read = {task.edge_type for task in tasks.values()} | {MAIN, REVERSE}
    adj_dict = {key: found for key, found in graph.incidence.items() if key in read}
    encoder = TaskHypergraphEncoder(config.fusion)
    lr, rule = config.pretrain_lr, balancers[config.rule]
    return Stage(graph.data, embedding, encoder, adj_dict, tasks, rule, lr, 0.0, seed)


def finetuning(graph: Graph, embedding: NodeEmbedding, config: Config, seed: int) -> Stage:
    """The second stage."""
    encoder: Encoder
    if config.encoder == "uprth":
        encoder = TaskHypergraphEncoder("none")
    else:
        encoder = LightGCN(config.layers) if config.encoder == "lightgcn" else MF()
    task: Task
    if config.loss == "bpr":
        task = BPR(MAIN, num_negatives=config.negatives)
    else:
        task = SampledSoftmax(
            MAIN, num_negatives=config.negatives, negatives="uniform", score="dot", log_q=False
        )
    adj_dict = graph.operators(config.encoder)
    if config.strength is not None:
        embedding = with_popularity(graph.data, embedding, encoder, adj_dict, config.strength)
    return Stage(
        graph.data,
        embedding,
        encoder,
        adj_dict,
        {config.loss: task},
        Sum(),
        config.lr,
        config.decay,
        seed,
        config.strength is not None,
    )


def tables(data: HeteroData, config: Config, seed: int) -> NodeEmbedding:
    """Normal tables."""
    embedding = NodeEmbedding.from_data(data, config.dim)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in embedding.weight_dict.values():
            weight.normal_(0.0, config.std, generator=generator)
    return embedding


@torch.no_grad()
def with_popularity(
    data: HeteroData,
    embedding: NodeEmbedding,
    encoder: Encoder,
    adj_dict: Operators,
    strength: float,
) -> NodeEmbedding:
    """Returns tables with one more column, so that scores start at log popularity and a little.

    Rows are divided by the norms of what the encoder makes of them, so that a pair's part is a
    cosine, and scaled so that it has a standard deviation of ``strength``.
    """
    kept = {name: weight.detach() for name, weight in embedding.weight_dict.items()}
    x_dict = encoder(kept, dict(adj_dict)).x_dict
    norm = {name: x_dict[name].norm(dim=1, keepdim=True) for name in kept}
    unit = {name: x_dict[name] / norm[name].clamp(min=1e-12) for name in kept}
    every = unit["user"][:: max(1, unit["user"].size(0) // 2000)]  # enough for a deviation
    scale = (strength / (every @ unit["item"].t()).std().clamp(min=1e-12)).sqrt()
    for name, weight in kept.items():
        # A node without an edge may yet be ranked by its own row.
        size = norm[name].where(norm[name] > 0, weight.norm(dim=1, keepdim=True))
        kept[name] = weight / size.clamp(min=1e-12)
    sizes = {name: weight.size(0) for name, weight in kept.items()}
    found = NodeEmbedding(sizes, every.size(1) + 1)
    popularity = torch.bincount(data[MAIN].edge_index[1], minlength=sizes["item"])
    last = {"user": torch.ones(sizes["user"]), "item": (popularity + 1.0).log()}
    for name, weight in found.weight_dict.items():
        weight.copy_(torch.cat([scale * kept[name], last[name][:, None]], dim=1))
    return found
