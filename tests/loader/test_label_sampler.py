import pytest
import torch
from bank import IN_CATEGORY, IN_GROUP, MAIN, TRUSTS, graphs, pairs

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import FullBatch, _label_sampler
from pyg_mtrec.loader._label_sampler import LabelSampler


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(graphs()))
@pytest.mark.parametrize("edge_type", [IN_CATEGORY, IN_GROUP, MAIN])
def test_what_is_known_is_exactly_the_edges(name, edge_type):
    data = graphs()[name]
    if edge_type not in data.edge_types:
        return
    edges = pairs(data[edge_type].edge_index)
    generator = _generator()
    sampler = LabelSampler(data, edge_type, generator)
    assert sampler.num_edges == len(edges)  # repetitions are edges too
    batches = [sampler.full(), sampler.sample(torch.arange(len(edges)).flip(0), 7)]
    assert isinstance(batches[0], FullBatch) and batches[1].size == 7
    shape = (data[edge_type[0]].num_nodes, data[edge_type[2]].num_nodes)
    for batch in batches:
        assert batch.src_known.shape == shape and batch.src_known.dtype == torch.bool
        assert pairs(batch.src_known.nonzero().t()) == sorted(set(edges))
        found = zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True)
        assert list(found) == [edges[e] for e in batch.edge_id.tolist()]
        assert batch.dst_neg_index is None and batch.weight is None
    assert torch.equal(generator.get_state(), _generator().get_state())


def test_within_one_node_type_a_node_does_not_know_itself():
    data = graphs()["self_loops"]
    known = LabelSampler(data, TRUSTS, _generator()).full().src_known
    assert pairs(known.nonzero().t()) == [(1, 2), (2, 1)]


def test_held_out_pairs_are_not_known():
    data = graphs()["plain"]
    data[IN_CATEGORY].edge_label_index = torch.tensor([[0, 3], [0, 1]])
    known = LabelSampler(data, IN_CATEGORY, _generator()).full().src_known
    assert pairs(known.nonzero().t()) == [(0, 0), (3, 1)]


def test_bad_input_gets_one_line(monkeypatch):
    data = graphs()["plain"]
    with pytest.raises(InputError, match="needs the relation"):
        LabelSampler(data, ("item", "in", "brand"), _generator())
    monkeypatch.setattr(_label_sampler, "MOST_PAIRS", 29)
    with pytest.raises(InputError, match=r"10 x 3 possible pairs.*negatives='vertices'") as error:
        LabelSampler(data, IN_CATEGORY, _generator())
    assert "\n" not in str(error.value)
    monkeypatch.setattr(_label_sampler, "MOST_PAIRS", 30)
    LabelSampler(data, IN_CATEGORY, _generator())
