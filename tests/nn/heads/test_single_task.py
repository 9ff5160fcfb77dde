from head_bank import TARGETS, assert_same, mlp, rows, small

from pyg_mtrec.nn import SingleTask


def test_is_one_network_per_target() -> None:
    head, x = small("SingleTask", dropout=0.0), rows(7, 5)
    assert_same(head, x, {t: mlp(net, x) for t, net in zip(TARGETS, head.towers, strict=True)})
    each = rows(3, 7, 5)
    outs = [mlp(net, own) for net, own in zip(head.towers, each, strict=True)]
    assert_same(head, each, dict(zip(TARGETS, outs, strict=True)))


def test_everything_is_a_targets_own() -> None:
    head = small("SingleTask")
    own = head.own_parameters()
    assert sorted(name for names in own.values() for name in names) == sorted(
        name for name, _ in head.named_parameters()
    )
    assert repr(SingleTask(2, {"click": "binary"})) == "SingleTask(2, click: binary)"
