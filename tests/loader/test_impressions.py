import torch

from pyg_mtrec.loader import Impressions


def test_to_moves_every_tensor_and_keeps_what_is_absent():
    batch = Impressions(
        user=torch.tensor([1, 2]),
        item=torch.tensor([0, 0]),
        label=torch.zeros(2, 3),
        numeric=torch.ones(2, 1),
        index=torch.tensor([5, 6]),
        sequences={"views": torch.tensor([[-1, 3], [1, 2]])},
    )
    moved = batch.to("meta")
    assert moved.size == batch.size == 2
    tensors = [moved.user, moved.item, moved.label, moved.numeric, moved.index]
    tensors += moved.sequences.values()
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert moved.categorical is moved.time is None
    assert batch.user.device.type == batch.sequences["views"].device.type == "cpu"
    assert Impressions(batch.user, batch.item, batch.label).to("meta").sequences is None
