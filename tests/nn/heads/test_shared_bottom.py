import torch
from head_bank import TARGETS, assert_same, mlp, rows, small

from pyg_mtrec.nn.bottoms._dropout import keep, levels, scale


def test_is_a_trunk_and_towers() -> None:
    head, x = small("SharedBottom", dropout=0.0), rows(7, 5)
    h = mlp(head.trunk, x)
    assert_same(head, x, {t: mlp(net, h) for t, net in zip(TARGETS, head.towers, strict=True)})
    each = rows(3, 7, 5)
    outs = [mlp(net, mlp(head.trunk, own)) for net, own in zip(head.towers, each, strict=True)]
    assert_same(head, each, dict(zip(TARGETS, outs, strict=True)))


def test_dropout_is_a_mask_on_every_hidden_layer() -> None:
    share = 0.3
    head, x = small("SharedBottom", dropout=share), rows(50, 5)
    state = torch.Generator()
    state.set_state(head.generator.get_state())
    draws = torch.Generator().manual_seed(int(torch.randint(2**62, (), generator=state)))
    factor = 1 / (1 - levels(share) / 65536)
    assert scale(share) == factor and abs(levels(share) / 65536 - share) < 1e-5

    def layer(x: torch.Tensor, net: torch.nn.Module, number: int) -> torch.Tensor:
        h = x @ net.weights[number].T + net.biases[number]
        return h.clamp(min=0) * keep(h.shape, share, draws, h.dtype) * factor

    h = layer(layer(x, head.trunk, 0), head.trunk, 1)
    expected = {}
    for target, tower in zip(TARGETS, head.towers, strict=True):
        expected[target] = (layer(h, tower, 0) @ tower.weights[1].T + tower.biases[1])[:, 0]
    assert_same(head, x, expected)


def test_masks_have_the_share_they_should() -> None:
    draws = torch.Generator().manual_seed(0)
    for share in (0.0, 1e-3, 0.1, 0.5, 0.999):
        mask = keep((1001, 997), share, draws, torch.float32)
        dropped = 1 - float(mask.double().mean())
        error = (max(share * (1 - share), 1e-12) / mask.numel()) ** 0.5
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert abs(dropped - share) < 5 * error + 1e-5
        # Neighbours in a row and in a column share no bits.
        for a, b in ((mask[:, 1:], mask[:, :-1]), (mask[1:], mask[:-1])):
            both = float((a * b).double().mean())
            assert abs(both - (1 - share) ** 2) < 8 * error + 3e-5
    assert keep((0, 3), 0.5, draws, torch.float64).shape == (0, 3)
