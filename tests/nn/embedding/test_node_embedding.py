import copy
import io

import pytest
import torch
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import NodeEmbedding


def test_first_values_are_xaviers_and_seeded() -> None:
    embedding = NodeEmbedding({"user": 300, "item": 500}, 20, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    for node_type, number in (("user", 300), ("item", 500)):
        bound = (6 / (number + 20)) ** 0.5
        draw = torch.rand(number, 20, generator=generator)
        weight = embedding.weight_dict[node_type].detach()
        torch.testing.assert_close(weight, bound * (2 * draw - 1), rtol=1e-5, atol=1e-7)
        assert weight.abs().max() <= bound
    again = NodeEmbedding({"user": 300, "item": 500}, 20)
    embedding.reset_parameters()
    assert torch.equal(again.weight_dict["item"], embedding.weight_dict["item"])


def test_global_generator_is_untouched() -> None:
    before = torch.get_rng_state()
    NodeEmbedding({"user": 3}, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_from_data_and_forward() -> None:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes, data["category"].num_nodes = 3, 5, 2
    embedding = NodeEmbedding.from_data(data, 4, seed=7)
    expected = NodeEmbedding({"user": 3, "item": 5}, 4, torch.Generator().manual_seed(7))
    assert list(embedding()) == ["user", "item"]
    for node_type, x in embedding().items():
        assert x is embedding.weight_dict[node_type]
        assert torch.equal(x, expected.weight_dict[node_type])
    assert list(NodeEmbedding.from_data(data, 4, ("category",))()) == ["category"]
    with pytest.raises(InputError, match=r"got 'brand', the graph has user, item, category"):
        NodeEmbedding.from_data(data, 4, ("brand",))


@pytest.mark.parametrize(("number", "dim"), [(0, 3), (1, 1), (7, 1)])
def test_narrow_and_empty_tables(number: int, dim: int) -> None:
    weight = NodeEmbedding({"user": number}, dim)()["user"]
    assert weight.shape == (number, dim) and bool(weight.isfinite().all())


def test_state_is_plain_tensors() -> None:
    embedding, buffer = NodeEmbedding({"user": 3, "item": 5}, 4), io.BytesIO()
    torch.save(embedding.state_dict(), buffer)
    buffer.seek(0)
    other = NodeEmbedding({"user": 3, "item": 5}, 4, torch.Generator().manual_seed(9))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for node_type in ("user", "item"):
        assert torch.equal(other()[node_type], embedding()[node_type])
    assert list(embedding.state_dict()) == ["weight_dict.user", "weight_dict.item"]
    assert torch.equal(copy.deepcopy(embedding)()["item"], embedding()["item"])
    assert embedding.double()()["user"].dtype == torch.float64


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"'dim' needs to be positive.*got 0"):
        NodeEmbedding({"user": 3}, 0)
    with pytest.raises(InputError, match=r"'num_nodes' of 'user'.*got -1"):
        NodeEmbedding({"user": -1}, 2)
    for name in ("a.b", "items", "a b"):
        with pytest.raises(InputError, match="identifier"):
            NodeEmbedding({name: 3}, 2)
