import pytest
import torch
from bank import graphs
from no_sync import NoSync

from pyg_mtrec.balancing import Balancer, PMTRec, Sum
from pyg_mtrec.gradients import GradientCollector, _forward_pass
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.loader import MultiTaskLoader
from pyg_mtrec.nn import MF, Adjacency, Encoder, LightGCN, NodeEmbedding
from pyg_mtrec.tasks import BPR, AlignmentUniformity, _uniformity
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import NormalizedAdjacency

MAIN = ("user", "interacts", "item")


@pytest.mark.parametrize("rule", [Sum(), PMTRec(1.06, 1e-3)], ids=["sum", "pmtrec"])
@pytest.mark.parametrize("at", ["embedding", "representation"])
@pytest.mark.parametrize("encoder", [MF(), LightGCN(2)], ids=["mf", "lightgcn"])
def test_a_step_never_waits_for_the_device(
    encoder: Encoder, at: str, rule: Balancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The shapes that a GPU gets, on the CPU.
    monkeypatch.setattr(
        _forward_pass, "unique_rows", lambda ids, static: unique_rows(ids, static=True)
    )
    monkeypatch.setattr(_uniformity, "can_wait", lambda x: False)
    data = graphs()["plain"]
    embedding = NodeEmbedding.from_data(data, 4)
    tasks = {"bpr": BPR(), "alignment": AlignmentUniformity()}
    generator = torch.Generator().manual_seed(0)
    loader = MultiTaskLoader(
        {name: task.sampler(data, generator) for name, task in tasks.items()},
        batch_size=4,
        generator=generator,
    )
    adj_dict = Adjacency.dict_from(NormalizedAdjacency()(data))
    step = MultiTaskStep(GradientCollector(embedding, encoder, tasks, at=at), rule, adj_dict)
    batches = next(iter(loader))
    step(batches, epoch=1)  # buffers are made
    with NoSync():
        losses = step(batches, epoch=2)
    assert torch.isfinite(losses).all()
    assert embedding.weight_dict["user"].grad.abs().sum() > 0


def run(data, rule: Balancer, steps: int = 12) -> list[torch.Tensor]:
    embedding = NodeEmbedding.from_data(data, 3).double()
    tasks = {"bpr": BPR(), "alignment": AlignmentUniformity()}
    generator = torch.Generator().manual_seed(0)
    loader = MultiTaskLoader(
        {name: task.sampler(data, generator) for name, task in tasks.items()},
        batch_size=5,
        generator=generator,
    )
    optimizer = torch.optim.Adam(embedding.parameters(), lr=0.05, weight_decay=1e-3)
    step = MultiTaskStep(GradientCollector(embedding, MF(), tasks), rule)
    while steps > 0:
        for batches in loader:
            step(batches, epoch=1)
            optimizer.step()
            steps -= 1
    return [table.detach() for table in embedding.parameters()]


def test_scale_sum_at_large_tau_is_the_run_of_the_sum() -> None:
    data = graphs()["plain"]
    limit = run(data, PMTRec(1.0, 1e12, scale="sum"))
    for ours, theirs in zip(limit, run(data, Sum()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-9)
    mean = run(data, PMTRec(1.0, 1e12))  # coupled weight decay is then twice as strong
    assert not torch.allclose(mean[0], limit[0], rtol=1e-3)


@pytest.mark.parametrize("name", sorted(graphs()))
def test_the_bank_of_nasty_graphs_stays_finite(name: str) -> None:
    data = graphs()[name]
    if MAIN not in data.edge_types or data[MAIN].edge_index.size(1) == 0:
        pytest.skip("nothing to train on")
    for table in run(data, PMTRec(1.2, 1e-6), steps=6):
        assert torch.isfinite(table).all()
