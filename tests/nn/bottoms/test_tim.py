import io
from functools import partial

import pytest
import torch
from bottom_bank import (
    BEHAVIOURS,
    TARGETS,
    assert_same_gradients,
    loop_interests,
    make_sequences,
    one_interest,
    rows,
    shaken,
    small_tim,
)
from hypothesis import given
from hypothesis import strategies as st
from no_sync import NoSync

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import TIM
from pyg_mtrec.nn.bottoms._sequences import by_length

LENGTHS = {"views": 5, "carts": 3, "buys": 5}
KINDS = [
    {},
    {"pooling": "mean"},
    {"pooling": "last"},
    {"norm_position": "pre"},
    {"positions": "learned"},
    {"num_layers": 2},
    {"num_layers": 3, "pooling": "last", "positions": "learned"},
    {"num_layers": 2, "pooling": "last", "norm_position": "pre"},
    {"num_layers": 2, "pooling": "mean", "norm_position": "pre", "num_heads": 4},
    {"conditional": False},
    {"conditional": False, "num_layers": 2, "norm_position": "pre", "num_heads": 1},
]


def _leaves(target: torch.Tensor, sequences: dict) -> list[torch.Tensor]:
    return [target, *(events for events, _ in sequences.values())]


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_is_the_double_loop_over_targets_and_behaviours(kwargs: dict) -> None:
    tim, target = small_tim(dropout=0.0, **kwargs), rows(6, 4, seed=50)
    sequences = make_sequences(6, 4, LENGTHS)
    got, want = tim(target, sequences), loop_interests(tim, target, sequences)
    assert got.shape == (2, 6, 3, 4)
    assert_same_gradients(tim, _leaves(target, sequences), got, want)
    if kwargs.get("conditional", True):
        assert not torch.allclose(got[0], got[1], atol=1e-3)
        assert not torch.allclose(got[:, 1, 0], got[:, 1, 2], atol=1e-3)
    else:
        assert torch.equal(got[0], got[1])


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_folded_into_the_batch_is_pair_by_pair(kwargs: dict) -> None:
    tim, target = small_tim(dropout=0.0, **kwargs), rows(6, 4, seed=50)
    sequences = make_sequences(6, 4, dict.fromkeys(BEHAVIOURS, 5))
    ((group, x, mask),) = by_length(BEHAVIOURS, sequences)
    assert group == [0, 1, 2]
    visible = mask | ~mask.any(-1, keepdim=True)
    query = tim.transformer.query(target)
    x = tim.transformer.begin(x, visible)
    folded, weights = tim.transformer(x, mask, visible, query, tim._norms(), None)
    folded = folded.transpose(1, 2).expand(2, 6, 3, 4)  # [K, B, M, d]
    assert_same_gradients(tim, _leaves(target, sequences), folded, tim(target, sequences))
    if tim.pooling != "last":
        for number, found in enumerate(tim.attention_weights(target, sequences).values()):
            torch.testing.assert_close(weights[:, number].expand(2, 6, 5), found)


@pytest.mark.parametrize("kwargs", [KINDS[0], KINDS[6], KINDS[8], KINDS[9]], ids=str)
@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_few_targets_at_a_time_is_all_at_once(chunk: int, kwargs: dict) -> None:
    targets, target = ["a", "b", "c"], rows(6, 4, seed=50)
    whole = small_tim(targets=targets, dropout=0.0, **kwargs)
    parts = small_tim(targets=targets, dropout=0.0, chunk=chunk, **kwargs)
    sequences = make_sequences(6, 4, LENGTHS)
    want = whole(target, sequences)
    parts.load_state_dict(whole.state_dict())
    got = parts(target, sequences)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    upstream = rows(*got.shape, seed=3).detach()
    leaves = _leaves(target, sequences)
    for a, b in zip(
        torch.autograd.grad(got, [*leaves, *parts.parameters()], upstream, allow_unused=True),
        torch.autograd.grad(want, [*leaves, *whole.parameters()], upstream, allow_unused=True),
        strict=True,
    ):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_what_is_made_again_has_the_same_dropout_masks() -> None:
    tim, sequences = small_tim(dropout=0.4, chunk=1), make_sequences(30, 4, LENGTHS)
    target, direction = rows(30, 4, seed=50), rows(30, 4, seed=51).detach()
    state = tim.generator.get_state()

    def value(step: float) -> torch.Tensor:
        tim.generator.set_state(state)
        return tim(target + step * direction, sequences).square().sum()

    (grad,) = torch.autograd.grad(value(0.0), target)
    slope = float((value(1e-6) - value(-1e-6)).detach()) / 2e-6
    assert float((grad * direction).sum()) == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("kwargs", KINDS[:9], ids=str)
