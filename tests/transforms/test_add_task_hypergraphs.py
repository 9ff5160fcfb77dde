import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from bank import ALSO_VIEWED, IN_CATEGORY, IN_GROUP, MAIN, REVERSE, TRUSTS, VIEWS, graphs, pairs
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import (
    AddTaskHypergraphs,
    KCore,
    NormalizedAdjacency,
    PermuteIds,
    SplitInteractions,
)
from pyg_mtrec.transforms._task_hypergraphs import task_hypergraphs

DIRECTIONS = ("out", "in", "both")


def stars(edges: list[tuple[int, int]], direction: str, include_head: bool) -> dict[int, set[int]]:
    """The definition, edge by edge."""
    found: dict[int, set[int]] = {}
    for src, dst in edges:
        if src != dst:
            if direction in ("out", "both"):
                found.setdefault(src, set()).add(dst)
            if direction in ("in", "both"):
                found.setdefault(dst, set()).add(src)
    return {head: star | {head} if include_head else star for head, star in found.items()}


def bins(data: HeteroData, width: str = "0.5") -> dict[float, set[int]]:
    """The definition, in exact arithmetic; the first row of a repeated pair counts."""
    first: dict[tuple[int, int], Fraction] = {}
    for pair, rating in zip(pairs(data[MAIN].edge_index), data[MAIN].rating.tolist(), strict=True):
        first.setdefault(pair, Fraction(rating))
    step, found = Fraction(width), {}
    for item in {item for _, item in first}:
        ratings = [rating for (_, other), rating in first.items() if other == item]
        mean = sum(ratings) / len(ratings)
        value = math.floor(mean / step + Fraction(1, 2)) * step
        found.setdefault(float(value), set()).add(item)
    return found


def hyperedges(data: HeteroData, edge_type: tuple[str, str, str]) -> list[set[int]]:
    """The vertices of every hyperedge; an incidence that is stored twice is a fault."""
    out: list[set[int]] = [set() for _ in range(data[edge_type[2]].num_nodes)]
    for vertex, hyperedge in pairs(data[edge_type].edge_index):
        assert vertex not in out[hyperedge]
        out[hyperedge].add(vertex)
    return out


def check(data: HeteroData, direction: str = "out", include_head: bool = True) -> HeteroData:
    out = AddTaskHypergraphs(direction=direction, include_head=include_head)(data)
    marked = task_hypergraphs(out)
    expected = set()
    for edge_type in data.edge_types:
        src, relation, dst = edge_type
        if dst not in ("user", "item"):
            expected.add(dst)
            assert marked[dst] == edge_type
            assert out[edge_type].edge_index is data[edge_type].edge_index
        elif src == dst:
            expected.add(relation)
            assert marked[relation] == (src, "in", f"hyperedge_{relation}")
            want = stars(pairs(data[edge_type].edge_index), direction, include_head)
            store = out[f"hyperedge_{relation}"]
            assert store.head.tolist() == sorted(want)
            assert store.head.dtype == torch.long
            assert hyperedges(out, marked[relation]) == [want[h] for h in sorted(want)]
    if "rating" in data[MAIN]:
        expected.add("rating")
        want = bins(data)
        value = out["hyperedge_rating"].value
        assert value.dtype == torch.float32
        assert value.tolist() == sorted(want)
        assert hyperedges(out, marked["rating"]) == [want[v] for v in sorted(want)]
    assert set(marked) == expected
    assert "task" not in out[MAIN] and "task" not in out[REVERSE]
    turned = {(user, item) for item, user in pairs(out[REVERSE].edge_index)}
    assert turned == set(pairs(data[MAIN].edge_index))
    for edge_type in out.edge_types:
        assert out[edge_type].edge_index.dtype == torch.long
    out.validate()
    return out


@pytest.mark.parametrize("include_head", [True, False])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", graphs())
def test_equals_the_definition(name: str, direction: str, include_head: bool) -> None:
    check(graphs()[name], direction, include_head)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=20),
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.sampled_from([0.5, 1, 2.5, 4, 5])),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(DIRECTIONS),
    st.booleans(),
)
def test_any_graph(
    links: list[tuple[int, int]],
    rows: list[tuple[int, int, float]],
    direction: str,
    include_head: bool,
) -> None:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 6, 5
    data[MAIN].edge_index = torch.tensor([row[:2] for row in rows]).t().contiguous()
    data[MAIN].rating = torch.tensor([row[2] for row in rows])
    data[TRUSTS].edge_index = torch.tensor(links, dtype=torch.long).view(-1, 2).t().contiguous()
    check(data, direction, include_head)


