"""Alignment against loops over pairs and over rows, in float64."""

import pytest
import torch
from bank import MAIN, TRUSTS, graphs, pairs
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch, FullBatch
from pyg_mtrec.nn import Representations
from pyg_mtrec.tasks import Alignment

NUM = {"user": 5, "item": 6}
EDGES = [(3, 0), (0, 2), (1, 2), (3, 4), (0, 2), (0, 1), (3, 0)]  # pairs (0, 2), (3, 0) twice
WEIGHT = [1.0, 0.0, 0.5, 2.0, 1.0, 0.25, 1.0]


class WithTables(Representations):
    """Knows tables, which are other numbers than the representations."""

    def __init__(self, x_dict: dict[str, Tensor], tables: dict[str, Tensor], **views) -> None:
        super().__init__(x_dict, views)
        self.tables = tables

    def table(self, node_type: str) -> Tensor:
        return self.tables[node_type]

    def table_rows(self, node_type: str, index: Tensor) -> Tensor:
        return self.tables[node_type][index]


def rows(dim=3, seed=0, scale=1.0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (scale * torch.randn(num, dim, generator=generator).double()).requires_grad_()
        for name, num in NUM.items()
    }


def ends(edges) -> list[Tensor]:
    return [torch.tensor([edge[end] for edge in edges], dtype=torch.long) for end in (0, 1)]


def mini(edges=EDGES, size=10, weight=WEIGHT, edge_type=MAIN) -> Batch:
    weight = None if weight is None else torch.tensor(weight)
    return Batch(edge_type, size, *ends(edges), weight=weight)


def full(edges=EDGES, edge_type=MAIN) -> FullBatch:
    return FullBatch.from_edges(edge_type, *ends(edges), NUM[edge_type[0]], NUM[edge_type[2]])


def by_hand(x: dict[str, Tensor], edges, size, weight=None, edge_type=MAIN) -> Tensor:
    total = sum(0 * table.sum() for table in x.values())
    for position, (s, d) in enumerate(edges):
        apart = x[edge_type[0]][s] - x[edge_type[2]][d]
        total = total + (1.0 if weight is None else weight[position]) * (apart**2).sum()
    return total / size


def close(got: Tensor, want: Tensor, inputs: list[Tensor], rtol=1e-12, atol=1e-13) -> None:
    torch.testing.assert_close(got, want, rtol=rtol, atol=atol)
    options = {"materialize_grads": True, "retain_graph": True}
    for a, b in zip(
        torch.autograd.grad(got, inputs, **options),
        torch.autograd.grad(want, inputs, **options),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("dim", [1, 3])
def test_a_batch_is_the_loop_over_its_pairs(weight, dim):
    x = rows(dim)
    got = Alignment()(mini(weight=weight), Representations(x))
    close(got, by_hand(x, EDGES, 10, weight), list(x.values()))


def test_all_edges_are_the_loop_over_them():
    x = rows()
    close(Alignment()(full(), Representations(x)), by_hand(x, EDGES, 7), list(x.values()))


def test_batches_of_an_epoch_add_up_to_all_edges():
    x = rows()
    task, size = Alignment(), len(EDGES)
    parts = sum(
        task(mini(EDGES[k : k + 3], size, None), Representations(x)) for k in range(0, size, 3)
    )
    close(parts, task(full(), Representations(x)), list(x.values()))


@given(st.data())
def test_any_pairs_at_any_scale(data):
    edge = st.tuples(st.integers(0, NUM["user"] - 1), st.integers(0, NUM["item"] - 1))
    edges = data.draw(st.lists(edge, max_size=9))
    scale = 10.0 ** data.draw(st.integers(-10, 10))
    x = rows(data.draw(st.integers(1, 3)), seed=data.draw(st.integers(0, 50)), scale=scale)
    size = max(1, len(edges))
    want = by_hand(x, edges, size)
    for batch in (mini(edges, size, None), full(edges)):
        got = Alignment()(batch, Representations(x))
        close(got, want, list(x.values()), atol=1e-13 * scale)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_all_edges_penalise_the_whole_tables(reduction):
    x, tables = rows(), rows(dim=2, seed=1)
    got = Alignment(l2=0.3, reduction=reduction)(full(), WithTables(x, tables))
    want = by_hand(x, EDGES, 7)
    for name, table in tables.items():
        norm = sum((row**2).sum() for row in table)
        want = want + 0.3 / 2 * norm / (NUM[name] if reduction == "mean" else 1)
    close(got, want, [*x.values(), *tables.values()])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_batch_penalises_its_rows_as_often_as_they_occur(reduction):
    x, tables = rows(), rows(dim=2, seed=1)
    got = Alignment(l2=0.3, reduction=reduction)(mini(), WithTables(x, tables))
    want = by_hand(x, EDGES, 10, WEIGHT)
    for end, table in enumerate(tables.values()):
        norm = sum((table[edge[end]] ** 2).sum() for edge in EDGES)
        want = want + 0.3 / 2 * norm / (len(EDGES) if reduction == "mean" else 1)
    close(got, want, [*x.values(), *tables.values()])


@pytest.mark.parametrize("whole", [False, True])
def test_one_table_for_both_ends_is_penalised_once(whole):
    edges = [(0, 1), (1, 4), (2, 0)]
    x, tables = rows(), rows(dim=2, seed=1)
    batch = full(edges, TRUSTS) if whole else mini(edges, 3, None, TRUSTS)
    got = Alignment(TRUSTS, l2=0.3)(batch, WithTables(x, tables))
    users = range(NUM["user"]) if whole else [0, 1, 2, 1, 4, 0]
    norm = sum((tables["user"][user] ** 2).sum() for user in users)
    want = by_hand(x, edges, 3, edge_type=TRUSTS) + 0.3 / 2 * norm / len(users)
    close(got, want, [x["user"], tables["user"]])


def test_an_empty_batch_is_penalised_for_nothing():
    x, tables = rows(), rows(dim=2, seed=1)
    got = Alignment(l2=0.3)(mini([], 1, None), WithTables(x, tables))
    assert float(got.detach()) == 0
    for grad in torch.autograd.grad(got, [*x.values(), *tables.values()]):
        assert not grad.any()


@pytest.mark.parametrize("scale", [1e-10, 1.0, 1e10])
def test_the_penalty_keeps_its_digits(scale):
    """A sum of millions of squares in float32, to a tenth of what a loss term may be off."""
    generator = torch.Generator().manual_seed(0)
    big = {"user": scale * torch.randn(40000, 64, generator=generator), "item": torch.zeros(1, 64)}
    zero = torch.tensor([0])
    batch = FullBatch.from_edges(MAIN, zero, zero, 40000, 1)
    x = {name: torch.zeros(table.size(0), 1) for name, table in big.items()}
    got = Alignment(l2=2.0, reduction="sum")(batch, WithTables(x, big))
    want = big["user"].double().square().sum()
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=0)


