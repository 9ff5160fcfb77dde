import io
import itertools
import math

import pytest
import torch
from head_bank import TARGETS, assert_same, mlp, rows, small
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import HTLNet
from pyg_mtrec.nn.bottoms._dropout import keep
from pyg_mtrec.nn.heads._fusion import Fusion

CHAINS = {
    "core": TARGETS,
    "longer": {"a": "binary", "b": "binary", "c": "binary", "core": "continuous"},
    "discrete core": {"a": "binary", "b": "binary", "core": "binary"},
    "two cores": {"a": "binary", "b": "binary", "core": "continuous", "amount": "continuous"},
    "no chain": {"core": "continuous"},
    "cores alone": {"core": "continuous", "amount": "continuous"},
}


def _fuse(fusion: Fusion, features: list[Tensor], kind: str) -> Tensor:
    if kind == "concat":
        return torch.cat(features, dim=1)
    values = [feature @ fusion.value_weight.T for feature in features]
    if kind == "mean" or len(features) == 1:
        return sum(values) / len(values)
    queries = [feature @ fusion.query_weight.T for feature in features]
    keys = [feature @ fusion.key_weight.T for feature in features]
    scores = [
        ((q * k).sum(1) / math.sqrt(q.shape[1])).exp() for q, k in zip(queries, keys, strict=True)
    ]
    return sum((s / sum(scores))[:, None] * v for s, v in zip(scores, values, strict=True))


def _loop(
    head: HTLNet, inputs: list[Tensor], noise: list[Tensor] | None, temperature: float
) -> dict[str, Tensor]:
    """Tower after tower, with every map by itself and labels as a softmax over two."""
    out: dict[str, Tensor] = {}
    reps: list[Tensor] = []
    labels: list[Tensor] = []
    stop = head.stop_gradient
    for number, (target, kind) in enumerate(head.targets.items()):
        parts = [inputs[number]]
        if reps:
            fusions = head.fusions[number]
            fused = [_fuse(fusions[0], reps, head.fusion)]
            if head.label_embedding:
                fused.append(_fuse(fusions[1], labels, head.fusion))
            parts = [*fused, *parts]
        tower = head.towers[number]
        rep = mlp(tower, torch.cat(parts, dim=1), 0, 1)
        out[target] = mlp(tower, rep, 1)
        if kind != "binary" or number == len(head.targets) - 1:
            continue
        reps.append(rep if stop == "none" else rep.detach())
        if head.label_embedding:
            logit = out[target] if stop == "none" else out[target].detach()
            log_p, log_not_p = -(1 + (-logit).exp()).log(), -(1 + logit.exp()).log()
            if noise is not None:  # Gumbel's of label 1; that of label 0 is none
                log_p = log_p + noise[number]
            two = torch.stack([log_p, log_not_p], dim=1) / temperature
            labels.append(two.softmax(1) @ head.label_embeddings[number].weight)
    return out


@pytest.mark.parametrize("targets", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("fusion", ["attention", "concat", "mean"])
@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("stop", ["inputs", "leu_output", "none"])
def test_is_the_loop_over_towers(
    targets: dict[str, str], fusion: str, label: bool, stop: str
) -> None:
    head = small(
        "HTLNet", targets, fusion=fusion, label_embedding=label, stop_gradient=stop, dropout=0.0
    ).eval()
    number = len(targets)
    for given in (rows(6, 5), rows(number, 6, 5)):
        inputs = list(given) if given.dim() == 3 else [given] * number
        assert_same(head, given, _loop(head, inputs, None, 1.0))


@pytest.mark.parametrize("stop", ["inputs", "none"])
def test_training_samples_labels_at_a_temperature(stop: str) -> None:
    head = small("HTLNet", CHAINS["longer"], stop_gradient=stop, dropout=0.0, temperature=2.5)
    x = rows(6, 5)
    state = torch.Generator()
    state.set_state(head.generator.get_state())
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=state)))
    uniform = [torch.rand(6, generator=draws).double() for _ in range(3)]
    noise = [(u / (1 - u)).log() for u in uniform]  # logistic: of two Gumbel's the difference
    expected = _loop(head, [x] * 4, noise, 2.5)
    for target, value in head(x).items():
        torch.testing.assert_close(value, expected[target], rtol=1e-6, atol=1e-6)