def test_by_hand() -> None:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes, data["brand"].num_nodes = 4, 3, 2
    data[MAIN].edge_index = torch.tensor([[3, 0, 1, 0], [2, 0, 0, 2]])
    data[MAIN].rating = torch.tensor([1.0, 4.0, 4.5, 2.0])
    # User 2 trusts 3 twice and themselves, user 3 trusts 0 and 2; nobody else trusts.
    data[TRUSTS].edge_index = torch.tensor([[3, 2, 2, 2, 3], [0, 3, 2, 3, 2]])
    data["item", "of", "brand"].edge_index = torch.tensor([[1, 0], [1, 1]])
    out = AddTaskHypergraphs()(data)
    assert task_hypergraphs(out) == {
        "brand": ("item", "of", "brand"),
        "trusts": ("user", "in", "hyperedge_trusts"),
        "rating": ("item", "in", "hyperedge_rating"),
    }
    assert out["hyperedge_trusts"].head.tolist() == [2, 3]
    assert out["user", "in", "hyperedge_trusts"].edge_index.tolist() == [
        [2, 3, 0, 2, 3],
        [0, 0, 1, 1, 1],
    ]
    # Item 0 has mean 4.25, which rounds up to 4.5, item 2 has 1.5, item 1 has no rating.
    assert out["hyperedge_rating"].value.tolist() == [1.5, 4.5]
    assert out["item", "in", "hyperedge_rating"].edge_index.tolist() == [[0, 2], [1, 0]]
    assert out[REVERSE].edge_index.tolist() == [[2, 0, 0, 2], [3, 0, 1, 0]]
    without = AddTaskHypergraphs(direction="in", include_head=False, rating_bins=False)(data)
    assert "hyperedge_rating" not in without.node_types
    assert without["hyperedge_trusts"].head.tolist() == [0, 2, 3]
    assert without["user", "in", "hyperedge_trusts"].edge_index.tolist() == [[3, 3, 2], [0, 1, 2]]


@pytest.mark.parametrize("width", ["0.25", "1", "4", "0.1"])
def test_bins_of_another_width(width: str) -> None:
    data = graphs()["larger"]
    out = AddTaskHypergraphs(bin_width=float(width))(data)
    want = bins(data, width)
    assert out["hyperedge_rating"].value.tolist() == pytest.approx(sorted(want))
    found = hyperedges(out, ("item", "in", "hyperedge_rating"))
    if width != "0.1":  # which no float is: on the edge of a bin the exact rational may differ
        assert found == [want[value] for value in sorted(want)]
    assert sum(map(len, found)) == data[MAIN].edge_index[1].unique().numel()


def test_negative_ratings_have_bins_too() -> None:
    data = graphs()["plain"]
    data[MAIN].rating = data[MAIN].rating - 3
    check(data)


def test_empty_relations_give_empty_hypergraphs() -> None:
    out = AddTaskHypergraphs()(graphs()["empty_relation"])
    for task, edge_type in task_hypergraphs(out).items():
        if task != "rating":
            assert out[edge_type].edge_index.shape == (2, 0)
    for relation in ("trusts", "also_viewed"):
        assert out[f"hyperedge_{relation}"].num_nodes == 0
        assert out[f"hyperedge_{relation}"].head.shape == (0,)


@pytest.mark.parametrize("strategy", ["random", "per-user"])
@pytest.mark.parametrize("name", ["plain", "behaviours", "groups", "larger", "self_loops"])
def test_the_same_on_all_three_graphs(name: str, strategy: str) -> None:
    splits = [AddTaskHypergraphs()(part) for part in SplitInteractions(strategy)(graphs()[name])]
    check(SplitInteractions(strategy)(graphs()[name])[0])
    for part in splits[1:]:
        assert task_hypergraphs(part) == task_hypergraphs(splits[0])
        for edge_type in [REVERSE, *task_hypergraphs(part).values()]:
            assert torch.equal(part[edge_type].edge_index, splits[0][edge_type].edge_index)
            same = part[edge_type[2]].to_dict(), splits[0][edge_type[2]].to_dict()
            assert same[0].keys() == same[1].keys()
            assert all(np.array_equal(same[0][key], same[1][key]) for key in same[0])