def test_targets_begin_with_the_interest_of_one_plain_transformer(kwargs: dict) -> None:
    make = partial(TIM, 4, TARGETS, BEHAVIOURS, ffn_hidden=5, max_len=9, dropout=0.0, **kwargs)
    tim, plain = make().double(), make(conditional=False).double()
    state = {name: value for name, value in tim.state_dict().items() if "transformer" in name}
    plain.load_state_dict({**plain.state_dict(), **state})
    target, sequences = rows(6, 4, seed=50), make_sequences(6, 4, LENGTHS)
    for norms in (tim._norms(), plain._norms()):
        assert not bool(norms.any())
    interests = tim(target, sequences)
    assert torch.equal(interests[0], interests[1])
    torch.testing.assert_close(interests, plain(target, sequences), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("position", ["post", "pre"])
def test_is_the_transformer_of_torch(position: str) -> None:
    tim = TIM(4, ["buy"], ["views"], pooling="mean", norm_position=position, dropout=0.0).double()
    theirs = torch.nn.TransformerEncoderLayer(
        4, 2, 8, 0.0, batch_first=True, norm_first=position == "pre", dtype=torch.float64
    )
    shaken(tim.transformer)
    (block,) = tim.transformer.blocks
    theirs.load_state_dict(
        {
            **theirs.state_dict(),
            "self_attn.in_proj_weight": block.qkv_weight.flatten(0, 1),
            "self_attn.in_proj_bias": block.qkv_bias.flatten(),
            "self_attn.out_proj.weight": block.out_weight,
            "self_attn.out_proj.bias": block.out_bias,
            "linear1.weight": block.up_weight,
            "linear1.bias": block.up_bias,
            "linear2.weight": block.down_weight,
            "linear2.bias": block.down_bias,
        }
    )
    events, mask = make_sequences(6, 4, {"views": 5})["views"]
    got = tim(rows(6, 4), {"views": (events, mask)})[0, 1:, 0]
    out = theirs(events[1:], src_key_padding_mask=~mask[1:])
    counts = mask[1:].sum(1, keepdim=True)
    want = (out * mask[1:].unsqueeze(-1)).sum(1) / counts.clamp(min=1)
    # A sequence without events is NaN there, and zero here.
    some = counts[:, 0] > 0
    torch.testing.assert_close(got[some], want[some])


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
@pytest.mark.parametrize("filling", [1e30, float("inf"), float("nan")])
def test_padding_has_no_influence(filling: float, kwargs: dict) -> None:
    tim, target = small_tim(dropout=0.0, **kwargs), rows(6, 4, seed=50)
    sequences = make_sequences(6, 4, LENGTHS)
    padded = {}
    for number, (behaviour, (events, mask)) in enumerate(sequences.items()):
        more = torch.full((6, 1 + number, 4), filling, dtype=events.dtype)
        longer = torch.cat([more, events.detach().masked_fill(~mask[..., None], filling)], dim=1)
        hidden = torch.cat([mask.new_zeros(6, 1 + number), mask], dim=1)
        padded[behaviour] = longer.requires_grad_(), hidden
    got, want = tim(target, padded), tim(target, sequences)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)
    upstream = rows(*got.shape, seed=3).detach()
    parameters = [target, *tim.parameters()]
    ends = [list(events for events, _ in both.values()) for both in (padded, sequences)]
    one = torch.autograd.grad(got, [*ends[0], *parameters], upstream, allow_unused=True)
    two = torch.autograd.grad(want, [*ends[1], *parameters], upstream, allow_unused=True)
    for number, (_, mask) in enumerate(sequences.values()):
        a, b = one[number], two[number]
        assert not bool(a[:, : 1 + number].any()) and not bool(b[~mask].any())
        torch.testing.assert_close(a[:, 1 + number :], b, rtol=1e-8, atol=1e-11)
    for a, b in zip(one[3:], two[3:], strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_no_event_at_all_is_zero_with_finite_gradients(kwargs: dict) -> None:
    tim, target = small_tim(**kwargs), rows(3, 4, seed=50)
    sequences = {
        behaviour: (events, torch.zeros_like(mask))
        for behaviour, (events, mask) in make_sequences(3, 4, LENGTHS).items()
    }
    out = tim(target, sequences)
    (out * rows(*out.shape, seed=9).detach()).sum().backward()
    assert not bool(out.any())
    for leaf in [*_leaves(target, sequences), *tim.parameters()]:
        assert leaf.grad is None or not bool(leaf.grad.any())


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_a_targets_loss_reaches_no_other_targets_embedding(kwargs: dict) -> None:
    tim, target = small_tim(**kwargs), rows(6, 4, seed=50)
    out, found = tim(target, make_sequences(6, 4, LENGTHS)), {}
    for number, name in enumerate(TARGETS):
        loss = (out[number] * rows(*out.shape[1:], seed=2).detach()).sum()
        grads = torch.autograd.grad(
            loss, list(tim.parameters()), retain_graph=True, allow_unused=True
        )
        for (key, _), grad in zip(tim.named_parameters(), grads, strict=True):
            if grad is not None and bool(grad.any()):
                found.setdefault(key, []).append(name)
    assert {key: list(tim.reached_by(key)) for key, _ in tim.named_parameters()} == found
    own = {name: list(named) for name, named in tim.own_parameters().items()}
    if tim.conditional:
        assert own == {"cart": ["task_embeddings.0"], "buy": ["task_embeddings.1"]}
    else:
        assert own == {"cart": [], "buy": []}


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_attention_weights_are_those_of_the_loop(kwargs: dict) -> None:
    tim, target = small_tim(dropout=0.5, **kwargs), rows(6, 4, seed=50)
    sequences = make_sequences(6, 4, LENGTHS)
    state = tim.generator.get_state()
    found = tim.attention_weights(target, sequences)
    assert torch.equal(tim.generator.get_state(), state) and list(found) == BEHAVIOURS
    for number, behaviour in enumerate(BEHAVIOURS):
        events, mask = sequences[behaviour]
        assert found[behaviour].shape == (2, *mask.shape)
        for task in range(2):
            for row in range(6):
                _, want = one_interest(tim, events[row][mask[row]], target[row], task, number)
                got = found[behaviour][task, row]
                torch.testing.assert_close(got[mask[row]], want)
                assert not bool(got[~mask[row]].any())


def test_parameters_do_not_grow_with_targets_and_behaviours_but_for_their_embeddings() -> None:
    def count(targets: int, behaviours: int) -> tuple[int, int]:
        tim = TIM(8, [f"t{i}" for i in range(targets)], [f"b{i}" for i in range(behaviours)])
        sizes = {name: p.numel() for name, p in tim.named_parameters()}
        embeddings = sum(size for name, size in sizes.items() if "embedding" in name)
        return embeddings, sum(sizes.values()) - embeddings

    assert count(1, 1)[1] == count(7, 5)[1] > 0
    assert [count(*pair)[0] for pair in ((1, 1), (7, 5))] == [2 * 8, 12 * 8]


@given(
    size=st.integers(0, 3),
    heads=st.integers(1, 2),
    width=st.integers(1, 2),
    targets=st.integers(1, 3),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    layers=st.integers(1, 2),
    pooling=st.sampled_from(["target", "mean", "last"]),
    position=st.sampled_from(["post", "pre"]),
    scale=st.sampled_from([1e-10, 1.0, 1e10]),
    seed=st.integers(0, 5),
)
def test_nasty_sizes(
    size: int,
    heads: int,
    width: int,
    targets: int,
    lengths: list[int],
    layers: int,
    pooling: str,
    position: str,
    scale: float,
    seed: int,
) -> None:
    dim, names = heads * width, [f"b{number}" for number in range(len(lengths))]
    tim = small_tim(
        dim,
        [f"t{number}" for number in range(targets)],
        behaviours=names,
        num_heads=heads,
        num_layers=layers,
        pooling=pooling,
        norm_position=position,
        dropout=0.0,
    )
    sequences = make_sequences(size, dim, dict(zip(names, lengths, strict=True)), seed, scale)
    draws = torch.Generator().manual_seed(seed)
    for behaviour, (events, mask) in sequences.items():  # any mask, not only padding at the left
        sequences[behaviour] = events, torch.rand(mask.shape, generator=draws) < 0.6
    target = rows(size, dim, seed=50)
    got = tim(target, sequences)
    assert got.shape == (targets, size, len(names), dim) and bool(got.isfinite().all())
    grads = torch.autograd.grad(
        got.sum(), [*_leaves(target, sequences), *tim.parameters()], allow_unused=True
    )
    assert all(grad is None or bool(grad.isfinite().all()) for grad in grads)
    if scale < 1e10:  # the loop's exponentials overflow
        torch.testing.assert_close(
            got, loop_interests(tim, target, sequences), rtol=1e-7, atol=1e-9
        )


def test_training_draws_from_the_generator_alone_and_evaluation_nothing() -> None:
    target, sequences = rows(6, 4, seed=50), make_sequences(6, 4, LENGTHS)
    one, two = small_tim(dropout=0.5), small_tim(dropout=0.5)
    state = torch.get_rng_state()
    first, second = one(target, sequences), one(target, sequences)
    assert torch.equal(first, two(target, sequences)) and not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)
    before = one.eval().generator.get_state()
    assert torch.equal(one(target, sequences), one(target, sequences))
    assert torch.equal(one.generator.get_state(), before)


