"""Load a data set as HeteroData, split it without a leak and rank by popularity.

python examples/load_dataset.py                      the planted world, nothing to download
python examples/load_dataset.py Epinions data/epinions   raw files in data/epinions/raw
"""

import sys

from pyg_mtrec import datasets
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.metrics import RankingEvaluator
from pyg_mtrec.transforms import KCore, SplitInteractions

MAIN = ("user", "interacts", "item")


def main() -> None:
    if len(sys.argv) == 3:
        name, root = sys.argv[1:]
        dataset = getattr(datasets, name)(root)
    else:
        dataset = datasets.Planted(num_interactions=20_000)

    # One graph. It carries no features: tables are owned by pyg_mtrec.nn.NodeEmbedding.
    data = dataset[0]
    print(data)
    print("report:", dataset.report)
    print("default tasks:", ", ".join(dataset.default_tasks))

    # Filters are transforms that you choose, not a silent step.
    core = KCore(k=5)(data)
    print(f"5-core: {core[MAIN].num_edges:,} of {data[MAIN].num_edges:,} interactions")

    # Three graphs with the same message edges, the training interactions.
    train, val, test = SplitInteractions(seed=0)(core)
    for split, graph in (("train", train), ("val", val), ("test", test)):
        store = graph[MAIN]
        print(
            f"{split:5} messages {store.edge_index.size(1):,}, to predict"
            f" {store.edge_label_index.size(1):,}, masked {store.seen_edge_index.size(1):,}"
        )

    # Anything with score() and num_items can be ranked.
    result = RankingEvaluator(test, k=(20,))(Popularity(train))
    for metric, value in result.metrics.items():
        print(f"{metric:13} {value:.4f}")
    print("by length of the user's history:")
    for bucket, metrics in result.buckets.items():
        if metrics["users"]:
            print(f"{bucket:>6} {metrics['users']:5,} users, recall@20 {metrics['recall@20']:.4f}")


if __name__ == "__main__":
    main()
