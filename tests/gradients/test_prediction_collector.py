"""Gradients of heads on gathered rows against autograd through whole tables, in float64."""

from functools import partial
from typing import Any

import pytest
import torch
from no_sync import NoSync
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Balancer, GradientAdjustment, NashMTL, PCGrad, PMTRec, Sum
from pyg_mtrec.gradients import PredictionCollector, TaskGradients, _prediction_pass
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.loader import Impressions
from pyg_mtrec.nn import (
    NGCF,
    Adjacency,
    Encoder,
    FieldEmbedding,
    LightGCN,
    NodeEmbedding,
    Predictor,
)
from pyg_mtrec.nn.bottoms import DTRN
from pyg_mtrec.nn.heads import AITM, ESMM, PLE, HTLNet, MMoE, SharedBottom, SingleTask
from pyg_mtrec.tasks import Classification, PredictionTask, Regression
from pyg_mtrec.training import MultiTaskStep
from pyg_mtrec.transforms import NormalizedAdjacency

TARGETS = {"click": "binary", "long_view": "binary", "watch_time": "continuous"}
BEHAVIOURS = ["views", "carts"]
USERS, ITEMS, ROWS = 40, 300, 30
MAIN = ("user", "interacts", "item")


def tasks() -> dict[str, PredictionTask]:
    """The core target first, whatever the order of the head's chain."""
    return {
        "watch_time": Regression("watch_time", mean=3.0, std=2.0),
        "click": Classification("click"),
        "long_view": Classification("long_view"),
    }


def batch(seed: int = 0, rows: int = ROWS) -> Impressions:
    generator = torch.Generator().manual_seed(seed)

    def ints(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=generator)

    label = torch.rand(rows, 3, generator=generator, dtype=torch.double)
    label[:, :2] = label[:, :2].round()
    label[torch.rand(rows, 3, generator=generator) < 0.2] = float("nan")
    numeric = torch.randn(rows, 1, generator=generator, dtype=torch.double)
    numeric[0] = float("nan")
    categorical = torch.stack([ints(500, rows), ints(2, rows)], dim=1)
    categorical[-1, 0] = -1
    sequences = {name: ints(ITEMS + 1, rows, 3) - 1 for name in BEHAVIOURS}
    sequences["views"][0] = -1
    return Impressions(
        ints(USERS, rows), ints(ITEMS, rows), label, categorical, numeric, sequences=sequences
    )


def model(
    encoder: Encoder | None = None, head: Any = SharedBottom, bottom: bool = False
) -> Predictor:
    generator = torch.Generator().manual_seed(0)
    embedding = NodeEmbedding({"user": USERS, "item": ITEMS}, 4, generator)
    fields = FieldEmbedding([500, 2], 1, dim=4 if bottom else 3, generator=generator)
    width, lowest = Predictor.width(embedding, fields, encoder), None
    if bottom:
        num_fields, dim = Predictor.shape(embedding, fields, encoder)
        lowest = DTRN(dim, num_fields, TARGETS, BEHAVIOURS, generator=generator)
        for name, parameter in lowest.named_parameters():  # targets part from the first step on
            if "hyper" in name:
                torch.nn.init.normal_(parameter, std=0.3, generator=generator)
        width = lowest.out_dim
    made = head(width, TARGETS, generator=generator)
    return Predictor(made, embedding, fields, encoder, lowest).double()


def adjacency() -> dict[Any, Adjacency]:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = USERS, ITEMS
    generator = torch.Generator().manual_seed(3)
    users = torch.randint(USERS, (200,), generator=generator)
    items = torch.randint(ITEMS, (200,), generator=generator)
    data[MAIN].edge_index = torch.stack([users, items]).unique(dim=1)
    found = Adjacency.dict_from(NormalizedAdjacency()(data))
    return {key: Adjacency(adj.adj_t.double(), adj.adj.double()) for key, adj in found.items()}


def dense(net: Predictor, rows: Impressions, adj: dict[Any, Adjacency]) -> dict[str, Any]:
    """Every target's gradient of every parameter, through whole tables."""
    net.eval()  # nothing is dropped
    predictions = net(rows, adj)
    found = {}
    for name, task in tasks().items():
        loss = task(predictions[name], rows.label[:, list(TARGETS).index(name)])
        parameters = dict(net.named_parameters())
        grads = torch.autograd.grad(
            loss, list(parameters.values()), retain_graph=True, allow_unused=True
        )
        found[name] = (loss.item(), dict(zip(parameters, grads, strict=True)))
    return found


def whole(gradients: TaskGradients, table: str, num_rows: int) -> Tensor:
    rows = gradients.rows[table]
    if rows.ids is None:
        return rows.grads
    out = rows.grads.new_zeros(rows.grads.size(0), num_rows, rows.grads.size(2))
    return out.index_add(1, rows.ids, rows.grads)


