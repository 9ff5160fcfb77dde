import io

import pytest
import torch
from bottom_bank import (
    BEHAVIOURS,
    TARGETS,
    assert_same_gradients,
    loop_interests,
    loop_refined,
    make_sequences,
    rows,
    small_dtrn,
)
from head_bank import HEADS, small

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import DTRN

LENGTHS = {"views": 5, "carts": 3, "buys": 5}
SWITCHES = [{"tim": tim, "trm": trm} for tim in (True, False) for trm in (True, False)]


def _batch(size: int = 6) -> tuple[torch.Tensor, torch.Tensor, dict]:
    return rows(size, 2, 4, seed=30), rows(size, 4, seed=50), make_sequences(size, 4, LENGTHS)


def _loop(bottom: DTRN, fields: torch.Tensor, target: torch.Tensor, sequences: dict):
    interests = loop_interests(bottom.tim, target, sequences)
    each = [torch.cat([fields, own], dim=1) for own in interests]
    x = torch.stack(each)
    return (x if bottom.trm is None else loop_refined(bottom.trm, x)).flatten(2)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("options", [{}, {"granularity": "dimension", "gate": "residual"}])
def test_is_the_loop_over_targets_and_behaviours(switches: dict, options: dict) -> None:
    bottom, (fields, target, sequences) = small_dtrn(dropout=0.0, **switches, **options), _batch()
    got, want = bottom(fields, target, sequences), _loop(bottom, fields, target, sequences)
    assert got.shape == (2, 6, bottom.out_dim) == (2, 6, 20)
    leaves = [fields, target, *(events for events, _ in sequences.values())]
    assert_same_gradients(bottom, leaves, got, want)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("options", [{}, {"chunk": 1}], ids=str)
def test_own_parameters_are_those_that_one_targets_input_depends_on(
    switches: dict, options: dict
) -> None:
    bottom, found = small_dtrn(**switches, **options), {}
    out = bottom(*_batch())
    for number, target in enumerate(TARGETS):
        upstream = rows(*out.shape[1:], seed=2).detach()
        grads = torch.autograd.grad(
            out[number],
            list(bottom.parameters()),
            upstream,
            retain_graph=True,
            allow_unused=True,
        )
        for (name, _), grad in zip(bottom.named_parameters(), grads, strict=True):
            if grad is not None and bool(grad.any()):
                found.setdefault(name, []).append(target)
    assert {name: list(bottom.reached_by(name)) for name, _ in bottom.named_parameters()} == found
    own = bottom.own_parameters()
    for target in TARGETS:
        assert list(own[target]) == [name for name, by in found.items() if by == [target]]
        assert len(own[target]) == switches["tim"] + 4 * switches["trm"]
        assert all(own[target][name] is bottom.get_parameter(name) for name in own[target])


@pytest.mark.parametrize("name", HEADS)
def test_without_its_parts_a_head_reads_the_same_as_from_shared_features(name: str) -> None:
    bottom, (fields, target, sequences) = small_dtrn(tim=False, trm=False).eval(), _batch()
    targets = {"cart": "binary", "buy": "binary"}
    head = small(name, targets, bottom.out_dim).eval()
    x = bottom(fields, target, sequences)
    shared = torch.cat([fields.flatten(1), bottom.tim(target, sequences)[0].flatten(1)], dim=1)
    for one, two in zip(head(x).values(), head(shared).values(), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_takes_it_and_its_targets_part(name: str) -> None:
    bottom = small_dtrn()
    head = small(name, {"cart": "binary", "buy": "binary"}, bottom.out_dim)
    out = head(bottom(*_batch()))
    sum(value.square().sum() for value in out.values()).backward()
    assert [value.shape for value in out.values()] == [(6,), (6,)]
    for named in bottom.own_parameters().values():
        for parameter in named.values():
            assert parameter.grad is not None and bool(parameter.grad.isfinite().all())


def test_all_targets_begin_alike() -> None:
    bottom = DTRN(4, 2, TARGETS, BEHAVIOURS, gate="2sigmoid").double().eval()
    fields, target, sequences = _batch()
    x = bottom(fields, target, sequences)
    assert torch.equal(x[0], x[1]) and torch.equal(x[0, :, :8], fields.flatten(1))


def test_padding_and_missing_history() -> None:
    bottom, (fields, target, sequences) = small_dtrn().eval(), _batch()
    longer = {}
    for behaviour, (events, mask) in sequences.items():
        more = torch.full((6, 4, 4), 1e9, dtype=events.dtype)
        hidden = torch.cat([mask.new_zeros(6, 4), mask], dim=1)
        longer[behaviour] = torch.cat([more, events], dim=1), hidden
    torch.testing.assert_close(
        bottom(fields, target, longer), bottom(fields, target, sequences), rtol=1e-9, atol=1e-12
    )
    none = {name: (events, torch.zeros_like(mask)) for name, (events, mask) in sequences.items()}
    x = bottom(fields, target, none)
    assert not bool(x[..., 8:].any()) and bool(x.isfinite().all())
    x.sum().backward()
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in bottom.parameters())