def test_dropout_keeps_the_mean_and_differs_between_pairs() -> None:
    tim = small_tim(dropout=0.3, norm_position="pre", pooling="mean", ffn_hidden=400)
    with torch.no_grad():
        tim.task_embeddings[1].copy_(tim.task_embeddings[0])
        tim.behaviour_embedding.copy_(tim.behaviour_embedding[:1].expand(3, 4))
        same = rows(1, 1, 4).detach().expand(4000, 1, 4)
        sequences = dict.fromkeys(BEHAVIOURS, (same, torch.ones(4000, 1, dtype=torch.bool)))
        target = rows(4000, 4, seed=50).detach()
        noisy, quiet = tim(target, sequences), tim.eval()(target, sequences)
    pairs = noisy.permute(0, 2, 1, 3).flatten(0, 1)
    for number, one in enumerate(pairs):
        error = one.std(0) / 4000**0.5
        assert bool(((one.mean(0) - quiet[0, 0, 0]).abs() < 5 * error).all())
        assert not any(torch.equal(one, other) for other in pairs[:number])


def test_a_saved_state_goes_on_where_it_was() -> None:
    target, sequences = rows(6, 4, seed=50), make_sequences(6, 4, LENGTHS)
    tim, buffer = small_tim(dropout=0.5), io.BytesIO()
    tim(target, sequences)
    torch.save(tim.state_dict(), buffer)
    expected = [tim(target, sequences) for _ in range(2)]
    buffer.seek(0)
    other = small_tim(dropout=0.5, generator=torch.Generator().manual_seed(99))
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert all(torch.equal(out, other(target, sequences)) for out in expected)


