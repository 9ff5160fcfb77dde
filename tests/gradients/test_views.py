"""Views of single tasks and whole matrices, against autograd through dense float64 matrices."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from no_sync import NoSync
from torch import Tensor
from torch.nn.functional import softplus
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing import Constant, NashMTL, PCGrad, PMTRec, Sum
from pyg_mtrec.gradients import GradientCollector, _forward_pass
from pyg_mtrec.gradients._unique_rows import unique_rows
from pyg_mtrec.loader import Batch, EdgeSampler, FullBatch, MultiTaskLoader
from pyg_mtrec.nn import (
    MF,
    Adjacency,
    Encoder,
    Incidence,
    LightGCN,
    NodeEmbedding,
    Representations,
    TaskHypergraphEncoder,
)
from pyg_mtrec.tasks import BPR, Alignment, HyperedgePrediction, LinkPrediction, Task
from pyg_mtrec.training import MultiTaskStep

USERS, ITEMS, DIM = 6, 7, 3
MAIN, REVERSE = ("user", "interacts", "item"), ("item", "rev_interacts", "user")
TRUSTS = ("user", "trusts", "user")
CATEGORY, GROUP = ("item", "in", "category"), ("user", "in", "group")
STEPS = ["full", "mini", "mixed"]
X = dict[str, Tensor]


def graph(num_categories: int = 4) -> HeteroData:
    """Item 6 and user 5 have no interaction, category 1 no item; user 0 has two groups."""
    data = HeteroData()
    sizes = {"user": USERS, "item": ITEMS, "category": num_categories, "group": 3}
    for node_type, number in sizes.items():
        data[node_type].num_nodes = number
    main = [[0, 0, 1, 2, 3, 3, 4, 1, 2], [0, 1, 1, 2, 1, 4, 5, 3, 0]]
    data[MAIN].edge_index = torch.tensor(main)
    data[REVERSE].edge_index = torch.tensor(main).flip(0)
    data[TRUSTS].edge_index = torch.tensor([[0, 1, 5, 2], [3, 0, 4, 1]])
    data[CATEGORY].edge_index = torch.tensor([[0, 0, 1, 2, 4, 6, 6], [0, 2, 2, 0, 3, 2, 0]])
    data[GROUP].edge_index = torch.tensor([[0, 0, 2, 5, 4], [0, 1, 0, 1, 2]])
    for edge_type in (CATEGORY, GROUP):
        data[edge_type].task = edge_type[2]
    return data


def embedding() -> NodeEmbedding:
    generator = torch.Generator().manual_seed(0)
    return NodeEmbedding({"user": USERS, "item": ITEMS}, DIM, generator=generator).double()


def pretext(l2: float = 0.2) -> dict[str, Task]:
    return {
        "alignment": Alignment(l2=l2, reduction="sum"),
        "category": HyperedgePrediction(CATEGORY, "labels", l2=l2),
        "group": HyperedgePrediction(GROUP, num_negatives=2, l2=l2, reduction="sum"),
        "bpr": BPR(l2=l2),
    }


def batches(tasks: dict[str, Task], kind: str, data: HeteroData, seed: int = 0) -> dict:
    """One step: full batches, mini-batches of some edges, or every other task's full."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for position, (name, task) in enumerate(tasks.items()):
        sampler = task.sampler(data, generator)
        if kind == "full" or (kind == "mixed" and position % 2 == 0):
            found[name] = sampler.full()
        else:
            index = torch.randint(sampler.num_edges, (4,), generator=generator)
            found[name] = sampler.sample(index, size=5)
    return found


# --- the encoders, over dense matrices -----------------------------------------------------------


def incidence(data: HeteroData, edge_type: tuple[str, str, str]) -> Tensor:
    h = torch.zeros(data[edge_type[0]].num_nodes, data[edge_type[2]].num_nodes).double()
    for vertex, hyperedge in data[edge_type].edge_index.t().tolist():
        h[vertex, hyperedge] += 1
    return h


