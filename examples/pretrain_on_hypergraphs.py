"""Pretrain on task hypergraphs, then finetune another encoder from the pretrained tables.

The hyperedges are who trusts whom and what is bought together; any rule may combine the pretext
tasks, here PCGrad. LightGCN then goes on from the tables, and is held against LightGCN from random
ones. `pyg-mtrec train --encoder uprth --finetune lightgcn` does the same with validation, early
stopping and a run directory.
"""

import torch

from pyg_mtrec.balancing import PCGrad, Sum
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.datasets import Planted
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
from pyg_mtrec.nn import Adjacency, Incidence, LightGCN, NodeEmbedding, TaskHypergraphEncoder
from pyg_mtrec.tasks import BPR, Alignment, HyperedgePrediction
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import AddTaskHypergraphs, NormalizedAdjacency, SplitInteractions


def pretrain(train, embedding: NodeEmbedding, epochs: int) -> None:
    """Trains the tables on the pretext tasks, one step over all edges an epoch."""
    tasks = {"alignment": Alignment(l2=1e-3)}
    for edge_type in train.edge_types:
        if "task" in train[edge_type]:
            tasks[train[edge_type].task] = HyperedgePrediction(edge_type, l2=1e-3)
    draws = torch.Generator().manual_seed(0)
    samplers = {name: task.sampler(train, draws) for name, task in tasks.items()}
    loader = MultiTaskLoader(samplers, batch_size=None, generator=draws)
    collector = GradientCollector(embedding, TaskHypergraphEncoder(), tasks)
    step = MultiTaskStep(collector, PCGrad(), Incidence.dict_from(train))
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.01)
    for epoch in range(1, epochs + 1):
        for batches in loader:
            losses = step(batches, epoch=epoch)
            optimizer.step()
        if epoch % (epochs // 2) == 0:
            shown = "  ".join(
                f"{name} {loss:.4f}" for name, loss in zip(tasks, losses.tolist(), strict=True)
            )
            print(f"epoch {epoch:2}  {shown}")


def finetune(train, embedding: NodeEmbedding, epochs: int) -> DotProductScorer:
    """Trains LightGCN on the recommendation, from whatever the tables hold."""
    tasks = {"bpr": BPR()}
    draws = torch.Generator().manual_seed(0)
    loader = MultiTaskLoader({"bpr": tasks["bpr"].sampler(train, draws)}, generator=draws)
    encoder, adj_dict = LightGCN(2), Adjacency.dict_from(NormalizedAdjacency()(train))
    step = MultiTaskStep(GradientCollector(embedding, encoder, tasks), Sum(), adj_dict)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.005, weight_decay=1e-5)
    for epoch in range(1, epochs + 1):
        for batches in loader:
            step(batches, epoch=epoch)
            optimizer.step()
    with torch.no_grad():
        x_dict = encoder(embedding(), adj_dict).x_dict
    return DotProductScorer(x_dict["user"], x_dict["item"])


def main() -> None:
    train, _, test = SplitInteractions(seed=0)(Planted()[0])
    train = AddTaskHypergraphs()(train)
    scorers = {"popularity": Popularity(train)}
    for name, epochs in (("LightGCN", 0), ("pretrained LightGCN", 40)):
        embedding = NodeEmbedding.from_data(train, dim=32)
        if epochs:
            pretrain(train, embedding, epochs)
        scorers[name] = finetune(train, embedding, epochs=15)
    evaluator = RankingEvaluator(test, k=(20,))
    for name, scorer in scorers.items():
        metrics = evaluator(scorer).metrics
        print(f"{name:20} recall@20 {metrics['recall@20']:.4f}  ndcg@20 {metrics['ndcg@20']:.4f}")


if __name__ == "__main__":
    main()
