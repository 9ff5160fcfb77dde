import pytest
import torch
from bank import ALSO_VIEWED, IN_CATEGORY, MAIN, TRUSTS, graphs
from no_sync import NoSync

from pyg_mtrec.loader import EdgeSampler, MultiTaskLoader, NegativeSampler, PartnerSampler
from pyg_mtrec.tasks import (
    BPR,
    AlignmentUniformity,
    LinkPrediction,
    RatingRegression,
    SameCategory,
)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool((x > 0).all()),
        lambda x: x.nonzero(),
        lambda x: torch.unique(x),
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.tolist(),
    ],
)
def test_the_mode_finds_what_it_forbids(call):
    with pytest.raises(AssertionError), NoSync():
        call(torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("anchored", [True, False])
def test_a_step_of_sampling_never_waits(anchored):
    data = graphs()["plain"]
    generator = torch.Generator().manual_seed(0)
    samplers = {
        task.__class__.__name__ + str(position): task.sampler(data, generator)
        for position, task in enumerate(
            [
                BPR(num_negatives=3),
                LinkPrediction(TRUSTS, anchored=anchored),
                LinkPrediction(ALSO_VIEWED, anchored=anchored, num_negatives=2),
                SameCategory(anchored=anchored),
                AlignmentUniformity(anchored=anchored),
                RatingRegression.from_data(data, anchored=anchored),
            ]
        )
    }
    loader = MultiTaskLoader(samplers, batch_size=7, generator=generator)
    with NoSync():
        shapes = [
            {name: batch.node_ids().keys() for name, batch in batches.items()} for batches in loader
        ]
    assert len(shapes) == 6


def test_samplers_alone_never_wait():
    data = graphs()["plain"]
    generator = torch.Generator().manual_seed(0)
    edges, partners = EdgeSampler(data, MAIN, generator), PartnerSampler(data, TRUSTS, generator)
    groups = SameCategory().sampler(data, generator)
    negatives = NegativeSampler(data[MAIN].edge_index, 8, 10)
    index = torch.tensor([0, 3, 1])
    with NoSync():
        main = edges.sample(index, 3)
        for sampler in (partners, groups):
            sampler.sample(index, 3)
            sampler.sample_anchored(main, 3)
        negatives.sample(index, generator, num=2)


def test_empty_relations_never_wait():
    data = graphs()["empty_relation"]
    generator = torch.Generator().manual_seed(0)
    main = EdgeSampler(data, MAIN, generator).sample(torch.tensor([0, 1]), 2)
    samplers = [
        PartnerSampler(data, TRUSTS, generator),
        SameCategory(IN_CATEGORY).sampler(data, generator),
    ]
    with NoSync():
        batches = [sampler.sample_anchored(main, 2) for sampler in samplers]
    assert all(batch.weight.eq(0).all() for batch in batches)
