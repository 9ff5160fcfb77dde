import pytest
import torch
from bank import MAIN, TRUSTS, graphs
from torch_geometric.data import HeteroData
from torch_geometric.typing import WITH_PYG_LIB, WITH_TORCH_SPARSE

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks import (
    BPR,
    AlignmentUniformity,
    LinkPrediction,
    RatingRegression,
    SameCategory,
)
from pyg_mtrec.tasks._as_batch import as_batch

# PyG's word on its own fallback from pyg-lib to torch-sparse.
pytestmark = pytest.mark.filterwarnings("ignore:.*without a 'pyg-lib' installation.*:UserWarning")
needs_sampling = pytest.mark.skipif(
    not (WITH_PYG_LIB or WITH_TORCH_SPARSE),
    reason="PyG's neighbor sampling needs pyg-lib or torch-sparse (pip install pyg-mtrec[sparse])",
)


def _triplets():
    data = HeteroData()
    data["user"].n_id, data["item"].n_id = torch.tensor([7, 5, 6]), torch.tensor([3, 9])
    data["user"].src_index = torch.tensor([1, 0])
    data["item"].dst_pos_index = torch.tensor([0, 1])
    data["item"].dst_neg_index = torch.tensor([[1, 1], [0, 1]])
    return data


def test_a_batch_stays_itself():
    batch = Batch(MAIN, 1)
    assert as_batch(batch, TRUSTS) is batch


def test_triplets_of_two_node_types():
    batch = as_batch(_triplets(), MAIN)
    assert batch.size == 2 and batch.edge_type == MAIN
    assert batch.src_index.tolist() == [5, 7]
    assert batch.dst_pos_index.tolist() == [3, 9]
    assert batch.dst_neg_index.tolist() == [[9, 9], [3, 9]]


def test_local_ids_are_kept_on_demand_and_without_n_id():
    local = Batch.from_hetero(_triplets(), MAIN, local=True)
    assert local.src_index.tolist() == [1, 0] and local.dst_pos_index.tolist() == [0, 1]
    data = _triplets()
    del data["user"].n_id, data["item"].n_id
    assert as_batch(data, MAIN).dst_neg_index.tolist() == [[1, 1], [0, 1]]


def test_triplets_of_one_node_type():
    data = HeteroData()
    data["user"].n_id = torch.tensor([4, 8, 2])
    data["user"].src_index = torch.tensor([0])
    data["user"].dst_pos_index = torch.tensor([1])
    data["user"].dst_neg_index = torch.tensor([2])
    batch = as_batch(data, TRUSTS)
    found = (batch.src_index, batch.dst_pos_index, batch.dst_neg_index)
    assert [x.tolist() for x in found] == [[4], [8], [2]]


def test_labelled_pairs():
    data = HeteroData()
    data["user"].n_id, data["item"].n_id = torch.tensor([7, 5]), torch.tensor([3, 9])
    data[MAIN].edge_label_index = torch.tensor([[1, 0, 1], [0, 0, 1]])
    data[MAIN].edge_label = torch.tensor([1.0, 0.0, 1.0])
    batch = as_batch(data, MAIN)
    assert batch.size == 3 and batch.src_index is None
    assert batch.edge_label_index.tolist() == [[5, 7, 5], [3, 3, 9]]
    assert batch.edge_label.tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("edge_type", [MAIN, TRUSTS])
def test_a_graph_without_labels_is_refused(edge_type):
    with pytest.raises(InputError, match="the batch needs 'src_index' on 'user'") as error:
        as_batch(graphs()["plain"], edge_type)
    assert "\n" not in str(error.value)


def test_a_loss_that_needs_triplets_says_so():
    data = HeteroData()
    data[MAIN].edge_label_index = torch.tensor([[0], [0]])
    x = {"user": torch.ones(1, 2), "item": torch.ones(1, 2)}
    for task in (BPR(), LinkPrediction(MAIN)):
        with pytest.raises(InputError, match="needs triplets"):
            task(data, Representations(x))
    for task in (RatingRegression(1, 1), LinkPrediction(MAIN, loss="bce")):
        with pytest.raises(InputError, match="needs one 'edge_label' a pair"):
            task(data, Representations(x))


