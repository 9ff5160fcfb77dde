import math

import pytest
import torch
from head_bank import TARGETS, assert_same, mlp, rows, small
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import AITM
from pyg_mtrec.nn.heads._fusion import Fusion


def _attend(fusion: Fusion, features: list[Tensor]) -> Tensor:
    """Row by row, feature by feature."""
    out = []
    for row in range(len(features[0])):
        scores = []
        for feature in features:
            query, key = fusion.query_weight @ feature[row], fusion.key_weight @ feature[row]
            scores.append((query * key).sum() / math.sqrt(len(query)))
        weights = [score.exp() / sum(s.exp() for s in scores) for score in scores]
        values = [fusion.value_weight @ feature[row] for feature in features]
        out.append(sum(w * value for w, value in zip(weights, values, strict=True)))
    return torch.stack(out)


@pytest.mark.parametrize("length", [1, 2, 4])
def test_is_the_chain_of_transfers(length: int) -> None:
    targets = {f"t{number}": "binary" for number in range(length)} | {"core": "continuous"}
    head = small("AITM", targets, dropout=0.0)
    for given in (rows(5, 5), rows(length + 1, 5, 5)):
        inputs = list(given) if given.dim() == 3 else [given] * (length + 1)
        expected = {}
        z = None
        for number, target in enumerate(targets):
            q = mlp(head.trunks[number], inputs[number])
            if number in (0, length):
                z = q
            else:
                passed = mlp(head.senders[number - 1], z)
                z = _attend(head.fusions[number - 1], [passed, q])
            expected[target] = mlp(head.towers[number], z)
        assert_same(head, given, expected)


def test_equal_features_are_fused_to_their_own_map() -> None:
    head, x = small("AITM"), rows(5, 4)
    (fusion,) = head.fusions
    torch.testing.assert_close(fusion([x, x]), x @ fusion.value_weight.T)
    weights = fusion.weights([x, rows(5, 4, seed=1)])
    torch.testing.assert_close(weights.sum(0), torch.ones(5).double())


def test_the_penalty_is_the_mean_excess_over_the_target_before() -> None:
    targets = {"a": "binary", "b": "binary", "c": "binary", "d": "continuous"}
    head = small("AITM", targets, alpha=0.7)
    values = {target: rows(6, seed=seed) for seed, target in enumerate(targets)}
    penalties = head.penalties(values)
    assert list(penalties) == ["b", "c"]
    for before, after in (("a", "b"), ("b", "c")):
        total = 0.0
        for low, high in zip(values[before].tolist(), values[after].tolist(), strict=True):
            total += max(0.0, 1 / (1 + math.exp(-high)) - 1 / (1 + math.exp(-low)))
        assert float(penalties[after].detach()) == pytest.approx(0.7 * total / 6, rel=1e-12)
        grads = torch.autograd.grad(penalties[after], [values[before], values[after]])
        assert bool((grads[0] <= 0).all()) and bool((grads[1] >= 0).all())
        assert bool(grads[0].any()) and bool(grads[1].any())
    assert small("AITM", targets, alpha=0.0).penalties(values) == {}
    nobody = {target: torch.zeros(0) for target in targets}
    assert all(float(value) == 0 for value in head.penalties(nobody).values())


def test_the_default_strength_and_bad_input() -> None:
    assert AITM(2, TARGETS).alpha == 0.6
    with pytest.raises(InputError, match=r"'alpha' needs to be at least 0 in 'AITM'.*got -1"):
        AITM(2, TARGETS, alpha=-1)
    with pytest.raises(InputError, match="'alpha' needs to be at least 0"):
        AITM(2, TARGETS, alpha=float("nan"))