def test_first_weights_come_from_the_generator() -> None:
    make = partial(TIM, 16, TARGETS, BEHAVIOURS, positions="learned", num_layers=2)
    one, two = make(), make()
    other = make(generator=torch.Generator().manual_seed(1))
    for (key, a), b, c in zip(
        one.named_parameters(), two.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b)
        if "bias" in key or key == "hypernetwork.out_weight":
            assert not bool(a.any())
        else:
            assert not torch.equal(a, c)
            bound = (6 / sum(a.shape[-2:])) ** 0.5  # Xavier's, of every single matrix
            assert 0.5 * bound < float(a.detach().abs().max()) <= bound


def test_half_precision_by_autocast() -> None:
    for kwargs in KINDS:
        tim, sequences = small_tim(**kwargs).float(), make_sequences(6, 4, LENGTHS)
        target = rows(6, 4, seed=50).float().detach()
        sequences = {name: (x.float().detach(), mask) for name, (x, mask) in sequences.items()}
        with torch.autocast("cpu", torch.bfloat16):
            tim(target, sequences).float().square().sum().backward()
            low = tim.eval()(target, sequences)
        torch.testing.assert_close(low.float(), tim(target, sequences), rtol=0.15, atol=0.15)


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_a_step_does_not_wait_for_the_device(kwargs: dict) -> None:
    tim, target = small_tim(dropout=0.0, **kwargs), rows(6, 4, seed=50)
    sequences = make_sequences(6, 4, LENGTHS)
    with NoSync():
        tim(target, sequences).sum().backward()


