import pytest
import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import Batch

MAIN = ("user", "interacts", "item")


def test_node_ids_hold_every_look_up():
    one, two = torch.tensor([1, 0]), torch.tensor([2, 2])
    batch = Batch(MAIN, 2, one, two, torch.tensor([[3, 4], [5, 6]]))
    ids = batch.node_ids()
    assert ids["user"].tolist() == [1, 0]
    assert ids["item"].tolist() == [2, 2, 3, 4, 5, 6]
    social = Batch(("user", "trusts", "user"), 2, one, two)
    assert social.node_ids()["user"].tolist() == [1, 0, 2, 2]


def test_pairs_of_triplets_and_of_labelled_pairs():
    one, two = torch.tensor([1, 0]), torch.tensor([2, 2])
    assert [x.tolist() for x in Batch(MAIN, 2, one, two).pairs()] == [[1, 0], [2, 2]]
    labelled = Batch(MAIN, 2, edge_label_index=torch.stack([one, two]))
    assert [x.tolist() for x in labelled.pairs()] == [[1, 0], [2, 2]]
    with pytest.raises(InputError, match="holds no pairs"):
        Batch(MAIN, 2).pairs()


def test_to_moves_all_tensors_and_keeps_the_rest():
    one = torch.tensor([1])
    batch = Batch(MAIN, 5, one, one, weight=torch.ones(1), edge_id=one)
    moved = batch.to("meta")
    assert moved.size == 5 and moved.edge_type == MAIN and moved.edge_label is None
    held = (moved.src_index, moved.dst_pos_index, moved.weight, moved.edge_id)
    assert all(x.device.type == "meta" for x in held)
    assert batch.src_index is one