@pytest.mark.parametrize("propagates", [False, True])
@pytest.mark.parametrize("head", [SharedBottom, SingleTask])
@pytest.mark.parametrize("rows", [1, ROWS, 700])  # fewer and more look-ups than rows of tables
@pytest.mark.parametrize("bottom", [False, True])
def test_every_target_has_the_gradient_of_the_whole_model(
    propagates: bool, head: type, rows: int, bottom: bool
) -> None:
    net = model(LightGCN(num_layers=2) if propagates else None, head, bottom)
    adj = adjacency() if propagates else {}
    wanted = dense(net, batch(rows=rows), adj)
    collector = PredictionCollector(net, tasks(), list(TARGETS))
    found = collector.collect(batch(rows=rows), adj)
    names = {"user": "embedding.weight_dict.user", "item": "embedding.weight_dict.item"}
    names["fields"] = "fields.weight"
    for position, (target, (loss, grads)) in enumerate(wanted.items()):
        assert found.losses[position].item() == pytest.approx(loss, rel=1e-12)
        for table, parameter in names.items():
            mine = whole(found, table, grads[parameter].size(0))[position]
            assert torch.allclose(mine, grads[parameter], rtol=1e-10, atol=1e-13)
        for name, stacked in found.dense.items():
            grad = grads[name]
            other = torch.zeros_like(stacked[position]) if grad is None else grad
            assert torch.allclose(stacked[position], other, rtol=1e-10, atol=1e-13)
        for name, parameter in collector.own[target].items():
            full = next(key for key, p in net.named_parameters() if p is parameter)
            assert torch.allclose(found.own[target][name], grads[full], rtol=1e-10, atol=1e-13)
    owned = sum(len(named) for named in collector.own.values())
    assert len(found.dense) + owned + 3 == len(list(net.parameters()))


@pytest.mark.parametrize("name", ["mf", "lightgcn", "ngcf"])
@pytest.mark.parametrize("at", ["embedding", "representation"])
def test_the_step_of_the_sum_is_an_ordinary_backward(name: str, at: str) -> None:
    encoder = {"lightgcn": LightGCN(num_layers=2), "ngcf": NGCF(4, num_layers=2)}.get(name)
    net = model(encoder).eval()
    adj = {} if encoder is None else adjacency()
    rows = batch()
    predictions = net(rows, adj)
    total = sum(
        task(predictions[name], rows.label[:, list(TARGETS).index(name)])
        for name, task in tasks().items()
    )
    assert isinstance(total, Tensor)
    total.backward()
    wanted = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    collector = PredictionCollector(net, tasks(), list(TARGETS), at=at)
    # A rule that takes gradients apart: without conflict resolution its weights are all one.
    for rule in (Sum(), PCGradWithoutConflict()):
        for _ in range(2):  # buffers are cleared
            net.zero_grad()
            MultiTaskStep(collector, rule, adj)(rows, epoch=1)
            for name, parameter in net.named_parameters():
                assert parameter.grad is not None
                assert torch.allclose(parameter.grad, wanted[name], rtol=1e-10, atol=1e-13), name


class PCGradWithoutConflict(PCGrad):
    def weights(self, gram: Tensor) -> Tensor:
        return gram.new_ones(gram.shape[:-1])


def test_rules_get_rows_that_are_summed_first() -> None:
    net = model().eval()
    rows = batch()
    rows.user = torch.zeros_like(rows.user)  # all impressions of one user
    found = PredictionCollector(net, tasks(), list(TARGETS)).collect(rows)
    assert found.rows["user"].ids is not None
    assert found.rows["user"].ids.tolist() == [0]
    wanted = dense(net, rows, {})
    for position, (_, grads) in enumerate(wanted.values()):
        norm = grads["embedding.weight_dict.user"][0].norm()
        assert found.norms("user")[position, 0].item() == pytest.approx(norm.item(), rel=1e-10)


def test_own_parameters_get_their_plain_gradient_under_any_rule() -> None:
    net = model().eval()
    wanted = dense(net, batch(), {})
    collector = PredictionCollector(net, tasks(), list(TARGETS))
    MultiTaskStep(collector, PMTRec(alpha=1.5, tau=0.1), {})(batch(), epoch=7)
    for target, (_, grads) in wanted.items():
        for parameter in collector.own[target].values():
            full = next(key for key, p in net.named_parameters() if p is parameter)
            assert torch.allclose(parameter.grad, grads[full], rtol=1e-10, atol=1e-13)


def test_wrong_targets_get_one_line() -> None:
    net = model()
    with pytest.raises(InputError, match="need to be those of the head, click, long_view, watch"):
        PredictionCollector(net, {"click": Classification("click")})
    with pytest.raises(InputError, match="'columns' of 'PredictionCollector' need to hold"):
        PredictionCollector(net, tasks(), ["click"])
    with pytest.raises(InputError, match="'at' needs to be 'embedding' or 'representation'"):
        PredictionCollector(net, tasks(), at="loss")
    with pytest.raises(InputError, match="needs 'in_dim' 8"):
        Predictor(SharedBottom(5, TARGETS), NodeEmbedding({"user": 2, "item": 2}, 4))
    with pytest.raises(InputError, match="needs 'embedding' or 'fields'"):
        Predictor.width()


