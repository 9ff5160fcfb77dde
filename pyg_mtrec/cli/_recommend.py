"""``pyg-mtrec recommend``: raw id of a user to raw ids of items."""

import argparse

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli import _table
from pyg_mtrec.runs import RunDirectory


def run(arguments: argparse.Namespace) -> None:
    if arguments.k < 1:
        raise InputError(f"'--k' needs to be at least 1 (got {arguments.k})")
    directory = RunDirectory(arguments.run_dir)
    results = directory.read_results()  # a run that has not ended holds no model
    import torch
    from torch_geometric.data import HeteroData

    from pyg_mtrec.datasets._raw_ids import decode, lookup
    from pyg_mtrec.metrics import DotProductScorer, Scorer
    from pyg_mtrec.metrics._top_k import top_k

    ids = directory.load_tensors("ids")
    data = HeteroData()
    for node_type, raw_id in ids["raw_id"].items():
        data[node_type].raw_id = raw_id
        data[node_type].num_nodes = raw_id.numel()
    data.raw_id_tables = ids["tables"]
    user = torch.tensor([lookup(data, "user", arguments.user)])
    seen = None if arguments.include_seen else directory.load_tensors("seen")["edge_index"]
    scorer: Scorer
    if "targets" in results:
        from pyg_mtrec.training.evaluation import load_scorer

        scorer = load_scorer(directory, arguments.root)
    else:
        model = directory.load_tensors("model")
        scorer = DotProductScorer(model["user_x"], model["item_x"])
    seed = int(directory.read_config().get("seed", 0))
    scores, items = top_k(scorer, user, arguments.k, seen, seed)
    found = items[0] >= 0  # fewer than k where the user has seen the rest
    names = decode(data, "item", items[0][found])
    rows = [
        [str(rank), str(name), _table.number(score)]
        for rank, (name, score) in enumerate(
            zip(names, scores[0][found].tolist(), strict=True), start=1
        )
    ]
    score = results["core_target"] if "targets" in results else "score"
    print(_table.render(["rank", "item", score], rows))
    if len(rows) < arguments.k:
        print(f"user '{arguments.user}' has seen all the other items")