def test_a_saved_state_goes_on_where_it_was() -> None:
    bottom, batch, buffer = small_dtrn(dropout=0.5), _batch(), io.BytesIO()
    bottom(*batch)
    torch.save(bottom.state_dict(), buffer)
    expected = [bottom(*batch) for _ in range(2)]
    assert not torch.equal(*expected)
    buffer.seek(0)
    other = small_dtrn(dropout=0.5, generator=torch.Generator().manual_seed(99))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert all(torch.equal(out, other(*batch)) for out in expected)
    before = bottom.eval().generator.get_state()
    assert torch.equal(bottom(*batch), bottom(*batch))
    assert torch.equal(bottom.generator.get_state(), before)


def test_weights_are_drawn_anew_from_a_generator() -> None:
    one, two = DTRN(4, 2, TARGETS, BEHAVIOURS), small_dtrn(ffn_hidden=8, hyper_hidden=64).float()
    two.reset_parameters(torch.Generator().manual_seed(0))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("freeze", [True, False])
def test_an_unseen_target_is_learned_with_little(switches: dict, freeze: bool) -> None:
    bottom, batch = small_dtrn(dropout=0.0, **switches), _batch()
    state = {name: value.clone() for name, value in bottom.state_dict().items()}
    more = bottom.add_target("like", freeze)
    assert more.targets == [*TARGETS, "like"] and bottom.targets == TARGETS
    assert more.tim.targets == more.targets and more.generator is more.tim.generator
    x = more(*batch)
    assert x.shape == (3, 6, bottom.out_dim)
    torch.testing.assert_close(x[:2], bottom(*batch), rtol=1e-12, atol=1e-13)
    want = _loop(more, *batch)
    torch.testing.assert_close(x, want, rtol=1e-9, atol=1e-11)
    own = more.own_parameters()["like"]
    wanted = {name for name, p in more.named_parameters() if p.requires_grad}
    assert wanted == (set(own) if freeze else {name for name, _ in more.named_parameters()})
    assert len(own) == switches["tim"] + 4 * switches["trm"]
    if switches["tim"]:
        mean = torch.stack(list(bottom.tim.task_embeddings)).mean(0)
        torch.testing.assert_close(own["tim.task_embeddings.2"], mean)
    if switches["trm"]:
        assert not bool(own["trm.out_weights.2"].any()) and bool(own["trm.in_weights.2"].any())
    if own:
        optimizer = torch.optim.SGD(list(own.values()), lr=0.1)
        for _ in range(2):  # the last layer begins with zeros, and stops all else at first
            optimizer.zero_grad()
            more(*batch)[2].square().sum().backward()
            optimizer.step()
    assert all(p.requires_grad and p.grad is None for p in bottom.parameters())
    for name, value in bottom.state_dict().items():
        assert torch.equal(value, state[name])
        if freeze and not name.endswith("_extra_state"):
            assert torch.equal(more.state_dict()[name], value)
    with pytest.raises(
        InputError, match=r"'name' needs to be a new target.*got 'buy', beside cart"
    ):
        bottom.add_target("buy")


def test_arguments_reach_the_parts() -> None:
    bottom = DTRN(
        8,
        3,
        {"cart": "binary", "buy": "binary"},
        BEHAVIOURS,
        pooling="last",
        norm_position="pre",
        positions="learned",
        granularity="dimension",
        gate="residual",
        reduction=5,
        hyper_hidden=7,
        num_layers=2,
        num_heads=4,
        max_len=11,
        ffn_hidden=6,
        dropout=0.2,
        chunk=1,
    )
    tim, trm = bottom.tim, bottom.trm
    assert (tim.pooling, tim.transformer.post, tim.chunk, tim.dropout) == ("last", False, 1, 0.2)
    assert tim.transformer.positions.shape == (11, 8)
    assert tim.hypernetwork.in_weight.shape == (4, 7, 16)
    assert [block.up_weight.shape for block in tim.transformer.blocks] == [(6, 8), (6, 8)]
    assert tim.transformer.blocks[0].num_heads == 4
    assert trm.out_weights[0].shape == (6 * 8, 5) and trm.gate == "residual"
    assert repr(DTRN(2, 1, ["buy"], ["views"], trm=False)) == (
        "DTRN(2, num_fields=1, targets=['buy'], behaviours=['views'], tim=True, trm=False)"
    )
    plain = DTRN(8, 3, TARGETS, BEHAVIOURS).tim.transformer
    assert plain.blocks[0].up_weight.shape == (16, 8) and plain.post