def mean(h: Tensor, x: Tensor) -> Tensor:
    return (h @ x) / h.sum(1).clamp(min=1)[:, None]


def dense_uprth(tables: X, data: HeteroData) -> X:
    """Node types, and views under the name of the relation and the node type."""
    h = {e: incidence(data, e) for e in (MAIN, REVERSE, CATEGORY, GROUP)}
    out = {}
    for edge_type in (CATEGORY, GROUP):
        vertex, _, hyperedge = edge_type
        e = mean(h[edge_type].t(), tables[vertex])
        out[" ".join(edge_type), hyperedge] = e
        out[" ".join(edge_type), vertex] = mean(h[edge_type], e)
    for edge_type, task in ((MAIN, CATEGORY), (REVERSE, GROUP)):
        vertex, _, hyperedge = edge_type
        first = mean(h[edge_type], mean(h[edge_type].t(), tables[vertex]))
        key = out[" ".join(task), hyperedge].detach()  # of one task the softmax is 1
        degree = h[edge_type].sum(0).clamp(min=1)[:, None]
        e = (h[edge_type].t() @ first + 10 * key.tanh()) / degree
        out["", vertex] = first + 0.1 * mean(h[edge_type], e)
    return out


def dense_lightgcn(tables: X, data: HeteroData) -> X:
    h = incidence(data, MAIN)
    degree = (h.sum(1, keepdim=True) * h.sum(0, keepdim=True)).sqrt()
    normed = h / degree.clamp(min=1)
    users, items = [tables["user"]], [tables["item"]]
    for _ in range(2):
        users, items = [*users, normed @ items[-1]], [*items, normed.t() @ users[-1]]
    return {("", "user"): sum(users) / 3, ("", "item"): sum(items) / 3}


def dense_mf(tables: X, data: HeteroData) -> X:
    return {("", name): table for name, table in tables.items()}


class Double(Encoder):
    """Local, but no identity."""

    local = True

    def forward(self, x_dict, adj_dict):
        return Representations({name: 2 * x for name, x in x_dict.items()})


def dense_double(tables: X, data: HeteroData) -> X:
    return {("", name): 2 * table for name, table in tables.items()}


def operators(encoder: Encoder, data: HeteroData) -> dict:
    if isinstance(encoder, TaskHypergraphEncoder):
        return Incidence.dict_from(data)
    h = incidence(data, MAIN)
    degree = (h.sum(1, keepdim=True) * h.sum(0, keepdim=True)).sqrt().clamp(min=1)
    to_user = Adjacency((h / degree).to_sparse_csr())
    return {MAIN: to_user.t(), REVERSE: to_user}


ENCODERS: dict[str, tuple[Encoder, Callable[[X, HeteroData], X]]] = {
    "uprth": (TaskHypergraphEncoder(scale=8.0), dense_uprth),
    "lightgcn": (LightGCN(2), dense_lightgcn),
    "mf": (MF(), dense_mf),
    "double": (Double(), dense_double),
}

# --- the losses, edge by edge --------------------------------------------------------------------