@pytest.mark.parametrize("whole", [False, True])
def test_a_view_replaces_representations_but_no_table(whole):
    x, view, tables = rows(), rows(seed=2), rows(dim=2, seed=1)
    representations = WithTables(x, tables, mine={"item": view["item"]})
    batch = full() if whole else mini(size=7, weight=None)
    got = Alignment(l2=0.3, reduction="sum", view="mine")(batch, representations)
    seen = {"user": x["user"], "item": view["item"]}
    users, items = (range(5), range(6)) if whole else zip(*EDGES, strict=True)
    norm = sum((tables["user"][user] ** 2).sum() for user in users)
    norm = norm + sum((tables["item"][item] ** 2).sum() for item in items)
    want = by_hand(seen, EDGES, 7) + 0.3 / 2 * norm
    close(got, want, [x["user"], view["item"], *tables.values()])


@pytest.mark.parametrize("anchored", [True, False])
def test_its_sampler_gives_pairs_without_negatives(anchored):
    data = graphs()["plain"]
    generator = torch.Generator().manual_seed(0)
    sampler = Alignment(anchored=anchored).sampler(data, generator)
    assert sampler.anchored is anchored
    batch = sampler.full()
    found = list(zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True))
    assert sorted(found) == sorted(pairs(data[MAIN].edge_index))
    assert batch.dst_neg_index is None
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())


def test_a_batch_of_pyg_takes_its_place():
    data = HeteroData()
    data["user"].n_id, data["item"].n_id = torch.tensor([3, 0]), torch.tensor([2, 0, 4])
    data[MAIN].edge_label_index = torch.tensor([[0, 1, 0], [1, 0, 2]])
    x = rows()
    want = by_hand(x, [(3, 0), (0, 2), (3, 4)], 3)
    close(Alignment()(data, Representations(x)), want, list(x.values()))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"l2": -0.1}, r"'l2' needs to be at least 0 in 'Alignment' \(got -0.1\)"),
        ({"l2": float("nan")}, r"'l2' needs to be at least 0 in 'Alignment' \(got nan\)"),
        ({"reduction": "max"}, r"'reduction' .*'mean', 'sum'.* in 'Alignment' \(got 'max'\)"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(InputError, match=match) as error:
        Alignment(**options)
    assert "\n" not in str(error.value)


def test_a_penalty_needs_tables():
    for batch in (mini(), full()):
        with pytest.raises(InputError, match=r"'l2' of 'Alignment'.*GradientCollector") as error:
            Alignment(l2=0.1)(batch, Representations(rows()))
        assert "\n" not in str(error.value)
