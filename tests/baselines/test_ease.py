import numpy as np
import pytest
import torch
from bank import MAIN, graphs, no_interactions
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines import EASE, _packed_inverse, ease
from pyg_mtrec.baselines._packed_inverse import PackedInverse
from pyg_mtrec.metrics import Scorer


def dense(data: HeteroData) -> np.ndarray:
    x = np.zeros((data["user"].num_nodes, data["item"].num_nodes))
    user, item = data[MAIN].edge_index.numpy()
    x[user, item] = 1.0
    return x


def constrained_ridge(x: np.ndarray, l2: float) -> np.ndarray:
    """Scores of the regression of every column on all others, one column at a time."""
    scores = np.zeros_like(x)
    for j in range(x.shape[1]):
        others = np.delete(x, j, axis=1)
        gram = others.T @ others + l2 * np.eye(others.shape[1])
        scores[:, j] = others @ np.linalg.solve(gram, others.T @ x[:, j])
    return scores


def graph(num_users: int, num_items: int, pairs: list[tuple[int, int]]) -> HeteroData:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = num_users, num_items
    data[MAIN].edge_index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).t()
    return data


@pytest.mark.parametrize("name", list(graphs()))
@pytest.mark.parametrize("l2", [0.5, 250.0])
def test_both_forms_are_the_constrained_ridge(name: str, l2: float) -> None:
    data = graphs()[name]
    expected = constrained_ridge(dense(data), l2)
    users = torch.arange(data["user"].num_nodes)
    for form in ("primal", "dual", "auto"):
        scorer = EASE(data, l2=l2, form=form)
        assert isinstance(scorer, Scorer)
        got = scorer.score(users)
        assert got.dtype == torch.float32
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5, atol=2e-6)


@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), max_size=40),
    l2=st.sampled_from([1e-3, 1.0, 1e4, 1e10]),
    users=st.lists(st.integers(0, 6), min_size=1, max_size=9),
)
def test_any_graph_any_order_of_users(
    pairs: list[tuple[int, int]], l2: float, users: list[int]
) -> None:
    data = graph(7, 9, pairs)
    x = dense(data)
    expected = constrained_ridge(x, l2)[users]
    for form in ("primal", "dual"):
        got = EASE(data, l2=l2, form=form).score(torch.tensor(users)).double().numpy()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
        # Nothing is known of users without items and of items without users.
        assert (got[x[users].sum(axis=1) == 0] == 0.0).all()
        assert (got[:, x.sum(axis=0) == 0] == 0.0).all()


def test_unseen_scores_keep_their_digits_under_a_large_penalty() -> None:
    # They are of size 1 / l2; that 1 is added to seen ones must not cost them anything.
    data = graphs()["larger"]
    x = dense(data)
    expected = constrained_ridge(x, 1e6)
    mask = (x == 0) & (expected > 0)
    for form in ("primal", "dual"):
        got = EASE(data, l2=1e6, form=form).score(torch.arange(60)).double().numpy()
        np.testing.assert_allclose(got[mask], expected[mask], rtol=1e-5)


def test_popular_item_under_a_small_penalty() -> None:
    # 1 - x'Kx cancels to 1e-5 of its terms here: float32 would be wrong by percents.
    generator = torch.Generator().manual_seed(0)
    pairs = (torch.rand(300, 40, generator=generator) < 0.1).nonzero()
    popular = torch.stack([torch.arange(280), torch.full((280,), 39)], dim=1)
    data = graph(300, 40, torch.cat([pairs, popular]).tolist())
    expected = constrained_ridge(dense(data), 0.01)
    got = EASE(data, l2=0.01, form="dual").score(torch.arange(300)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("block", [1, 7])
def test_independent_of_blocks(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = graphs()["larger"]
    users = torch.arange(60)
    expected = {form: EASE(data, form=form).score(users) for form in ("primal", "dual")}
    monkeypatch.setattr(ease, "_BLOCK", block)
    monkeypatch.setattr(ease, "_STEP", block)
    monkeypatch.setattr(ease, "_GROUP", block)
    monkeypatch.setattr(_packed_inverse, "_BLOCK_BYTES", 8 * 60 * block)
    for form, scores in expected.items():
        scorer = EASE(data, form=form)
        torch.testing.assert_close(scorer.score(users), scores, rtol=1e-6, atol=1e-8)
        parts = torch.cat([scorer.score(part) for part in users.split(block)])
        torch.testing.assert_close(parts, scores, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", range(1, 12))
def test_packed_inverse(size: int) -> None:
    generator = np.random.default_rng(size)
    a = generator.standard_normal((size, size))
    a = a @ a.T + np.eye(size)
    inverse = PackedInverse(size, lambda start, stop: a[start:stop])
    assert inverse.packed.numel() == size * (size + 1) // 2
    np.testing.assert_allclose(inverse.diagonal(), np.diag(np.linalg.inv(a)), rtol=1e-9)
    index = torch.from_numpy(generator.integers(0, size, 2 * size))
    np.testing.assert_allclose(
        inverse.columns(index), np.linalg.inv(a)[:, index.numpy()], rtol=1e-9, atol=1e-12
    )


def test_packed_inverse_refuses_indefinite_matrices() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        PackedInverse(2, lambda start, stop: np.array([[1.0, 2.0], [2.0, 1.0]])[start:stop])


def test_the_smaller_side_that_fits_is_inverted() -> None:
    wide, tall = graph(2, 9, [(0, i) for i in range(9)] + [(1, 0)]), graphs()["hub"]
    assert EASE(wide).form == "dual"
    assert EASE(tall).form == "primal"  # 10 items with users, 20 users
    assert EASE(wide, memory_limit=4 * 2**2).form == "dual"
    with pytest.raises(InputError, match="2 users and 9 items, over 'memory_limit'"):
        EASE(wide, memory_limit=4 * 2**2 - 1)
    # Primal takes 8 n^2 bytes, dual 4 n^2: the larger side may be the one that fits.
    near = graph(5, 4, [(user, item) for user in range(5) for item in range(4)])
    assert EASE(near, memory_limit=8 * 4**2).form == "primal"
    assert EASE(near, memory_limit=4 * 5**2).form == "dual"


def test_no_interactions_score_nothing() -> None:
    scorer = EASE(no_interactions())
    assert scorer.score(torch.tensor([0, 2])).tolist() == [[0.0] * 4] * 2


@pytest.mark.parametrize(
    "arguments", [{"l2": 0.0}, {"l2": float("nan")}, {"l2": float("inf")}, {"form": "duel"}]
)
def test_bad_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError, match="needs to be"):
        EASE(graphs()["plain"], **arguments)