def _link_loader(data, edge_type, **kwargs):
    from torch_geometric.loader import LinkNeighborLoader

    torch.manual_seed(0)  # PyG's sampling has no other seed
    return LinkNeighborLoader(
        data,
        num_neighbors={known: [2] for known in data.edge_types},
        edge_label_index=(edge_type, data[edge_type].edge_index),
        batch_size=8,
        **kwargs,
    )


def _random(data, dim=3):
    generator = torch.Generator().manual_seed(0)
    return {
        node_type: torch.randn(data[node_type].num_nodes, dim, generator=generator)
        for node_type in data.node_types
    }


@needs_sampling
@pytest.mark.parametrize("edge_type", [MAIN, TRUSTS])
@pytest.mark.parametrize("amount", [1, 2])
def test_triplets_of_a_link_neighbor_loader(edge_type, amount):
    data = graphs()["larger"]
    x_dict = _random(data)
    edges = set(zip(*data[edge_type].edge_index.tolist(), strict=True))
    task = BPR() if edge_type == MAIN else LinkPrediction(TRUSTS)
    for step, sub in enumerate(
        _link_loader(data, edge_type, neg_sampling={"mode": "triplet", "amount": amount})
    ):
        batch = as_batch(sub, edge_type)
        assert batch.dst_neg_index.numel() == amount * batch.size
        for pair in zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True):
            assert pair in edges
        loss = task(sub, Representations(x_dict))
        local = {node_type: x_dict[node_type][sub[node_type].n_id] for node_type in x_dict}
        again = task(Batch.from_hetero(sub, edge_type, local=True), Representations(local))
        assert torch.equal(loss, again)
        ids = task.node_ids(sub)
        assert torch.equal(ids["user"][: batch.size], batch.src_index)
        if step == 2:
            return


@needs_sampling
def test_labelled_pairs_of_a_link_neighbor_loader():
    data = graphs()["larger"]
    x_dict = _random(data)
    rated = {
        pair: rating
        for pair, rating in zip(
            zip(*data[MAIN].edge_index.tolist(), strict=True),
            data[MAIN].rating.tolist(),
            strict=True,
        )
    }
    sub = next(iter(_link_loader(data, MAIN, edge_label=data[MAIN].rating)))
    batch = as_batch(sub, MAIN)
    pairs = list(zip(*batch.edge_label_index.tolist(), strict=True))
    assert batch.edge_label.tolist() == [rated[pair] for pair in pairs]
    task = RatingRegression.from_data(data)
    errors = [
        float(x_dict["user"][u] @ x_dict["item"][i]) + float(task.mean) - rated[u, i]
        for u, i in pairs
    ]
    want = sum(error**2 for error in errors) / len(errors)
    assert task(sub, Representations(x_dict)).item() == pytest.approx(want, rel=1e-5)

    sub = next(iter(_link_loader(data, MAIN, neg_sampling="binary")))
    loss = LinkPrediction(MAIN, loss="bce")(sub, Representations(x_dict))
    batch = as_batch(sub, MAIN)
    u, i = batch.edge_label_index
    logit = (x_dict["user"][u] * x_dict["item"][i]).sum(1).double()
    p = 1 / (1 + (-logit).exp())
    y = batch.edge_label.double()
    want = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert set(y.tolist()) == {0.0, 1.0}
    assert loss.item() == pytest.approx(float(want), rel=1e-5)
    positive = Batch(MAIN, batch.size, u, i, weight=batch.edge_label)
    aligned = AlignmentUniformity()
    assert aligned(sub, Representations(x_dict)).item() == pytest.approx(
        aligned(positive, Representations(x_dict)).item(), rel=1e-6
    )


@needs_sampling
def test_same_category_takes_item_pairs_of_a_link_neighbor_loader():
    data = graphs()["larger"]
    task = SameCategory()
    data[task.pair_type].edge_index = torch.tensor([[0, 5, 7], [1, 2, 3]])
    sub = next(iter(_link_loader(data, task.pair_type, neg_sampling="triplet")))
    batch = as_batch(sub, task.pair_type)
    want = LinkPrediction(task.pair_type)(batch, Representations(_random(data)))
    assert torch.equal(task(sub, Representations(_random(data))), want)
    assert sorted(set(task.node_ids(sub)["item"].tolist())) == sorted(
        {*batch.src_index.tolist(), *batch.dst_pos_index.tolist(), *batch.dst_neg_index.tolist()}
    )
