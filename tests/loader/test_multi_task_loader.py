import copy
import io

import pytest
import torch
from bank import ALSO_VIEWED, MAIN, TRUSTS, graphs, no_interactions

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader import EdgeSampler, FullBatch, MultiTaskLoader, PartnerSampler
from pyg_mtrec.loader._edge_stream import EdgeStream
from pyg_mtrec.tasks import BPR, AlignmentUniformity, LinkPrediction, RatingRegression, SameCategory


def _loader(name="plain", batch_size=7, anchored=True, seed=0, separate=False, **kwargs):
    data = graphs()[name]
    generator = torch.Generator().manual_seed(seed)
    tasks = {
        "bpr": BPR(num_negatives=2),
        "social": LinkPrediction(TRUSTS, anchored=anchored),
        "also-viewed": LinkPrediction(ALSO_VIEWED, anchored=anchored),
        "same-category": SameCategory(anchored=anchored),
        "alignment-uniformity": AlignmentUniformity(anchored=anchored),
        "rating-regression": RatingRegression.from_data(data, anchored=anchored),
    }
    samplers = {
        task_name: task.sampler(data, torch.Generator().manual_seed(k) if separate else generator)
        for k, (task_name, task) in enumerate(tasks.items())
    }
    return MultiTaskLoader(samplers, batch_size, generator, **kwargs)


def _flat(loader, epochs=1):
    fields = ("src_index", "dst_pos_index", "dst_neg_index", "weight", "edge_label", "edge_id")
    return [
        (name, field, getattr(batch, field))
        for _ in range(epochs)
        for batches in loader
        for name, batch in batches.items()
        for field in fields
        if getattr(batch, field) is not None
    ]