def dense_loss(task: Task, batch: Batch, out: X, tables: X) -> Tensor:
    src_type, _, dst_type = batch.edge_type
    src, dst = (out.get((task.view, n), out.get(("", n))) for n in (src_type, dst_type))
    edges = list(zip(batch.src_index.tolist(), batch.dst_pos_index.tolist(), strict=True))
    weights = [1.0] * len(edges) if batch.weight is None else batch.weight.tolist()
    total = torch.zeros(()).double()
    negatives = None
    if batch.dst_neg_index is not None:
        negatives = batch.dst_neg_index.reshape(len(edges), -1).tolist()
    for position, (s, d) in enumerate(edges):
        if isinstance(task, Alignment):
            value = (src[s] - dst[d]).square().sum()
        else:
            if negatives is None:  # labels that the vertex does not have
                known = batch.src_known[s].tolist()
                others = [f for f, is_known in enumerate(known) if not is_known]
            else:
                others = negatives[position]
            if getattr(task, "loss", "bpr") == "bce":
                value = sum(softplus(src[s] @ dst[n]) for n in others) / len(others) / 2
                value = value + softplus(-src[s] @ dst[d]) / 2
            else:
                value = sum(softplus(src[s] @ (dst[n] - dst[d])) for n in others) / len(others)
        total = total + weights[position] * value
        if isinstance(task, BPR) and task.l2:
            drawn = sum(tables[dst_type][n].square().sum() for n in others) / len(others)
            norm = tables[src_type][s].square().sum() + tables[dst_type][d].square().sum() + drawn
            total = total + weights[position] * task.l2 / 2 * norm
    total = total / batch.size
    if isinstance(task, Alignment | HyperedgePrediction) and task.l2:
        seen = tables if isinstance(task, Alignment) else {src_type: src, dst_type: dst}
        read = {src_type: [s for s, _ in edges], dst_type: [d for _, d in edges]}
        for drawn in negatives or []:
            read[dst_type] = read[dst_type] + drawn
        for name in read:
            whole = isinstance(batch, FullBatch) or (
                batch.src_known is not None and name == dst_type
            )
            rows = seen[name] if whole else seen[name][read[name]]
            norm = rows.square().sum() / (len(rows) if task.reduction == "mean" else 1)
            total = total + task.l2 / 2 * norm
    return total


