from collections import Counter

import pytest
import torch
from bank import MAIN, graphs
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import Popularity
from pyg_mtrec.metrics import RankingEvaluator, Scorer


@pytest.mark.parametrize("name", list(graphs()))
def test_counts_distinct_users(name: str) -> None:
    data = graphs()[name]
    count = Counter(item for _, item in set(map(tuple, data[MAIN].edge_index.t().tolist())))
    scorer = Popularity(data)
    assert isinstance(scorer, Scorer)
    expected = [float(count[item]) for item in range(data["item"].num_nodes)]
    assert scorer.score(torch.tensor([0, 0])).tolist() == [expected, expected]


def test_held_out_pairs_do_not_count() -> None:
    data = graphs()["plain"]
    before = Popularity(data).score(torch.tensor([0]))
    data[MAIN].edge_label_index = data[MAIN].seen_edge_index = torch.tensor([[0, 1], [9, 9]])
    assert torch.equal(Popularity(data).score(torch.tensor([0])), before)


def test_evaluator_leaves_the_counts_alone() -> None:
    data = graphs()["plain"]
    edges = data[MAIN].edge_index
    data[MAIN].edge_index = data[MAIN].seen_edge_index = edges[:, ::2]
    data[MAIN].edge_label_index = edges[:, 1::2]
    scorer = Popularity(data)
    before = scorer.count.clone()
    RankingEvaluator(data, k=(3,))(scorer)
    assert torch.equal(scorer.count, before)


def test_bad_graphs() -> None:
    with pytest.raises(InputError, match="no relation"):
        Popularity(HeteroData())
    data = graphs()["plain"]
    data[MAIN].edge_index[1, 0] = 10
    with pytest.raises(InputError, match=r"item ids in 0 \.\. 9"):
        Popularity(data)
