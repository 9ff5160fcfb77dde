import torch

from pyg_mtrec.nn import MF, NodeEmbedding


def test_mf_returns_the_tables() -> None:
    x_dict = NodeEmbedding({"user": 3, "item": 5}, 4)()
    encoder = MF()
    for adj_dict in (None, {}, {("user", "interacts", "item"): torch.tensor([[0], [1]])}):
        out = encoder(x_dict, adj_dict)
        assert out.x_dict == x_dict and out.views == {}
    assert encoder.local and encoder.out_dim(4) == 4
    assert encoder.state_dict() == {} and repr(encoder) == "MF()"
