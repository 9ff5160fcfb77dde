"""Train with PMTRec in a loop that hides nothing: matrix factorisation, two tasks, Adam.

The loop takes each task's gradient at the rows that the step has looked up, combines them row by
row and writes the result into .grad. GradientCollector and MultiTaskStep do the same for any
encoder and any tasks.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyg_mtrec.balancing import PMTRec
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.datasets import Planted
from pyg_mtrec.loader import Batch, EdgeSampler, MultiTaskLoader, PartnerSampler
from pyg_mtrec.metrics import DotProductScorer, RankingEvaluator
from pyg_mtrec.nn import NodeEmbedding
from pyg_mtrec.transforms import SplitInteractions

INTERACTS, TRUSTS = ("user", "interacts", "item"), ("user", "trusts", "user")


def bpr(batch: Batch, position: dict[str, Tensor], rows: dict[str, Tensor]) -> Tensor:
    """The loss of one task; `position` maps a node id to its place among the gathered rows."""
    source, _, target = batch.edge_type
    x = rows[source][position[source][batch.src_index]]  # [b, d]
    positive = rows[target][position[target][batch.dst_pos_index]]  # [b, d]
    negative = rows[target][position[target][batch.dst_neg_index.reshape(-1)]]  # [b, d]
    losses = softplus((x * (negative - positive)).sum(dim=-1))  # [b]
    if batch.weight is not None:
        losses = losses * batch.weight  # zero where there was nothing to draw
    return losses.sum() / batch.size


def main() -> None:
    train, _, test = SplitInteractions(seed=0)(Planted()[0])
    generator = torch.Generator().manual_seed(0)
    loader = MultiTaskLoader(
        {
            "interacts": EdgeSampler(train, INTERACTS, generator),  # the main task comes first
            "trusts": PartnerSampler(train, TRUSTS, generator),  # for the users of the main batch
        },
        generator=generator,
    )
    tables = NodeEmbedding.from_data(train, dim=32).weight_dict
    balancer = PMTRec(alpha=1.06, tau=1e-3)
    optimizer = torch.optim.Adam(tables.parameters(), lr=0.005, weight_decay=1e-4)

    for epoch in range(1, 31):
        total = torch.zeros(2)
        for batches in loader:
            # 1. The rows that this step looks up, each one once.
            looked_up: dict[str, list[Tensor]] = {}
            for batch in batches.values():
                for node_type, ids in batch.node_ids().items():
                    looked_up.setdefault(node_type, []).append(ids)
            ids = {name: torch.cat(parts).unique() for name, parts in looked_up.items()}
            rows = {name: tables[name].detach()[i].requires_grad_() for name, i in ids.items()}
            position = {}
            for name, i in ids.items():
                position[name] = torch.zeros(len(tables[name]), dtype=torch.long)
                position[name][i] = torch.arange(len(i))

            # 2. Every task's gradient at these rows: [T, R, d] for each table.
            losses = [bpr(batch, position, rows) for batch in batches.values()]
            grads = [
                torch.autograd.grad(
                    loss, list(rows.values()), allow_unused=True, materialize_grads=True
                )
                for loss in losses
            ]

            # 3. PMTRec weighs the tasks in every row; untouched rows keep a zero gradient.
            for k, (name, i) in enumerate(ids.items()):
                combined = balancer(torch.stack([grad[k] for grad in grads]), epoch=epoch)
                tables[name].grad = torch.zeros_like(tables[name]).index_copy_(0, i, combined)
            optimizer.step()
            total += torch.stack(losses).detach()
        if epoch % 10 == 0:
            means = (total / len(loader)).tolist()
            print(f"epoch {epoch:2}  interacts {means[0]:.4f}  trusts {means[1]:.4f}")

    evaluator = RankingEvaluator(test, k=(20,))
    scorers = {
        "popularity": Popularity(train),
        "PMTRec": DotProductScorer(tables["user"].detach(), tables["item"].detach()),
    }
    for name, scorer in scorers.items():
        metrics = evaluator(scorer).metrics
        print(f"{name:10}  recall@20 {metrics['recall@20']:.4f}  ndcg@20 {metrics['ndcg@20']:.4f}")


if __name__ == "__main__":
    main()