def test_held_out_ratings_change_nothing() -> None:
    data, other = graphs()["larger"], graphs()["larger"]
    train, val, test = SplitInteractions(seed=4)(data)
    held = {pair for part in (val, test) for pair in pairs(part[MAIN].edge_label_index)}
    hidden = torch.tensor([pair in held for pair in pairs(data[MAIN].edge_index)])
    assert 0 < int(hidden.sum()) < hidden.numel()
    other[MAIN].rating[hidden] = 6 - other[MAIN].rating[hidden]
    assert not torch.equal(data[MAIN].rating, other[MAIN].rating)
    for before, after in zip((train, val, test), SplitInteractions(seed=4)(other), strict=True):
        left, right = AddTaskHypergraphs()(before), AddTaskHypergraphs()(after)
        for edge_type in [REVERSE, *task_hypergraphs(left).values()]:
            assert torch.equal(left[edge_type].edge_index, right[edge_type].edge_index)
        assert torch.equal(left["hyperedge_rating"].value, right["hyperedge_rating"].value)
        turned = {(user, item) for item, user in pairs(left[REVERSE].edge_index)}
        assert not turned & held
    whole = AddTaskHypergraphs()(data), AddTaskHypergraphs()(other)
    edge_type = ("item", "in", "hyperedge_rating")
    assert not torch.equal(whole[0][edge_type].edge_index, whole[1][edge_type].edge_index)


@pytest.mark.parametrize("name", ["plain", "behaviours"])
def test_either_order_with_the_normalized_adjacency(name: str) -> None:
    train, _, _ = SplitInteractions()(graphs()[name])
    first = NormalizedAdjacency()(AddTaskHypergraphs()(train))
    second = AddTaskHypergraphs()(NormalizedAdjacency()(train))
    assert set(first.edge_types) == set(second.edge_types)
    for edge_type in first.edge_types:
        assert set(first[edge_type].keys()) == set(second[edge_type].keys())
        assert torch.equal(first[edge_type].edge_index, second[edge_type].edge_index)
    assert torch.equal(first[REVERSE].adj_t.to_dense(), second[REVERSE].adj_t.to_dense())
    assert torch.equal(
        first[REVERSE].edge_index.unique(dim=1).flip(0).sort().values,
        first[MAIN].edge_index.unique(dim=1).sort().values,
    )


def test_a_reverse_relation_of_the_same_pairs_stays() -> None:
    data = graphs()["behaviours"]
    data[REVERSE].edge_index = data[REVERSE].edge_index.flip(1)
    out = AddTaskHypergraphs()(data)
    assert out[REVERSE].edge_index is data[REVERSE].edge_index
    assert out[REVERSE].rating is data[REVERSE].rating


def test_a_reverse_relation_of_other_pairs_is_made_anew() -> None:
    data = graphs()["behaviours"]
    data[REVERSE].edge_index = data[REVERSE].edge_index[:, 1:]
    data[REVERSE].rating = data[REVERSE].rating[1:]
    out = AddTaskHypergraphs()(data)
    assert torch.equal(out[REVERSE].edge_index, data[MAIN].edge_index.flip(0))
    assert "rating" not in out[REVERSE]
    assert data[REVERSE].rating.numel() == data[MAIN].num_edges - 1


def test_shared_names_are_given_up_by_all() -> None:
    data = graphs()["groups"]
    data["item", "of", "group"].edge_index = torch.tensor([[0, 1], [0, 3]])
    data["item", "likes", "item"].edge_index = torch.tensor([[0, 1], [1, 2]])
    data["user", "likes", "user"].edge_index = torch.tensor([[3], [4]])
    data["user", "thinks_of", "category"].edge_index = torch.tensor([[3], [0]])
    data["user", "dreams_of", "category"].edge_index = torch.tensor([[4], [0]])
    marked = task_hypergraphs(AddTaskHypergraphs()(data))
    assert marked == {
        "user_group": IN_GROUP,
        "item_group": ("item", "of", "group"),
        "item_category": IN_CATEGORY,
        "user_thinks_of_category": ("user", "thinks_of", "category"),
        "user_dreams_of_category": ("user", "dreams_of", "category"),
        "trusts": ("user", "in", "hyperedge_trusts"),
        "item_likes": ("item", "in", "hyperedge_item_likes"),
        "user_likes": ("user", "in", "hyperedge_user_likes"),
        "rating": ("item", "in", "hyperedge_rating"),
    }