def test_bad_arguments_get_one_line() -> None:
    for kwargs, message in (
        ({"dim": 0}, "'dim' needs to be positive.*got 0"),
        ({"targets": []}, "'targets' needs to hold at least one name.*got none"),
        ({"behaviours": ["a", "a"]}, "'behaviours' needs to hold .*each once.*got a, a"),
        ({"num_heads": 3}, "'num_heads' needs to divide 'dim', which is 4.*got 3"),
        ({"num_heads": 0}, "'num_heads' needs to be positive"),
        ({"pooling": "max"}, "'pooling' needs to be one of 'target', 'mean', 'last'.*'max'"),
        ({"norm_position": "none"}, "'norm_position' needs to be one of 'post', 'pre'"),
        ({"positions": "sine"}, "'positions' needs to be None or 'learned'.*'sine'"),
        ({"max_len": 0}, "'max_len' needs to be positive"),
        ({"num_layers": 0}, "'num_layers' needs to be positive"),
        ({"ffn_hidden": 0}, "'ffn_hidden' needs to be positive"),
        ({"hyper_hidden": 0}, "'hyper_hidden' needs to be positive"),
        ({"chunk": 0}, "'chunk' needs to be positive"),
        ({"dropout": 1.0}, r"'dropout' needs to lie in \[0, 1\)"),
    ):
        with pytest.raises(InputError, match=message) as error:
            TIM(**{"dim": 4, "targets": TARGETS, "behaviours": BEHAVIOURS, **kwargs})
        assert "'TIM'" in str(error.value) and "\n" not in str(error.value)


def test_bad_input_gets_one_line() -> None:
    tim, sequences = small_tim(positions="learned", max_len=4), make_sequences(6, 4, LENGTHS)
    target, (events, mask) = rows(6, 4), sequences["carts"]
    for bad, message in (
        ({}, "'max_len' needs to be 5 or more.*'views' is of that length.*got 4"),
        ({"carts": (events[:2], mask)}, r"rows of 'carts' .*\[6, L, 4\].*got \[2, 3, 4\]"),
        ({"carts": (events[:, :0], mask[:, :0])}, "rows of 'carts' .*positive L"),
        ({"carts": (events, mask[:, 1:])}, r"mask of 'carts' .*\[6, 3\].*\[6, 2\]"),
        ({"carts": (events, mask.long())}, "mask of 'carts' needs to be boolean.*int64"),
    ):
        with pytest.raises(InputError, match=message):
            tim(target, {**sequences, **bad})
    with pytest.raises(InputError, match=r"'sequences' needs to hold 'buys' in 'TIM'.*got views"):
        tim(target, {"views": sequences["views"], "carts": sequences["carts"]})
    with pytest.raises(InputError, match=r"'target' needs to have the shape \[B, 4\]"):
        tim(rows(6, 3), sequences)


def test_repr() -> None:
    assert repr(TIM(2, ["buy"], ["views"])) == (
        "TIM(2, targets=['buy'], behaviours=['views'], conditional=True)"
    )
