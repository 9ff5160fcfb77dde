"""Predict clicks and watch times with a head on top of LightGCN.

The graph holds what was clicked in training; LightGCN's rows of users and items join the features,
and HTLNet predicts the targets in the order in which they happen. HTLNet's own rule combines the
targets' gradients. `pyg-mtrec train --dataset planted --head htlnet --encoder lightgcn` does the
same with validation, early stopping and a run directory.
"""

import torch

from pyg_mtrec.balancing import GradientAdjustment
from pyg_mtrec.baselines import Constant
from pyg_mtrec.datasets import Planted
from pyg_mtrec.gradients import PredictionCollector
from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.metrics import PredictionEvaluator
from pyg_mtrec.nn import Adjacency, FieldEmbedding, HTLNet, LightGCN, NodeEmbedding, Predictor
from pyg_mtrec.tasks import Classification, Regression
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import NormalizedAdjacency, SplitImpressions


def main() -> None:
    # A hundred impressions a user: with few, there is next to nothing to learn about anybody.
    dataset = Planted(num_interactions=40_000, num_users=400, num_items=400, targets="hybrid")
    train, _, test = SplitImpressions("time")(dataset[0])
    loader = ImpressionLoader(train, batch_size=1024)
    targets = dict(zip(loader.target_names, loader.target_kinds, strict=True))

    embedding, encoder = NodeEmbedding.from_data(train, dim=16), LightGCN(2)
    rows = loader.whole()
    fields = FieldEmbedding.from_columns(rows.categorical, rows.numeric, dim=16)
    head = HTLNet(Predictor.width(embedding, fields, encoder), targets)
    model = Predictor(head, embedding, fields, encoder)

    # The core target comes first: rules look there for it, whatever the order of the chain.
    tasks = {
        "watch_time": Regression.from_labels("watch_time", rows.label[:, 2]),
        "click": Classification("click"),
        "long_view": Classification("long_view"),
    }
    adj_dict = Adjacency.dict_from(NormalizedAdjacency()(train))
    collector = PredictionCollector(model, tasks)
    step = MultiTaskStep(collector, GradientAdjustment(gamma=0.1), adj_dict)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=1e-3)
    for epoch in range(1, 7):
        model.train()
        losses = torch.zeros(len(tasks))
        for batch in loader:
            losses += step(batch, epoch=epoch) / len(loader)
            optimizer.step()
        shown = "  ".join(
            f"{name} {loss:.4f}" for name, loss in zip(tasks, losses.tolist(), strict=True)
        )
        print(f"epoch {epoch}  {shown}")

    model.eval()
    rows = ImpressionLoader(test, shuffle=False).whole()
    with torch.no_grad():
        predictions = model(rows, adj_dict)
    found = {name: tasks[name].predict(out) for name, out in predictions.items()}
    evaluator = PredictionEvaluator(rows.label, targets)
    constant = Constant(loader.label, targets)
    for name, predicted in {
        "constant": constant.predict(rows.size),
        "LightGCN + HTLNet": found,
        "best possible": dataset.target_oracle(test),
    }.items():
        metrics = evaluator(predicted).metrics
        print(
            f"{name:18} click AUC {metrics['click/auc']:.4f}"
            f"  watch time RMSE {metrics['watch_time/rmse']:.3f}"
        )


if __name__ == "__main__":
    main()