@pytest.mark.parametrize("head", [SharedBottom, MMoE, PLE, AITM, ESMM, HTLNet])
@pytest.mark.parametrize("rule", [Sum(), PMTRec(tau=0.1), GradientAdjustment(), NashMTL()])
def test_a_step_never_waits_for_the_device(
    head: type, rule: Balancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a GPU, where rows are deduplicated with a static shape.
    monkeypatch.setattr(
        _prediction_pass, "unique_rows", lambda ids, static: unique_rows(ids, static=True)
    )
    net = model(head=head).eval()  # the seed of dropout is drawn on the host, from a CPU generator
    step = MultiTaskStep(PredictionCollector(net, tasks(), list(TARGETS)), rule, {})
    rows = batch()
    step(rows, epoch=1)  # scratch space is made
    with NoSync():
        step(rows, epoch=1)


def test_a_static_shape_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for static in (False, True):
        monkeypatch.setattr(
            _prediction_pass,
            "unique_rows",
            lambda ids, static, wanted=static: unique_rows(ids, static=wanted),
        )
        net = model().eval()
        collector = PredictionCollector(net, tasks(), list(TARGETS))
        MultiTaskStep(collector, PMTRec(alpha=1.1, tau=0.1), {})(batch(), epoch=3)
        found.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*found, strict=True))


def test_padding_takes_no_part() -> None:
    net = model(bottom=True).eval()
    rows = batch()
    wanted = net(rows)
    assert rows.sequences is not None
    pad = torch.full((ROWS, 2), -1)
    rows.sequences["carts"] = torch.cat([pad, rows.sequences["carts"]], dim=1)
    found = net(rows)
    assert all(torch.allclose(wanted[name], found[name]) for name in TARGETS)
    # Row 0 stands in for padding: without events of its own it has no gradient.
    rows.item = rows.item.clamp(min=1)
    rows.sequences = {name: torch.where(x == 0, -1, x) for name, x in rows.sequences.items()}
    gradients = PredictionCollector(net, tasks(), list(TARGETS)).collect(rows)
    assert whole(gradients, "item", ITEMS)[:, 0].count_nonzero() == 0


def test_a_bottom_that_does_not_fit_gets_one_line() -> None:
    net = model(bottom=True)
    rows = batch()
    assert rows.sequences is not None
    del rows.sequences["carts"]
    with pytest.raises(InputError, match="the bottom reads 'carts', which these impressions lack"):
        net(rows)
    embedding = NodeEmbedding({"user": 2, "item": 2}, 4)
    small = DTRN(4, 3, TARGETS, ["views"])
    with pytest.raises(InputError, match="needs 'num_fields' 2 and 'dim' 4"):
        Predictor(SharedBottom(small.out_dim, TARGETS), embedding, bottom=small)
    other = DTRN(4, 2, ["buy"], ["views"])
    with pytest.raises(InputError, match="needs the head's targets, click, long_view, watch_time"):
        Predictor(SharedBottom(other.out_dim, TARGETS), embedding, bottom=other)
    with pytest.raises(InputError, match="needs rows of one width"):
        Predictor.shape(embedding, FieldEmbedding([2], 0, 3))
    with pytest.raises(InputError, match="reads items: pass 'embedding'"):
        Predictor.shape(None, FieldEmbedding([2], 0, 3))


@pytest.mark.parametrize("bottom", [False, True])
@pytest.mark.parametrize(
    ("head", "options"),
    [
        (SharedBottom, {}),
        (MMoE, {}),
        (PLE, {}),
        (PLE, {"num_shared": 0}),
        (ESMM, {}),
        (AITM, {}),
        (HTLNet, {}),
        (HTLNet, {"stop_gradient": "leu_output"}),
        (HTLNet, {"stop_gradient": "none"}),
    ],
)
def test_only_its_own_target_reaches_an_own_parameter(
    head: type, options: dict[str, Any], bottom: bool
) -> None:
    net = model(head=partial(head, **options), bottom=bottom).eval()
    own = net.own_parameters()
    rows = batch()
    predictions = net(rows)
    penalties = net.head.penalties(predictions)
    reached: dict[int, set[str]] = {}
    for name, task in tasks().items():
        loss = task(predictions[name], rows.label[:, list(TARGETS).index(name)])
        loss = loss + penalties.get(name, 0.0)
        parameters = list(net.parameters())
        grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for parameter, grad in zip(parameters, grads, strict=True):
            if grad is not None and grad.count_nonzero() > 0:
                reached.setdefault(id(parameter), set()).add(name)
    owner = {id(p): target for target, named in own.items() for p in named.values()}
    for name, parameter in net.named_parameters():
        if id(parameter) in owner:
            assert reached.get(id(parameter), set()) <= {owner[id(parameter)]}, name
    if bottom and head in (SharedBottom, MMoE):
        assert all(any(name.startswith("bottom.") for name in named) for named in own.values())
