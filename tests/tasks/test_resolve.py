import pytest
import torch
from bank import IN_CATEGORY, MAIN, TRUSTS, graphs
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.nn import Representations
from pyg_mtrec.tasks import (
    BPR,
    Alignment,
    AlignmentUniformity,
    HyperedgePrediction,
    LinkPrediction,
    RatingRegression,
    SameCategory,
    SampledSoftmax,
    _resolve,
)
from pyg_mtrec.tasks._resolve import task_from_name, task_names
from pyg_mtrec.transforms import AddTaskHypergraphs


def test_what_each_graph_offers():
    offered = {name: task_names(data) for name, data in graphs().items()}
    main = ["bpr", "alignment", "alignment-uniformity", "sampled-softmax"]
    rated = [*main, "rating-regression"]
    assert offered["plain"] == [*rated, "social", "trusts", "also-viewed", "same-category"]
    assert offered["one_relation"] == main
    assert offered["user_without_items"] == [*rated, "social", "trusts"]
    assert offered["behaviours"] == rated  # views, carts and the reverse relation offer none
    assert task_names(HeteroData()) == []


@pytest.mark.parametrize("hypergraphs", [False, True])
@pytest.mark.parametrize("batch_size", [5, None])
@pytest.mark.parametrize("name", sorted(graphs()))
def test_every_offered_task_can_sample_and_lose(name, batch_size, hypergraphs):
    data = graphs()[name]
    if hypergraphs:
        data = AddTaskHypergraphs()(data)
    generator = torch.Generator().manual_seed(0)
    tasks = {task_name: task_from_name(task_name, data) for task_name in task_names(data)}
    samplers = {task_name: task.sampler(data, generator) for task_name, task in tasks.items()}
    x = Representations(
        {
            node_type: torch.randn(data[node_type].num_nodes, 3, generator=generator)
            for node_type in data.node_types
        }
    )
    for batches in MultiTaskLoader(samplers, batch_size, generator):
        for task_name, task in tasks.items():
            assert bool(task(batches[task_name], x).isfinite())


def test_names_become_tasks():
    data = graphs()["plain"]
    assert type(task_from_name("bpr", data)) is BPR
    assert type(task_from_name("alignment", data)) is Alignment
    assert type(task_from_name("alignment-uniformity", data)) is AlignmentUniformity
    assert type(task_from_name("sampled-softmax", data)) is SampledSoftmax
    assert type(task_from_name("rating-regression", data)) is RatingRegression
    for name, edge_type in (
        ("social", TRUSTS),
        ("trusts", TRUSTS),
        ("also-viewed", ("item", "also_viewed", "item")),
    ):
        task = task_from_name(name, data)
        assert type(task) is LinkPrediction and task.edge_type == edge_type
    task = task_from_name("same-category", data)
    assert type(task) is SameCategory and task.edge_type == IN_CATEGORY


def test_other_groups_and_relations_have_names_of_their_own():
    data = graphs()["one_relation"]
    data["brand"].num_nodes = 2
    one = torch.tensor([[0, 1], [0, 1]])
    for edge_type in (
        ("item", "in", "brand"),
        ("user", "rev_knows", "user"),
        ("user", "works_with", "user"),
        ("user", "social", "user"),
    ):
        data[edge_type].edge_index = one
    assert task_names(data)[4:] == ["same-brand", "social", "works-with"]
    assert task_from_name("social", data).edge_type == ("user", "works_with", "user")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("socail", "social"),
        ("BPR", "bpr"),
        ("same_category", "same-category"),
        ("also_viewed", "also-viewed"),
        ("rating", "rating-regression"),
        ("zzz", None),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, meant):
    data = graphs()["plain"]
    with pytest.raises(InputError) as error:
        task_from_name(name, data)
    text = str(error.value)
    assert text.startswith(f"unknown task {name!r}: did you mean ") and "\n" not in text
    assert meant is None or f"did you mean {meant!r}" in text
    assert ", ".join(task_names(data)) in text


