import math

import pytest
import torch
from bank import MAIN, graphs, no_interactions
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import ItemKNN, item_knn
from pyg_mtrec.metrics import Scorer


def dense(data: HeteroData) -> torch.Tensor:
    x = torch.zeros(data["user"].num_nodes, data["item"].num_nodes, dtype=torch.double)
    x[data[MAIN].edge_index[0], data[MAIN].edge_index[1]] = 1.0
    return x


def similarity(x: torch.Tensor, shrinkage: float) -> list[list[float]]:
    num_users, num_items = x.shape
    out = [[0.0] * num_items for _ in range(num_items)]
    for i in range(num_items):
        for j in range(num_items):
            common = sum(float(x[u, i] * x[u, j]) for u in range(num_users))
            if i != j and common > 0:
                norms = math.sqrt(float(x[:, i].sum()) * float(x[:, j].sum()))
                out[i][j] = common / (norms + shrinkage)
    return out


@pytest.mark.parametrize("name", [name for name in graphs() if name != "larger"])
@pytest.mark.parametrize("shrinkage", [0.0, 3.5])
def test_equals_the_loop(name: str, shrinkage: float) -> None:
    data = graphs()[name]
    x = dense(data)
    w = torch.tensor(similarity(x, shrinkage), dtype=torch.double)
    users = torch.arange(x.size(0))
    for k in (1000, 2, 1):
        scorer = ItemKNN(data, k=k, shrinkage=shrinkage)
        assert isinstance(scorer, Scorer) and scorer.num_items == x.size(1)
        kept = torch.from_numpy(scorer.similarity.toarray()).double()
        for j in range(x.size(1)):
            positive = sorted((value for value in w[:, j].tolist() if value > 0), reverse=True)
            got = kept[:, j]
            # Which of equal neighbours stays is drawn; their weights are not.
            found = sorted((value for value in got.tolist() if value != 0), reverse=True)
            assert found == pytest.approx(positive[:k], rel=1e-6)
            assert got[got != 0].tolist() == pytest.approx(w[got != 0, j].tolist(), rel=1e-6)
            assert got[j] == 0.0
        torch.testing.assert_close(scorer.score(users).double(), x @ kept, rtol=1e-6, atol=1e-7)


def test_normalised_scores() -> None:
    data = graphs()["plain"]
    users = torch.arange(8)
    plain = ItemKNN(data, k=3, seed=2)
    kept = torch.from_numpy(plain.similarity.toarray())
    expected = plain.score(users) / kept.sum(dim=0)
    got = ItemKNN(data, k=3, seed=2, normalize_scores=True).score(users)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("bound", [1, 50, 2000])
def test_independent_of_blocks(bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = graphs()["larger"]
    expected = ItemKNN(data, k=7, shrinkage=1.0).similarity
    monkeypatch.setattr(item_knn, "_MAX_PAIRS", bound)
    got = ItemKNN(data, k=7, shrinkage=1.0).similarity
    assert abs(got - expected).max() == 0.0


def test_tied_neighbours_are_a_fair_draw() -> None:
    # One user with 9 items: for target 0 the 8 others tie for 2 places.
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 1, 9
    data[MAIN].edge_index = torch.stack([torch.zeros(9, dtype=torch.long), torch.arange(9)])
    num_draws = 800
    won = torch.zeros(8)
    for seed in range(num_draws):
        column = ItemKNN(data, k=2, seed=seed).similarity[:, [0]].toarray()[1:, 0]
        assert column.sum() == 2.0
        won += torch.from_numpy(column)
    expected = num_draws * 2 / 8
    chi2 = float(((won - expected) ** 2 / expected).sum())
    # Two different winners a draw: chi2 / (6/7) has 7 degrees of freedom (99.9 %: 24.3).
    assert chi2 < 24.3 * 6 / 7


def test_no_interactions_score_nothing() -> None:
    scorer = ItemKNN(no_interactions())
    assert scorer.score(torch.tensor([0, 2])).tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize("arguments", [{"k": 0}, {"shrinkage": -1.0}, {"shrinkage": float("nan")}])
def test_bad_arguments(arguments: dict[str, float]) -> None:
    with pytest.raises(InputError, match="'ItemKNN'"):
        ItemKNN(graphs()["plain"], **arguments)