def test_without_noise_the_temperature_flattens_in_evaluation_too() -> None:
    head = small("HTLNet", gumbel=False, temperature=2.5, dropout=0.0)
    x = rows(6, 5)
    assert_same(head, x, _loop(head, [x] * 3, None, 2.5))
    assert_same(head.eval(), x, _loop(head, [x] * 3, None, 2.5))


def test_noise_and_dropout_come_in_one_order() -> None:
    """Noise of a target after the dropout masks of its tower, before those of the next."""
    share = 0.25
    head, x = small("HTLNet", dropout=share, temperature=1.0), rows(30, 5)
    state = torch.Generator()
    state.set_state(head.generator.get_state())
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=state)))
    tower = head.towers[0]
    h = x
    for weight, bias in zip(tower.weights[:-1], tower.biases[:-1], strict=True):
        h = (h @ weight.T + bias).clamp(min=0)
        h = h * keep(h.shape, share, draws, h.dtype) / (1 - share)
    click = (h @ tower.weights[-1].T + tower.biases[-1])[:, 0]
    torch.testing.assert_close(head(x)["click"], click)


def test_nothing_flows_back_but_the_label_table_learns() -> None:
    head, x = small("HTLNet", CHAINS["longer"]), rows(50, 5)
    table = head.label_embeddings[0].weight.detach().clone()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
    out = head(x)
    optimizer.zero_grad()
    out["core"].square().sum().backward()
    for name, parameter in head.named_parameters():
        kind, number, *_ = name.split(".")
        if kind == "label_embeddings" or number == "3":
            assert parameter.grad is not None and bool(parameter.grad.any()), name
        else:
            assert parameter.grad is None, name
    optimizer.step()
    assert float((head.label_embeddings[0].weight - table).detach().abs().max()) > 1e-6


def test_stopping_the_label_vectors_freezes_the_table() -> None:
    head, x = small("HTLNet", stop_gradient="leu_output"), rows(50, 5)
    assert not any("label_embeddings" in name for name, _ in head.named_parameters())
    table = head.label_embeddings[0].weight.clone()
    assert bool(table.any()) and "label_embeddings.0.weight" in head.state_dict()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        sum(value.square().sum() for value in head(x).values()).backward()
        optimizer.step()
    assert torch.equal(head.label_embeddings[0].weight, table)


def test_without_a_stop_the_core_target_trains_the_first_tower() -> None:
    head, x = small("HTLNet", stop_gradient="none"), rows(50, 5)
    head(x)["watch_time"].square().sum().backward()
    for parameter in head.towers[0].parameters():
        assert parameter.grad is not None and bool(parameter.grad.any())


def test_attention_over_predecessors() -> None:
    fusion = Fusion(3, 4, 6).double()
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draws))
    features = [rows(5, 4, seed=seed) for seed in range(3)]
    weights, out = fusion.weights(features), fusion(features)
    torch.testing.assert_close(weights.sum(0), torch.ones(5).double())
    torch.testing.assert_close(out, _fuse(fusion, features, "attention"))
    for order in itertools.permutations(range(3)):
        permuted = [features[number] for number in order]
        torch.testing.assert_close(fusion.weights(permuted), weights[list(order)])
        torch.testing.assert_close(fusion(permuted), out)
    further = rows(2, 6)
    for kind in ("attention", "concat", "mean"):
        fusion.kind = kind
        weight = further if kind != "concat" else rows(2, 12)
        total = sum(x @ w.T for x, w in fusion.mapped(features, weight))
        torch.testing.assert_close(total, fusion(features) @ weight.T)
    one = Fusion(1, 4, 6)
    assert [name for name, _ in one.named_parameters()] == ["value_weight"]
    with torch.no_grad():
        one.value_weight.copy_(torch.randn(6, 4, generator=draws))
    x = features[0].detach().float()
    torch.testing.assert_close(one([x]), x @ one.value_weight.T)