@pytest.mark.parametrize(
    ("graph", "name", "need"),
    [
        ("one_relation", "same-category", "('item', 'in', 'category')"),
        ("one_relation", "social", "('user', ..., 'user')"),
        ("one_relation", "rating-regression", "'rating'"),
    ],
)
def test_a_task_that_the_data_cannot_supervise(graph, name, need):
    data = graphs()[graph]
    with pytest.raises(InputError) as error:
        task_from_name(name, data)
    text = str(error.value)
    assert text.startswith(f"task {name!r} needs") and need in text and str(MAIN) in text


@pytest.mark.parametrize("name", ["bpr", "alignment", "sampled-softmax"])
def test_no_relation_at_all(name):
    with pytest.raises(InputError, match=rf"task '{name}' needs .* \(the data has no relation\)"):
        task_from_name(name, HeteroData())


def test_options_reach_the_task():
    data = graphs()["plain"]
    task = task_from_name("sampled-softmax", data, negatives="batch", log_q=True, temperature=0.2)
    assert (task.negatives, task.log_q, task.temperature) == ("batch", True, 0.2)
    with pytest.raises(
        InputError, match="takes no option 'temprature': did you mean 'temperature'"
    ):
        task_from_name("sampled-softmax", data, temprature=0.2)


def test_marked_hypergraphs_offer_their_prediction():
    data = AddTaskHypergraphs()(graphs()["plain"])
    found = {name: task_from_name(name, data) for name in task_names(data) if "hyperedge" in name}
    assert {name: task.edge_type for name, task in found.items()} == {
        "hyperedge-trusts": ("user", "in", "hyperedge_trusts"),
        "hyperedge-also-viewed": ("item", "in", "hyperedge_also_viewed"),
        "hyperedge-category": IN_CATEGORY,
        "hyperedge-rating": ("item", "in", "hyperedge_rating"),
    }
    for task in found.values():
        assert type(task) is HyperedgePrediction and task.negatives == "labels"
        assert task.view == " ".join(task.edge_type) and task.exclude
    # What was offered before still is, and stars are no categories.
    others = [name for name in task_names(data) if "hyperedge" not in name]
    assert others == task_names(graphs()["plain"])


def test_hypergraphs_without_incidences_or_marks_offer_nothing():
    data = AddTaskHypergraphs()(graphs()["empty_relation"])
    assert [name for name in task_names(data) if "hyperedge" in name] == ["hyperedge-rating"]
    assert not [name for name in task_names(graphs()["groups"]) if "hyperedge" in name]


def test_of_many_hyperedges_vertices_are_drawn(monkeypatch):
    data = AddTaskHypergraphs()(graphs()["groups"])  # 7 users in 4 groups
    monkeypatch.setattr(_resolve, "_FEW_LABELS", 4)
    assert task_from_name("hyperedge-group", data).negatives == "labels"
    assert task_from_name("hyperedge-group", data, negatives="vertices").negatives == "vertices"
    monkeypatch.setattr(_resolve, "MOST_PAIRS", 27)
    assert task_from_name("hyperedge-group", data).negatives == "vertices"
    monkeypatch.setattr(_resolve, "MOST_PAIRS", 28)
    monkeypatch.setattr(_resolve, "_FEW_LABELS", 3)
    assert task_from_name("hyperedge-group", data).negatives == "vertices"


def test_options_of_the_pretext_tasks():
    data = AddTaskHypergraphs()(graphs()["plain"])
    task = task_from_name("hyperedge-category", data, exclude=False, l2=0.1, reduction="sum")
    assert (task.exclude, task.l2, task.reduction) == (False, 0.1, "sum")
    assert task_from_name("alignment", data, l2=0.5).l2 == 0.5
    with pytest.raises(InputError, match="takes no option 'exlude': did you mean 'exclude'"):
        task_from_name("hyperedge-category", data, exlude=False)
    with pytest.raises(
        InputError, match="unknown task 'hyperedge-brand': did you mean 'hyperedge-"
    ):
        task_from_name("hyperedge-brand", data)