def expected(tasks, found, dense, tables: X, data: HeteroData) -> tuple[Tensor, X]:
    """Losses [T] and every task's gradient of every table [T, N, d]."""
    losses, grads = [], {name: [] for name in tables}
    for name, task in tasks.items():
        loss = dense_loss(task, found[name], dense(tables, data), tables)
        for table, grad in zip(
            tables,
            torch.autograd.grad(loss, list(tables.values()), materialize_grads=True),
            strict=True,
        ):
            grads[table].append(grad)
        losses.append(loss.detach())
    return torch.stack(losses), {table: torch.stack(grad) for table, grad in grads.items()}


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.fixture(params=[False, True], ids=["dynamic", "static"])
def static(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs the shapes of a GPU on the CPU too."""

    def forced(ids: Tensor, static: bool) -> Tensor:
        return unique_rows(ids, static=request.param)

    monkeypatch.setattr(_forward_pass, "unique_rows", forced)


def plain(l2: float = 0.2) -> dict[str, Task]:
    """Tasks that need no view."""
    return {
        "bpr": BPR(num_negatives=2, l2=l2),
        "alignment": Alignment(l2=l2),
        "trusts": LinkPrediction(TRUSTS, anchored=False),
        "friends": LinkPrediction(TRUSTS, "bce", anchored=False, num_negatives=2),
    }


CASES = [("uprth", pretext), ("lightgcn", plain), ("mf", plain), ("double", plain)]
every_case = pytest.mark.parametrize(("name", "make"), CASES, ids=[name for name, _ in CASES])


def scattered(collected, table: str, num_tasks: int) -> Tensor:
    rows = collected.rows[table]
    if rows.ids is None:
        return rows.grads
    full = torch.zeros(num_tasks, USERS if table == "user" else ITEMS, DIM).double()
    return full.index_add(1, rows.ids, rows.grads)


@every_case
@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("seed", range(2))
def test_every_tasks_gradient_of_the_tables(name, make, kind, seed, static):
    (encoder, dense), data, tasks, tables = ENCODERS[name], graph(), make(), embedding()
    found = batches(tasks, kind, data, seed)
    params = dict(tables.weight_dict.items())
    collected = GradientCollector(tables, encoder, tasks).collect(found, operators(encoder, data))
    losses, grads = expected(tasks, found, dense, params, data)
    close(collected.losses, losses)
    for table in params:
        close(scattered(collected, table, len(tasks)), grads[table])


@every_case
@pytest.mark.parametrize("kind", STEPS)
def test_weighted_sums_of_losses(name, make, kind, static):
    (encoder, dense), data, tasks, tables = ENCODERS[name], graph(), make(), embedding()
    params = dict(tables.weight_dict.items())
    weights = [1.0, 0.5, 0.0, 2.0][: len(tasks)]
    for rule, factors in ((Sum(), [1.0] * len(tasks)), (Constant(weights), weights)):
        step = MultiTaskStep(
            GradientCollector(tables, encoder, tasks), rule, operators(encoder, data)
        )
        found = batches(tasks, kind, data)
        got = step(found, epoch=1)
        losses, grads = expected(tasks, found, dense, params, data)
        close(got, losses)
        for table in params:
            factor = torch.tensor(factors).double().view(-1, 1, 1)
            close(params[table].grad, (factor * grads[table]).sum(0))


@every_case
def test_steps_leave_nothing_behind(name, make, static):
    """Full, mini and mixed steps in turn, some after the gradients were thrown away."""
    (encoder, dense), data, tasks, tables = ENCODERS[name], graph(), make(), embedding()
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, encoder, tasks)
    rules = [Sum(), PMTRec(1.1, 0.05)]
    for seed, kind in enumerate(["full", "mini", "mixed", "mini", "full", "mini", "mini"]):
        rule = rules[seed % 2] if seed < 5 else rules[0]
        if seed in (3, 5):
            for parameter in params.values():
                parameter.grad = None
        found = batches(tasks, kind, data, seed)
        MultiTaskStep(collector, rule, operators(encoder, data))(found, epoch=1)
        _, grads = expected(tasks, found, dense, params, data)
        for table in params:
            want = grads[table].sum(0) if rule is rules[0] else pmtrec(grads[table], 1.1, 0.05)
            close(params[table].grad, want)
        with torch.no_grad():  # as an optimiser would
            for parameter in params.values():
                parameter.sub_(0.05 * parameter.grad)


def pmtrec(grads: Tensor, focus: float, tau: float) -> Tensor:
    norms = grads.norm(dim=-1)
    norms[0] = norms[0] * focus
    return ((norms / tau).softmax(0).unsqueeze(-1) * grads).sum(0)


@every_case
@pytest.mark.parametrize("kind", STEPS)
def test_pmtrec_weighs_rows(name, make, kind, static):
    (encoder, dense), data, tasks, tables = ENCODERS[name], graph(), make(), embedding()
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, encoder, tasks)
    found = batches(tasks, kind, data)
    MultiTaskStep(collector, PMTRec(1.1, 0.05), operators(encoder, data))(found, epoch=3)
    _, grads = expected(tasks, found, dense, params, data)
    for table in params:
        close(params[table].grad, pmtrec(grads[table], 1.1**3, 0.05))


def vectors(grads: X) -> Tensor:
    return torch.cat([grad.flatten(1) for grad in grads.values()], dim=1)  # [T, n]


@pytest.mark.parametrize("kind", STEPS)
def test_pcgrad_projects_whole_gradients(kind, static):
    (encoder, dense), data, tables = ENCODERS["uprth"], graph(), embedding()
    tasks = {name: task for name, task in pretext().items() if name in ("alignment", "category")}
    params = dict(tables.weight_dict.items())
    with torch.no_grad():  # so that the tasks disagree
        params["item"][:] = -3 * params["item"]
    found = batches(tasks, kind, data)
    step = MultiTaskStep(
        GradientCollector(tables, encoder, tasks), PCGrad(), operators(encoder, data)
    )
    step(found, epoch=1)
    _, grads = expected(tasks, found, dense, params, data)
    first, second = vectors(grads)
    product = (first @ second).clamp(max=0)
    want = first + second - product / (second @ second) * second - product / (first @ first) * first
    close(torch.cat([params[table].grad.flatten() for table in grads]), want)


@pytest.mark.parametrize("kind", STEPS)
def test_nash_mtl_bargains_over_whole_gradients(kind, static):
    (encoder, dense), data, tasks, tables = ENCODERS["uprth"], graph(), pretext(), embedding()
    params = dict(tables.weight_dict.items())
    found = batches(tasks, kind, data)
    rule = NashMTL(max_norm=None)
    step = MultiTaskStep(GradientCollector(tables, encoder, tasks), rule, operators(encoder, data))
    step(found, epoch=1)
    _, grads = expected(tasks, found, dense, params, data)
    g = vectors(grads)
    update = torch.cat([params[table].grad.flatten() for table in grads])
    weights = torch.linalg.lstsq(g.t(), update[:, None]).solution[:, 0]
    torch.testing.assert_close(weights @ g, update, rtol=1e-8, atol=1e-10)  # a mixture of them
    shares = weights * (g @ update)
    torch.testing.assert_close(shares, torch.ones_like(shares), rtol=1e-4, atol=1e-4)


# --- where gradients are taken -------------------------------------------------------------------


def test_views_have_no_common_representation():
    data, tables, encoder = graph(), embedding(), ENCODERS["uprth"][0]
    tasks = pretext()
    collector = GradientCollector(tables, encoder, tasks, at="representation")
    found = batches(tasks, "full", data)
    with pytest.raises(
        InputError, match=r"'TaskHypergraphEncoder' makes views.*at='embedding'"
    ) as error:
        collector.collect(found, operators(encoder, data))
    assert "\n" not in str(error.value)
    # A sum of losses is differentiated once, wherever.
    MultiTaskStep(collector, Sum(), operators(encoder, data))(found, epoch=1)
    params = dict(tables.weight_dict.items())
    _, grads = expected(tasks, found, dense_uprth, params, data)
    for table in params:
        close(params[table].grad, grads[table].sum(0))


@pytest.mark.parametrize("name", ["uprth", "lightgcn"])
@pytest.mark.parametrize("kind", STEPS)
def test_at_the_representation_without_views(name, kind, static):
    (encoder, dense), data, tables = ENCODERS[name], graph(), embedding()
    tasks = {"bpr": BPR(), "alignment": Alignment(l2=0.2)}
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, encoder, tasks, at="representation")
    found = batches(tasks, kind, data)
    collected = collector.collect(found, operators(encoder, data))
    assert (collected.rows["user"].ids is None) == (kind != "mini")
    MultiTaskStep(collector, PMTRec(1.0, 0.05), operators(encoder, data))(found, epoch=1)
    out = dense(params, data)
    ends = [out["", table] for table in params]
    total = 0.0  # the penalty of tables has no part in the weighing
    stacks = [[], []]
    for task_name, task in tasks.items():
        without = type(task)(task.edge_type, l2=0.0)
        loss = dense_loss(without, found[task_name], out, params)
        for stack, grad in zip(
            stacks, torch.autograd.grad(loss, ends, retain_graph=True), strict=True
        ):
            stack.append(grad)
        total = total + dense_loss(task, found[task_name], out, params) - loss
    inputs = list(params.values())
    options = {"retain_graph": True, "materialize_grads": True}
    pulled = torch.autograd.grad(
        ends, inputs, [pmtrec(torch.stack(s), 1.0, 0.05) for s in stacks], **options
    )
    direct = torch.autograd.grad(total, inputs, **options)
    for parameter, a, b in zip(inputs, pulled, direct, strict=True):
        close(parameter.grad, a + b)


# --- tables beside the encoder -------------------------------------------------------------------


@pytest.mark.parametrize("kind", STEPS)
@pytest.mark.parametrize("rule", [Sum(), PMTRec(1.0, 0.05)], ids=["sum", "pmtrec"])
def test_a_task_with_a_view_penalises_rows_of_tables(kind, rule, static):
    """The rows that it reads of its view lie elsewhere than those of the table."""
    (encoder, dense), data, tables = ENCODERS["uprth"], graph(), embedding()
    view = " ".join(CATEGORY)
    tasks = {
        "mine": BPR(l2=0.3, view=view),  # users as all have them, items of the view
        "aligned": Alignment(l2=0.3, view=view),
        "bpr": BPR(l2=0.1),
    }
    params = dict(tables.weight_dict.items())
    found = batches(tasks, kind, data)
    MultiTaskStep(GradientCollector(tables, encoder, tasks), rule, operators(encoder, data))(
        found, epoch=1
    )
    _, grads = expected(tasks, found, dense, params, data)
    for table in params:
        want = grads[table].sum(0) if isinstance(rule, Sum) else pmtrec(grads[table], 1.0, 0.05)
        close(params[table].grad, want)


class Total(Task):
    """Reads a matrix as a whole, with a gradient that is one number in all places."""

    def __init__(self, node_type: str) -> None:
        super().__init__(MAIN)
        self.node_type = node_type

    def sampler(self, data, generator):
        return EdgeSampler(data, MAIN, generator, num_negatives=0)

    def node_ids(self, batch):
        return {self.node_type: None}

    def forward(self, batch, representations):
        return representations.matrix(self.node_type).sum()


@pytest.mark.parametrize("name", ["lightgcn", "mf", "double"])
@pytest.mark.parametrize("rule", [Sum(), PMTRec(1.0, 1.0)], ids=["sum", "pmtrec"])
def test_a_gradient_that_autograd_expands_can_be_written_to(name, rule):
    encoder, _ = ENCODERS[name]
    tables = NodeEmbedding({"user": USERS, "item": ITEMS, "brand": 2}, DIM).double()
    data, tasks = graph(), {"brand": Total("brand"), "user": Total("user")}
    found = batches(tasks, "full", data)
    step = MultiTaskStep(GradientCollector(tables, encoder, tasks), rule, operators(encoder, data))
    ones = torch.full((2, 2, DIM), 2.0 if name == "double" else 1.0).double()
    ones[1] = 0.0  # the second task reads no brands
    for _ in range(2):
        step(found, epoch=1)
        grad = tables.weight_dict["brand"].grad
        assert grad.is_contiguous()
        close(grad, ones.sum(0) if isinstance(rule, Sum) else pmtrec(ones, 1.0, 1.0))
        grad.mul_(3)


class Both(Total):
    """Reads a table as a whole and rows of it as well."""

    def forward(self, batch, representations):
        table = representations.table(self.node_type)
        rows = representations.table_rows(self.node_type, batch.dst_pos_index)
        return table.square().sum() + rows.sum()


@pytest.mark.parametrize("name", ["uprth", "lightgcn", "mf", "double"])
@pytest.mark.parametrize("rule", [Sum(), PMTRec(1.0, 1.0)], ids=["sum", "pmtrec"])
def test_a_task_may_read_a_table_as_a_whole_and_by_rows(name, rule):
    encoder, dense = ENCODERS[name]
    data, tables, tasks = graph(), embedding(), {"both": Both("item"), "bpr": BPR()}
    params = dict(tables.weight_dict.items())
    found = batches(tasks, "full", data)
    MultiTaskStep(GradientCollector(tables, encoder, tasks), rule, operators(encoder, data))(
        found, epoch=1
    )
    loss = dense_loss(tasks["bpr"], found["bpr"], dense(params, data), params)
    counts = torch.bincount(found["both"].dst_pos_index, minlength=ITEMS).double()
    first = [torch.zeros(USERS, DIM).double(), 2 * params["item"].detach() + counts[:, None]]
    for param, a, b in zip(
        params.values(), first, torch.autograd.grad(loss, list(params.values())), strict=True
    ):
        stack = torch.stack([a, b])
        close(param.grad, stack.sum(0) if isinstance(rule, Sum) else pmtrec(stack, 1.0, 1.0))


def test_hypergraphs_may_change_between_steps():
    """More hyperedges than in the last step, then fewer."""
    (encoder, dense), tables = ENCODERS["uprth"], embedding()
    tasks = {
        "bpr": BPR(),
        "category": HyperedgePrediction(CATEGORY),
        "group": HyperedgePrediction(GROUP, l2=0.1),
    }
    params = dict(tables.weight_dict.items())
    collector = GradientCollector(tables, encoder, tasks)
    for num_categories in (4, 9, 5):
        data = graph(num_categories)
        data[CATEGORY].edge_index[1] += num_categories - 4
        found = batches(tasks, "mini", data)
        MultiTaskStep(collector, Sum(), operators(encoder, data))(found, epoch=1)
        _, grads = expected(tasks, found, dense, params, data)
        for table in params:
            close(params[table].grad, grads[table].sum(0))


# --- waiting, and what cannot be -----------------------------------------------------------------


@every_case
@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize("rule", [Sum(), PMTRec(1.0, 0.05)], ids=["sum", "pmtrec"])
def test_a_whole_step_never_waits_for_the_device(name, make, batch_size, rule, monkeypatch):
    monkeypatch.setattr(_forward_pass, "unique_rows", lambda ids, static: unique_rows(ids, True))
    encoder, data, tasks = ENCODERS[name][0], graph(), make()
    generator = torch.Generator().manual_seed(0)
    samplers = {task_name: task.sampler(data, generator) for task_name, task in tasks.items()}
    loader = MultiTaskLoader(samplers, batch_size, generator)
    step = MultiTaskStep(
        GradientCollector(embedding(), encoder, tasks), rule, operators(encoder, data)
    )
    for found in loader:  # operators are made at their first use
        step(found, epoch=1)
    with NoSync():
        for found in loader:
            step(found, epoch=1)


def test_bad_input_gets_one_line():
    data, tables, encoder = graph(), embedding(), ENCODERS["uprth"][0]
    category = {"category": HyperedgePrediction(CATEGORY)}
    dropped = {k: v for k, v in operators(encoder, data).items() if k != CATEGORY}
    view = " ".join(CATEGORY)
    of_hyperedges = {"a": Alignment(CATEGORY, l2=0.1, anchored=False, view=view)}
    for kind in ("full", "mini"):
        for tasks, owner, adj_dict, match in (
            (category, encoder, dropped, f"no table for .*'category'.*no view '{view}' of it"),
            (category, MF(), None, f"task 'category' reads 'category'.*no view '{view}' of it"),
            (of_hyperedges, encoder, operators(encoder, data), "rows of the table of 'category'"),
        ):
            collector = GradientCollector(tables, owner, tasks)
            call = partial(collector.collect, batches(tasks, kind, data), adj_dict)
            with pytest.raises(InputError, match=match) as error:
                call()
            assert "\n" not in str(error.value)
            with pytest.raises(InputError, match=match):
                MultiTaskStep(collector, Sum(), adj_dict)(batches(tasks, kind, data), epoch=1)


class Unasked(Total):
    def node_ids(self, batch):
        return {self.node_type: batch.dst_pos_index}


@pytest.mark.parametrize("name", ["lightgcn", "mf"])
def test_a_matrix_has_to_be_asked_for(name):
    """Of some rows nobody can make one: its shape would be another."""
    encoder, data, tasks = ENCODERS[name][0], graph(), {"some": Unasked("item")}
    collector = GradientCollector(embedding(), encoder, tasks)
    found = batches(tasks, "mini", data)
    with pytest.raises(InputError, match=r"matrix of 'item'.*'node_ids' return None") as error:
        collector.collect(found, operators(encoder, data))
    assert "\n" not in str(error.value)
