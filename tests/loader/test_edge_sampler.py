import pytest
import torch
from bank import ALSO_VIEWED, IN_CATEGORY, MAIN, TRUSTS, graphs, pairs

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import EdgeSampler, PartnerSampler

GRAPHS = sorted(graphs())


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("edge_type", [MAIN, TRUSTS, ALSO_VIEWED])
def test_positives_are_edges_and_negatives_are_not(name, edge_type):
    data = graphs()[name]
    if edge_type not in data.edge_types:
        return
    sampler = EdgeSampler(data, edge_type, _generator(), num_negatives=4)
    same = edge_type[0] == edge_type[2]
    edges = [(a, b) for a, b in pairs(data[edge_type].edge_index) if not (same and a == b)]
    assert sampler.num_edges == len(edges)
    index = torch.randperm(len(edges), generator=_generator(1)).repeat(8)
    batch = sampler.sample(index, size=17)
    assert batch.size == 17 and batch.edge_type == edge_type
    src, dst = batch.src_index.tolist(), batch.dst_pos_index.tolist()
    assert list(zip(src, dst, strict=True)) == [edges[e] for e in index.tolist()]
    num_dst = data[edge_type[2]].num_nodes
    for u, items, weight in zip(
        src, batch.dst_neg_index.tolist(), batch.weight.tolist(), strict=True
    ):
        seen = {b for a, b in edges if a == u} | ({u} if same else set())
        assert weight == (len(seen) < num_dst)
        assert all(0 <= item < num_dst for item in items)
        assert weight == 0 or not seen & set(items)


def test_one_negative_is_a_vector_and_none_is_left_out():
    data = graphs()["plain"]
    index = torch.tensor([0, 1])
    assert EdgeSampler(data, MAIN, _generator()).sample(index, 2).dst_neg_index.shape == (2,)
    batch = EdgeSampler(data, MAIN, _generator(), num_negatives=0).sample(index, 2)
    assert batch.dst_neg_index is None and batch.weight is None and batch.src_index is not None


def test_attributes_become_labels():
    data = graphs()["plain"]
    store = data[MAIN]
    index = torch.tensor([5, 0, 39])
    one = EdgeSampler(data, MAIN, _generator(), 0, ("rating",)).sample(index, 3)
    assert one.edge_label.tolist() == store.rating[index].tolist()
    assert torch.equal(one.edge_label_index, store.edge_index[:, index])
    assert one.src_index is None and one.node_ids()["user"].numel() == 3
    two = EdgeSampler(data, MAIN, _generator(), 1, ("rating", "time")).sample(index, 3)
    want = torch.stack([store.rating[index], store.time[index].float()], dim=1)
    assert torch.equal(two.edge_label, want) and two.dst_neg_index.shape == (3,)


def test_what_a_split_says_supervises():
    data = graphs()["plain"]
    store = data[MAIN]
    edge_index = store.edge_index
    store.edge_label_index = edge_index[:, 10:20]
    store.edge_label = torch.ones(10, 1)
    store.edge_label[3] = 0.0
    store.edge_label[4] = float("nan")
    store.edge_label_rating = torch.arange(10.0)
    sampler = EdgeSampler(data, MAIN, _generator(), 1, ("rating",))
    kept = [0, 1, 2, 5, 6, 7, 8, 9]
    batch = sampler.sample(torch.arange(sampler.num_edges), 8)
    assert torch.equal(batch.edge_label_index, edge_index[:, 10:20][:, kept])
    assert batch.edge_label.tolist() == [float(k) for k in kept]


def test_held_out_pairs_can_be_negatives():
    data = graphs()["plain"]
    edge_index = data[MAIN].edge_index
    user = int(edge_index[0, 0])
    mine = edge_index[1, edge_index[0] == user]
    data[MAIN].edge_label_index = torch.tensor([[user], [int(mine[0])]])
    sampler = EdgeSampler(data, MAIN, _generator(), num_negatives=400)
    drawn = set(sampler.sample(torch.tensor([0]), 1).dst_neg_index.view(-1).tolist())
    assert drawn == set(range(10)) - {int(mine[0])}


def test_anchored_takes_the_main_tasks_edges():
    data = graphs()["plain"]
    main = EdgeSampler(data, MAIN, _generator())
    rating = EdgeSampler(data, MAIN, _generator(1), 0, ("rating",), anchored=True)
    rating.check_main(main)
    batch = main.sample(torch.tensor([7, 3, 3]), 5)
    found = rating.sample_anchored(batch, 5)
    assert torch.equal(found.edge_label_index[0], batch.src_index)
    assert torch.equal(found.edge_label_index[1], batch.dst_pos_index)
    assert torch.equal(found.edge_label, data[MAIN].rating[[7, 3, 3]])
    batch.edge_id = None
    with pytest.raises(InputError, match="edge_id"):
        rating.sample_anchored(batch, 5)
    with pytest.raises(InputError, match="anchored=False"):
        rating.check_main(EdgeSampler(data, TRUSTS, _generator()))


