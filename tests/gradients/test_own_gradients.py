import pytest
import torch

from pyg_mtrec.balancing import Constant
from pyg_mtrec.gradients import GradientCollector
from pyg_mtrec.loader import Batch
from pyg_mtrec.nn import MF, LightGCN, NodeEmbedding
from pyg_mtrec.nn.encoders import Encoder
from pyg_mtrec.tasks import BPR, Task
from pyg_mtrec.training import MultiTaskStep

MAIN = ("user", "interacts", "item")


class Scaled(Task):
    """A loss with one parameter of its own, whose gradient is the mean of the users' squares."""

    def __init__(self) -> None:
        super().__init__(MAIN)
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def sampler(self, data, generator):
        raise AssertionError

    def forward(self, batch, representations):
        rows = representations.rows("user", batch.src_index)
        return self.factor * rows.square().sum() / batch.size


@pytest.mark.parametrize("encoder", [MF(), LightGCN(0)], ids=["mf", "lightgcn"])
@pytest.mark.parametrize("weight", [0.25, 1.0, 8.0])
def test_a_weighted_loss_leaves_a_tasks_own_gradient_plain(encoder: Encoder, weight: float) -> None:
    embedding = NodeEmbedding({"user": 3, "item": 4}, dim=2)
    tasks = {"bpr": BPR(), "scaled": Scaled()}
    step = MultiTaskStep(GradientCollector(embedding, encoder, tasks), Constant([1.0, weight]))
    one = torch.tensor([1])
    batch = Batch(MAIN, 1, one, one + 1, one + 2)
    step({"bpr": batch, "scaled": batch}, epoch=1)
    row = embedding.weight_dict["user"][1].detach()
    own = tasks["scaled"].factor.grad
    assert own is not None and torch.allclose(own, row.square().sum())
    # The shared row does feel the weight: d/dx of weight * 2 * x^2, beside BPR's gradient.
    item = embedding.weight_dict["item"].detach()
    bpr = torch.sigmoid(row @ (item[3] - item[2])) * (item[3] - item[2])
    grad = embedding.weight_dict["user"].grad
    assert grad is not None and torch.allclose(grad[1], bpr + weight * 4 * row, atol=1e-6)
