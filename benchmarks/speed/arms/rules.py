"""A step of three tasks under a rule: the same tables, triplets and optimiser for every library.

An arm is named ``library encoder rule at``, such as ``"pyg_mtrec mf pmtrec"``. The tasks are BPR on
three relations. In LibMTL and TorchJD the model is what one would write with PyTorch: the three
losses on whole tables, propagated by cached CSR products.
"""

import itertools
import random
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from benchmarks.speed._problem import Problem
from benchmarks.speed.arms._operator import normalised

Step = Callable[[], float]
RELATIONS = {
    "bpr": ("user", "interacts", "item"),
    "social": ("user", "trusts", "user"),
    "category": ("item", "like", "item"),
}
RULES = ("sum", "pcgrad", "gradvac", "mgda", "imtlg", "aligned-mtl", "cagrad")
THEIRS = {
    "LibMTL": {"sum": "EW", "pcgrad": "PCGrad", "gradvac": "GradVac", "mgda": "MGDA"},
    "TorchJD": {
        "sum": "Sum",
        "pcgrad": "PCGrad",
        "gradvac": "GradVac",
        "mgda": "MGDA",
        "imtlg": "IMTLG",
        "aligned-mtl": "AlignedMTL",
    },
}


def pyg_mtrec(problem: Problem, encoder: str, rule: str, at: str) -> Step:
    """Ours."""
    from torch_geometric.data import HeteroData

    from pyg_mtrec import balancing
    from pyg_mtrec.gradients import GradientCollector
    from pyg_mtrec.loader import Batch
    from pyg_mtrec.nn import MF, Adjacency, LightGCN, NodeEmbedding
    from pyg_mtrec.tasks import BPR, Task
    from pyg_mtrec.training import MultiTaskStep
    from pyg_mtrec.transforms import NormalizedAdjacency

    tensors, sizes = problem.tensors, problem.sizes
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = sizes["num_users"], sizes["num_items"]
    data[RELATIONS["bpr"]].edge_index = tensors["edge_index"]
    embedding = NodeEmbedding.from_data(data, sizes["dim"]).to(problem.device)
    with torch.no_grad():
        for name in ("user", "item"):
            embedding.weight_dict[name].copy_(tensors[f"{name}_x"])
    tasks: dict[str, Task] = {name: BPR(relation) for name, relation in RELATIONS.items()}
    propagates = encoder == "lightgcn"
    net = LightGCN(sizes["layers"]) if propagates else MF()
    adj_dict = Adjacency.dict_from(NormalizedAdjacency()(data)) if propagates else {}
    rules: dict[str, Callable[[], Any]] = {
        "sum": balancing.Sum,
        "pmtrec": lambda: balancing.PMTRec(1.06, 1e-3),
        "pcgrad": balancing.PCGrad,
        "gradvac": balancing.GradVac,
        "mgda": balancing.MGDA,
        "imtlg": balancing.IMTLG,
        "aligned-mtl": balancing.AlignedMTL,
        "cagrad": balancing.CAGrad,
    }
    collector = GradientCollector(embedding, net, tasks, at=at)
    take = MultiTaskStep(collector, rules[rule]().to(problem.device), adj_dict)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=sizes["lr"], fused=True)
    every = itertools.cycle(
        [
            {
                name: Batch(RELATIONS[name], sizes["batch_size"], *rows.unbind(0))
                for name, rows in zip(RELATIONS, triplets, strict=True)
            }
            for triplets in problem.tensors["triplets"]
        ]
    )

    def step() -> float:
        losses = take(next(every), epoch=1)
        optimizer.step()
        return float(losses.sum())

    return step


def libmtl(problem: Problem, encoder: str, rule: str, at: str) -> Step:
    """LibMTL's rule, mixed into the model as its own trainer does it."""
    for name in ("torchvision", "torchvision.models", "torchvision.models.utils"):
        sys.modules.setdefault(name, types.ModuleType(name))  # for its image models alone
    sys.modules["torchvision.models.utils"].load_state_dict_from_url = None  # type: ignore[attr-defined]
    from LibMTL import weighting

    plain = Plain(problem, encoder)
    random.seed(0)
    np.random.seed(0)

    class Model(getattr(weighting, THEIRS["LibMTL"][rule]), nn.Module):  # type: ignore[misc]
        """What a rule asks a model for."""

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.tables = nn.ParameterList(plain.tables)
            self.rep_grad, self.task_num = False, len(RELATIONS)
            self.task_name, self.device = list(RELATIONS), torch.device(problem.device)
            self.init_param()

        def get_share_params(self) -> Any:
            return self.tables.parameters()

        def zero_grad_share_params(self) -> None:
            self.tables.zero_grad(set_to_none=False)

    model, options = Model(), {"mgda_gn": "none", "beta": 0.5, "GradVac_beta": 0.5}

    def step() -> float:
        losses = plain.losses()
        plain.optimizer.zero_grad(set_to_none=False)
        model.backward(losses, **options)
        plain.optimizer.step()
        return float(losses.detach().sum())

    return step


def torchjd(problem: Problem, encoder: str, rule: str, at: str) -> Step:
    """TorchJD's aggregator on the tables' Jacobian."""
    from torchjd import aggregation
    from torchjd.autojac import backward, jac_to_grad

    plain = Plain(problem, encoder)
    aggregator = getattr(aggregation, THEIRS["TorchJD"][rule])()

    def step() -> float:
        losses = plain.losses()
        plain.optimizer.zero_grad()
        backward(list(losses), inputs=plain.tables, parallel_chunk_size=1)
        jac_to_grad(plain.tables, aggregator)
        plain.optimizer.step()
        return float(losses.detach().sum())

    return step


class Plain:
    """The model as one writes it with PyTorch."""

    def __init__(self, problem: Problem, encoder: str) -> None:
        tensors, sizes = problem.tensors, problem.sizes
        self.tables = [nn.Parameter(tensors[f"{name}_x"].clone()) for name in ("user", "item")]
        self.layers = sizes["layers"] if encoder == "lightgcn" else 0
        self.matrix = normalised(problem) if self.layers else None
        self.optimizer = torch.optim.Adam(self.tables, lr=sizes["lr"], fused=True)
        self.every = itertools.cycle(tensors["triplets"])

    def losses(self) -> Tensor:
        """The tasks' losses on the next batch."""
        out = dict(zip(("user", "item"), self.tables, strict=True))
        if self.matrix is not None:
            layers = [torch.cat(self.tables)]
            for _ in range(self.layers):
                layers.append(self.matrix @ layers[-1])
            mean = sum(layers[1:], layers[0]) / len(layers)
            out = dict(zip(out, mean.split([len(table) for table in self.tables]), strict=True))
        found = []
        for (source, _, target), (one, positive, negative) in zip(
            RELATIONS.values(), next(self.every), strict=True
        ):
            x, y = out[source][one], out[target]
            found.append(-logsigmoid((x * (y[positive] - y[negative])).sum(1)).mean())
        return torch.stack(found)


class Arms(dict[str, Callable[[Problem], Step]]):
    """Names to what makes them."""

    def __missing__(self, name: str) -> Callable[[Problem], Step]:
        library, encoder, rule, *at = name.split()
        make = {"pyg_mtrec": pyg_mtrec, "LibMTL": libmtl, "TorchJD": torchjd}[library]
        return lambda problem: make(problem, encoder, rule, *(at or ["embedding"]))


ARMS = Arms()