def _equal(first, second):
    return len(first) == len(second) and all(
        a[:2] == b[:2] and torch.equal(a[2], b[2]) for a, b in zip(first, second, strict=True)
    )


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.parametrize("name", ["plain", "empty_relation", "larger"])
def test_an_epoch_is_one_pass_over_the_main_tasks_edges(name, anchored):
    loader = _loader(name, anchored=anchored)
    num_edges = loader.samplers["bpr"].num_edges
    seen = [batches["bpr"].edge_id for batches in loader]
    assert len(seen) == len(loader) == -(-num_edges // 7)
    assert [x.numel() for x in seen[:-1]] == [7] * (len(seen) - 1)
    order = torch.cat(seen)
    assert sorted(order.tolist()) == list(range(num_edges))
    assert order.tolist() != list(range(num_edges))
    assert {batches["bpr"].size for batches in loader} == {7}


def test_without_shuffling_the_order_is_the_datas():
    loader = _loader(shuffle=False)
    assert torch.cat([b["bpr"].edge_id for b in loader]).tolist() == list(range(40))


def test_a_short_last_batch_keeps_its_nominal_size_or_is_dropped():
    loader = _loader(batch_size=16)
    last = list(loader)[-1]
    assert {batch.size for batch in last.values()} == {16}
    assert last["bpr"].src_index.numel() == last["social"].src_index.numel() == 8
    dropped = _loader(batch_size=16, drop_last=True)
    assert [b["bpr"].src_index.numel() for b in dropped] == [16, 16] and len(dropped) == 2


def test_a_batch_is_never_larger_than_the_relation():
    loader = _loader(batch_size=1000, anchored=False)
    (batches,) = list(loader)
    assert {name: batch.size for name, batch in batches.items()} == {
        "bpr": 40,
        "social": 7,
        "also-viewed": 5,
        "same-category": 9,
        "alignment-uniformity": 40,
        "rating-regression": 40,
    }


def test_anchored_batches_start_from_the_main_batch():
    for batches in _loader():
        main = batches["bpr"]
        assert set(batches["social"].src_index.tolist()) == set(main.src_index.tolist())
        for name in ("also-viewed", "same-category"):
            assert set(batches[name].src_index.tolist()) == set(main.dst_pos_index.tolist())
        assert torch.equal(batches["alignment-uniformity"].src_index, main.src_index)
        assert torch.equal(batches["rating-regression"].edge_id, main.edge_id)


def test_streams_pass_over_all_edges_equally_often():
    loader = _loader("larger", batch_size=64, anchored=False)
    num_edges = loader.samplers["social"].num_edges
    ids = torch.cat([b["social"].edge_id for _ in range(3) for b in loader])
    whole = ids[: ids.numel() // num_edges * num_edges].view(-1, num_edges)
    assert whole.size(0) > 3
    for one_pass in whole:
        assert sorted(one_pass.tolist()) == list(range(num_edges))
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.parametrize("separate", [True, False])
def test_a_loaded_state_gives_the_same_epochs_bit_for_bit(anchored, separate):
    first = _loader(anchored=anchored, separate=separate)
    _flat(first, epochs=2)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    want = _flat(first, epochs=2)
    file.seek(0)
    second = _loader(anchored=anchored, separate=separate, seed=99)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert _equal(_flat(second, epochs=2), want)


def test_a_state_before_the_first_epoch_and_after_a_broken_one():
    first, second = _loader(anchored=False), _loader(anchored=False, seed=5)
    second.load_state_dict(first.state_dict())
    assert _equal(_flat(first), _flat(second))
    next(iter(first))  # an epoch that is given up
    state = copy.deepcopy(first.state_dict())
    want = _flat(first)
    second.load_state_dict(state)
    assert _equal(_flat(second), want)


def test_equal_seeds_give_equal_epochs_and_others_do_not():
    assert _equal(_flat(_loader()), _flat(_loader()))
    assert not _equal(_flat(_loader()), _flat(_loader(seed=1)))


def test_the_default_generator_is_seeded():
    data = graphs()["plain"]
    orders = []
    for _ in range(2):
        sampler = EdgeSampler(data, MAIN, torch.Generator().manual_seed(0))
        loader = MultiTaskLoader({"bpr": sampler}, batch_size=8)
        orders.append(torch.cat([b["bpr"].edge_id for b in loader]))
    assert torch.equal(orders[0], orders[1])


def test_global_random_state_plays_no_part():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _flat(_loader())
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert _equal(first, _flat(_loader()))


def test_any_task_can_be_the_main_one():
    data = graphs()["plain"]
    generator = torch.Generator().manual_seed(0)
    for task in (SameCategory(), LinkPrediction(TRUSTS), RatingRegression.from_data(data)):
        sampler = task.sampler(data, generator)
        loader = MultiTaskLoader({"main": sampler}, 4, generator)
        ids = torch.cat([b["main"].edge_id for b in loader])
        assert sorted(ids.tolist()) == list(range(sampler.num_edges))


def test_bad_input_gets_one_line():
    data = graphs()["plain"]
    generator = torch.Generator().manual_seed(0)
    main, social = EdgeSampler(data, MAIN, generator), PartnerSampler(data, TRUSTS, generator)
    viewed = PartnerSampler(data, ALSO_VIEWED, generator)
    empty = EdgeSampler(no_interactions(), MAIN, generator)
    for samplers, size, match in (
        ({}, 4, "at least one sampler"),
        ({"bpr": main}, 0, "'batch_size' needs to be positive"),
        ({"bpr": empty}, 4, "'bpr' needs at least one edge"),
        ({"social": social, "also-viewed": viewed}, 4, "anchored=False"),
    ):
        with pytest.raises(InputError, match=match) as error:
            MultiTaskLoader(samplers, size, generator)
        assert "\n" not in str(error.value)
    state = MultiTaskLoader({"bpr": main, "social": social}, 4, generator).state_dict()
    with pytest.raises(InputError, match="state needs to be of the tasks"):
        MultiTaskLoader({"bpr": main}, 4, generator).load_state_dict(state)
    streaming = PartnerSampler(data, TRUSTS, generator, anchored=False)
    other = MultiTaskLoader({"bpr": main, "social": streaming}, 4, generator)
    with pytest.raises(InputError, match="streaming"):
        other.load_state_dict(state)


def test_repr_names_the_tasks():
    generator = torch.Generator().manual_seed(0)
    loader = MultiTaskLoader({"bpr": EdgeSampler(graphs()["plain"], MAIN, generator)}, 16)
    assert repr(loader) == "MultiTaskLoader(['bpr'], batch_size=16, steps=3)"


def test_a_stream_takes_its_place_without_moving_the_generator():
    generator = torch.Generator().manual_seed(0)
    stream = EdgeStream(10, 4, generator, shuffle=True)
    for _ in range(3):  # runs over the end, so the order is the second one
        stream.advance()
    state, now = stream.state_dict(), generator.get_state()
    want = stream.advance()
    other = EdgeStream(10, 4, generator, shuffle=True)
    generator.set_state(now)
    other.load_state_dict(state)
    assert torch.equal(generator.get_state(), now)
    assert torch.equal(other.advance(), want)


@pytest.mark.parametrize("anchored", [True, False])
def test_without_a_batch_size_an_epoch_is_one_step_over_everything(anchored):
    loader = _loader(batch_size=None, anchored=anchored)
    assert len(loader) == 1 and len(list(loader)) == 1
    assert repr(loader).endswith("batch_size=None, steps=1)")
    (batches,) = loader
    main = batches["bpr"]
    assert isinstance(main, FullBatch) and main.size == 40
    assert sorted(main.edge_id.tolist()) == list(range(40))
    for name in ("alignment-uniformity", "rating-regression"):
        assert sorted(batches[name].edge_id.tolist()) == list(range(40))
    assert isinstance(batches["alignment-uniformity"], FullBatch)
    for name, num in (("social", 7), ("also-viewed", 5), ("same-category", 9)):
        batch = batches[name]
        assert batch.size == (40 if anchored else num)
        if anchored:  # around the distinct nodes of the main batch, padded to its length
            ids = main.src_index if name == "social" else main.dst_pos_index
            assert set(batch.src_index.tolist()) == set(ids.tolist())
            assert batch.src_index.numel() == 40
        else:
            assert sorted(batch.edge_id.tolist()) == list(range(num))


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.parametrize("separate", [True, False])
def test_a_loaded_state_gives_the_same_full_steps(anchored, separate):
    options = {"batch_size": None, "anchored": anchored, "separate": separate}
    first = _loader(**options)
    one, two = _flat(first), _flat(first)
    assert not _equal(one, two)  # negatives are drawn anew
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    want = _flat(first, epochs=2)
    file.seek(0)
    second = _loader(seed=99, **options)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert _equal(_flat(second, epochs=2), want)
    assert _equal(_flat(_loader(**options)), one)


def test_empty_relations_take_part_in_full_steps():
    (batches,) = _loader("empty_relation", batch_size=None, anchored=False)
    for name in ("social", "also-viewed", "same-category"):
        assert batches[name].src_index.numel() == 0 and batches[name].size == 1


def test_states_with_and_without_a_batch_size_do_not_mix():
    small, full = (_loader(batch_size=size, anchored=False) for size in (7, None))
    with pytest.raises(InputError, match="streaming"):
        full.load_state_dict(small.state_dict())