def test_an_empty_relation_gives_an_empty_batch():
    data = graphs()["empty_relation"]
    batch = EdgeSampler(data, TRUSTS, _generator()).sample(torch.empty(0, dtype=torch.long), 1)
    assert batch.src_index.shape == batch.dst_neg_index.shape == batch.weight.shape == (0,)


def _no_edge_index(data):
    del data[MAIN].edge_index


@pytest.mark.parametrize(
    ("break_it", "edge_type", "kwargs", "match"),
    [
        (lambda d: None, ("user", "likes", "item"), {}, r"needs the relation .*likes.*interacts"),
        (lambda d: None, MAIN, {"attrs": ("price",)}, "edge attribute 'price'"),
        (lambda d: None, MAIN, {"num_negatives": -1}, "at least 0 in 'EdgeSampler'"),
        (lambda d: d[MAIN].edge_index.add_(100), MAIN, {}, r"user ids .* 0 .. 7 \(found 100"),
        (_no_edge_index, MAIN, {}, "needs 'edge_index'"),
        (
            lambda d: setattr(d["item"], "num_nodes", 0),
            MAIN,
            {},
            "at least one node of type 'item'",
        ),
    ],
)
def test_bad_input_gets_one_line(break_it, edge_type, kwargs, match):
    data = graphs()["plain"]
    break_it(data)
    with pytest.raises(InputError, match=match) as error:
        EdgeSampler(data, edge_type, _generator(), **kwargs)
    assert "\n" not in str(error.value)


def test_the_generator_lives_where_the_data_do():
    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(InputError, match="generator needs to live on the data's device"):
        PartnerSampler(graphs()["plain"], TRUSTS, Elsewhere())


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("edge_type", [MAIN, TRUSTS, IN_CATEGORY])
def test_reversed_edges_start_where_the_relation_ends(name, edge_type):
    data = graphs()[name]
    if edge_type not in data.edge_types:
        return
    src_type, relation, dst_type = edge_type
    same = src_type == dst_type
    edges = [(b, a) for a, b in pairs(data[edge_type].edge_index) if not (same and a == b)]
    sampler = EdgeSampler(data, edge_type, _generator(), num_negatives=3, reverse=True)
    assert sampler.edge_type == (dst_type, f"rev_{relation}", src_type)
    batch = sampler.sample(torch.arange(len(edges)), 5)
    assert batch.edge_type == sampler.edge_type and batch.size == 5
    src, dst = batch.src_index.tolist(), batch.dst_pos_index.tolist()
    assert list(zip(src, dst, strict=True)) == edges
    num = data[src_type].num_nodes
    for e, drawn, weight in zip(
        src, batch.dst_neg_index.tolist(), batch.weight.tolist(), strict=True
    ):
        seen = {v for f, v in edges if f == e} | ({e} if same else set())
        assert weight == (len(seen) < num) and all(0 <= v < num for v in drawn)
        assert weight == 0 or not seen & set(drawn)


def test_reversed_edges_keep_their_labels():
    data = graphs()["plain"]
    index = torch.tensor([5, 0, 39])
    batch = EdgeSampler(data, MAIN, _generator(), 0, ("rating",), reverse=True).sample(index, 3)
    assert torch.equal(batch.edge_label_index, data[MAIN].edge_index.flip(0)[:, index])
    assert batch.edge_label.tolist() == data[MAIN].rating[index].tolist()


@pytest.mark.parametrize("reverse", [False, True])
def test_negatives_that_avoid_nothing_are_uniform_over_all(reverse):
    data = graphs()["hub"]  # item 0 is linked to everybody, user 0 to ten items
    sampler = EdgeSampler(
        data, MAIN, _generator(), num_negatives=300, avoid_positives=False, reverse=reverse
    )
    batch = sampler.sample(torch.arange(29), 29)
    assert batch.weight.eq(1).all()
    num = 20 if reverse else 30
    counts = torch.bincount(batch.dst_neg_index.view(-1), minlength=num).double()
    mean = 29 * 300 / num
    # num - 1 degrees of freedom: four standard deviations above their mean.
    assert float(((counts - mean) ** 2 / mean).sum()) < num - 1 + 4 * (2 * (num - 1)) ** 0.5


def test_within_one_node_type_only_the_source_itself_is_avoided():
    data = graphs()["plain"]
    sampler = EdgeSampler(data, TRUSTS, _generator(), num_negatives=300, avoid_positives=False)
    batch = sampler.sample(torch.arange(7), 7)
    for user, drawn in zip(batch.src_index.tolist(), batch.dst_neg_index.tolist(), strict=True):
        assert set(drawn) == set(range(8)) - {user}


def test_a_source_that_has_seen_everything_has_negatives_if_none_are_avoided():
    data = graphs()["all_items_seen"]
    index = torch.arange(4)  # user 1
    avoiding = EdgeSampler(data, MAIN, _generator()).sample(index, 4)
    assert avoiding.weight.eq(0).all()
    free = EdgeSampler(data, MAIN, _generator(), avoid_positives=False).sample(index, 4)
    assert free.weight.eq(1).all()