def test_the_temperature_falls_with_the_steps_of_training() -> None:
    head = small(
        "HTLNet",
        temperature=3.0,
        temperature_decay=0.5,
        temperature_every=2,
        temperature_floor=0.5,
    )
    x, seen = rows(2, 5), []
    for step in range(9):
        seen.append(float(head.temperature))
        head(x)
        if step == 4:
            head.eval()(x)  # no step of training
            head.train()
    assert seen == [3.0, 3.0, 1.5, 1.5, 0.75, 0.75, 0.5, 0.5, 0.5]
    buffer = io.BytesIO()
    torch.save(head.state_dict(), buffer)
    buffer.seek(0)
    other = small("HTLNet", temperature=3.0, temperature_decay=0.9, temperature_every=3)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert float(other.temperature) == pytest.approx(3.0 * 0.9**3)
    other.reset_parameters()
    assert float(other.temperature) == 3.0
    default = HTLNet(2, TARGETS)
    assert float(default.temperature) == 10.0
    default.relaxed_label.steps += 5000
    assert float(default.temperature) == pytest.approx(9.0)
    default.relaxed_label.steps += 10**9
    assert float(default.temperature) == 0.5


def test_a_cold_sample_is_a_label_with_the_predicted_probability() -> None:
    head = small("HTLNet", temperature=1e-3, temperature_floor=1e-3)
    logit = torch.full((200_000,), 0.4)
    label = head.relaxed_label(logit, torch.Generator().manual_seed(0))
    hard = (label < 0.01) | (label > 0.99)
    assert float(hard.double().mean()) > 0.99
    expected = 1 / (1 + math.exp(-0.4))
    assert abs(float(label.double().mean()) - expected) < 5 * (0.25 / 200_000) ** 0.5


def test_extreme_logits_stay_finite() -> None:
    head = small("HTLNet", stop_gradient="none")
    logit = torch.tensor([-200.0, -90.0, 0.0, 90.0, 200.0], requires_grad=True)
    for draws in (None, torch.Generator().manual_seed(0)):
        label = head.relaxed_label(logit, draws)
        (grad,) = torch.autograd.grad(label.sum(), logit)
        assert bool(label.isfinite().all()) and bool(grad.isfinite().all())


def test_a_head_that_draws_nothing_leaves_the_generator_alone() -> None:
    quiet = small("HTLNet", dropout=0.0, label_embedding=False)
    plain = small("HTLNet", {"core": "continuous"}, dropout=0.0)
    noisy = small("HTLNet", dropout=0.0)
    for head, draws in ((quiet, False), (plain, False), (noisy, True)):
        before = head.generator.get_state()
        head(rows(3, 5))
        assert torch.equal(head.generator.get_state(), before) != draws


def test_repr_and_bad_input() -> None:
    text = "HTLNet(2, click: binary, fusion='attention', stop_gradient='inputs')"
    assert repr(HTLNet(2, {"click": "binary"})) == text
    for kwargs, message in (
        ({"tower": ()}, "'tower' needs to hold at least 1 positive width"),
        ({"fusion_dim": 0}, "'fusion_dim' needs to be positive"),
        ({"label_dim": 0}, "'label_dim' needs to be positive"),
        ({"fusion": "sum"}, "'fusion' needs to be one of 'attention', 'concat', 'mean'.*'sum'"),
        ({"stop_gradient": "all"}, "'stop_gradient' needs to be one of 'inputs', .*got 'all'"),
        ({"temperature": 0.0}, "'temperature' needs to be positive"),
        ({"temperature_floor": -1.0}, "'temperature_floor' needs to be positive"),
        ({"temperature_every": 0}, "'temperature_every' needs to be positive"),
        ({"temperature_decay": 1.1}, r"'temperature_decay' needs to lie in \(0, 1\].*got 1.1"),
    ):
        with pytest.raises(InputError, match=f"{message}.*"):
            HTLNet(2, TARGETS, **kwargs)