def test_names_that_cannot_be_told_apart() -> None:
    data = graphs()["plain"]
    for last, middles in (("b_c", ("a", "x")), ("c", ("a_b", "x"))):
        data[last].num_nodes = 1
        for middle in middles:
            data["item", middle, last].edge_index = torch.tensor([[0], [0]])
    with pytest.raises(InputError, match=r"would both be task 'item_a_b_c': leave one out"):
        AddTaskHypergraphs()(data)
    marked = task_hypergraphs(AddTaskHypergraphs(relations=[("item", "a", "b_c")])(data))
    assert marked["b_c"] == ("item", "a", "b_c")


def test_a_rating_of_another_relation_goes_first() -> None:
    data = graphs()["plain"]
    data["rating"].num_nodes = 2
    data["item", "has", "rating"].edge_index = torch.tensor([[0, 1], [0, 1]])
    out = AddTaskHypergraphs()(data)
    assert task_hypergraphs(out)["rating"] == ("item", "has", "rating")
    assert "hyperedge_rating" not in out.node_types


def test_some_relations() -> None:
    data = graphs()["plain"]
    out = AddTaskHypergraphs(relations=[TRUSTS, IN_CATEGORY], rating_bins=False)(data)
    assert set(task_hypergraphs(out)) == {"trusts", "category"}
    assert "hyperedge_also_viewed" not in out.node_types
    assert not task_hypergraphs(AddTaskHypergraphs(relations=[], rating_bins=False)(data))
    backward = ("user", "rev_trusts", "user")
    data[backward].edge_index = data[TRUSTS].edge_index.flip(0)
    assert "rev_trusts" not in task_hypergraphs(AddTaskHypergraphs()(data))
    out = AddTaskHypergraphs(relations=[backward])(data)
    want = AddTaskHypergraphs(relations=[TRUSTS], direction="in")(data)
    assert hyperedges(out, task_hypergraphs(out)["rev_trusts"]) == hyperedges(
        want, task_hypergraphs(want)["trusts"]
    )


def test_other_node_types_and_relations() -> None:
    data, main = HeteroData(), ("player", "plays", "game")
    data["player"].num_nodes, data["game"].num_nodes, data["category"].num_nodes = 2, 2, 2
    data[main].edge_index = torch.tensor([[0, 1], [1, 1]])
    data["game", "like", "game"].edge_index = torch.tensor([[0], [1]])
    data["category", "under", "category"].edge_index = torch.tensor([[0], [1]])
    out = AddTaskHypergraphs(main)(data)
    assert task_hypergraphs(out) == {"like": ("game", "in", "hyperedge_like")}
    assert out["game", "rev_plays", "player"].edge_index.tolist() == [[1, 1], [0, 1]]


def test_subgraphs_keep_the_marks() -> None:
    out = AddTaskHypergraphs()(graphs()["groups"])
    part = out.subgraph({"hyperedge_trusts": torch.tensor([1, 2]), "user": torch.arange(4)})
    assert task_hypergraphs(part) == task_hypergraphs(out)
    assert part["hyperedge_trusts"].head.tolist() == out["hyperedge_trusts"].head[1:3].tolist()


def test_once_only() -> None:
    data = graphs()["plain"]
    out = AddTaskHypergraphs()(data)
    with pytest.raises(
        InputError, match=r"already has task hypergraphs \(hyperedge_trusts, .*once"
    ):
        AddTaskHypergraphs()(out)
    del data[TRUSTS], data[ALSO_VIEWED], data[MAIN].rating
    with pytest.raises(InputError, match=r"already has task hypergraphs \(category\)"):
        AddTaskHypergraphs()(AddTaskHypergraphs()(data))


@pytest.mark.parametrize("transform", [KCore(1), PermuteIds(0), SplitInteractions()], ids=repr)
def test_hyperedges_are_not_left_stale(transform) -> None:
    name = type(transform).__name__
    with pytest.raises(
        InputError, match=rf"'{name}' would leave stale: apply '{name}' before 'Add"
    ):
        transform(AddTaskHypergraphs()(graphs()["plain"]))


def test_bad_input() -> None:
    data = graphs()["plain"]
    for options, message in (
        ({"direction": "up"}, r"'direction' needs to be one of .* .got 'up'."),
        ({"bin_width": 0.0}, r"'bin_width' needs to be positive in 'AddTaskHypergraphs' .got 0.0."),
        ({"bin_width": math.nan}, r"'bin_width' needs to be positive"),
        ({"bin_width": math.inf}, r"'bin_width' needs to be positive"),
    ):
        with pytest.raises(InputError, match=message):
            AddTaskHypergraphs(**options)
    with pytest.raises(InputError, match=r"needs the relation .*: pass 'edge_type'"):
        AddTaskHypergraphs(("user", "buys", "item"))(data)
    with pytest.raises(InputError, match=r"between two node types"):
        AddTaskHypergraphs(TRUSTS)(data)
    data[VIEWS].edge_index = data[MAIN].edge_index
    for relation in (VIEWS, ("user", "knows", "user"), MAIN):
        with pytest.raises(InputError, match=r"can't use .* of 'relations': it takes"):
            AddTaskHypergraphs(relations=[relation])(data)
    data[MAIN].rating[3] = math.nan
    with pytest.raises(
        InputError, match=r"'rating' of .* is nan in row 3: fill it or pass rating_"
    ):
        AddTaskHypergraphs()(data)
    AddTaskHypergraphs(rating_bins=False)(data)
    data[MAIN].rating = data[MAIN].rating[:-1]
    with pytest.raises(InputError, match=r"'rating' of .* needs to be a tensor \[40\]"):
        AddTaskHypergraphs()(data)
    data = graphs()["plain"]
    data[TRUSTS].edge_index[1, 0] = 8
    with pytest.raises(InputError, match=r"user id 8, outside 0\.\.7"):
        AddTaskHypergraphs()(data)
    data = graphs()["plain"]
    data[IN_CATEGORY].edge_index[1, 0] = 3
    with pytest.raises(InputError, match=r"category id 3, outside 0\.\.2"):
        AddTaskHypergraphs()(data)
    data = AddTaskHypergraphs()(graphs()["plain"])
    data[TRUSTS].task = "category"
    with pytest.raises(InputError, match=r"both marked as task 'category'"):
        task_hypergraphs(data)


def test_epinions(real_root) -> None:
    from pyg_mtrec.datasets import Epinions

    data = Epinions(real_root("epinions"))[0]
    train, _, test = SplitInteractions(seed=0)(data)
    train, test = AddTaskHypergraphs()(train), AddTaskHypergraphs()(test)

    trusts = np.unique(data[TRUSTS].edge_index.numpy(), axis=1)
    heads = np.unique(trusts[0])
    assert np.array_equal(train["hyperedge_trusts"].head.numpy(), heads)
    found = train["user", "in", "hyperedge_trusts"].edge_index.numpy()
    assert found.shape[1] == trusts.shape[1] + heads.size
    size = 1 + np.bincount(trusts[0])[heads]
    assert np.array_equal(np.bincount(found[1]), size)

    item, rating = train[MAIN].edge_index[1].numpy(), train[MAIN].rating.numpy()
    count = np.bincount(item, minlength=data["item"].num_nodes)
    total = np.bincount(item, rating, minlength=data["item"].num_nodes)
    rated = count.nonzero()[0]
    stars_ = np.floor(2 * total[rated] / count[rated] + 0.5) / 2
    vertex, which = train["item", "in", "hyperedge_rating"].edge_index.numpy()
    assert np.array_equal(vertex, rated)
    assert np.array_equal(train["hyperedge_rating"].value.numpy()[which], stars_)
    assert np.array_equal(train["hyperedge_rating"].value.numpy(), np.unique(stars_))
    for edge_type in [REVERSE, *task_hypergraphs(train).values()]:
        assert torch.equal(train[edge_type].edge_index, test[edge_type].edge_index)
