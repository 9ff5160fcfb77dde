"""A training step of LightGCN on BPR: the same tables, batches and negatives for every library."""

import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed._problem import Problem
from benchmarks.speed.arms._operator import normalised

Step = Callable[[], float]
_MAIN = ("user", "interacts", "item")


def batches(problem: Problem) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Users, items and negatives, again and again."""
    found = [problem.tensors[name].unbind(0) for name in ("user", "item", "negative")]
    return itertools.cycle(list(zip(*found, strict=True)))


def pyg_mtrec(problem: Problem) -> Step:
    """Ours: cached CSR, one backward pass of the sum, fused Adam."""
    from torch_geometric.data import HeteroData

    from pyg_mtrec.balancing import Sum
    from pyg_mtrec.gradients import GradientCollector
    from pyg_mtrec.loader import Batch
    from pyg_mtrec.nn import Adjacency, LightGCN, NodeEmbedding
    from pyg_mtrec.tasks import BPR
    from pyg_mtrec.training import MultiTaskStep
    from pyg_mtrec.transforms import NormalizedAdjacency

    tensors, sizes = problem.tensors, problem.sizes
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = sizes["num_users"], sizes["num_items"]
    data[_MAIN].edge_index = tensors["edge_index"]
    adj_dict = Adjacency.dict_from(NormalizedAdjacency()(data))
    embedding = NodeEmbedding.from_data(data, sizes["dim"]).to(problem.device)
    with torch.no_grad():
        for name in ("user", "item"):
            embedding.weight_dict[name].copy_(tensors[f"{name}_x"])
    collector = GradientCollector(
        embedding, LightGCN(sizes["layers"]), {"bpr": BPR(l2=sizes["l2"])}, at="representation"
    )
    take = MultiTaskStep(collector, Sum(), adj_dict)
    optimizer = torch.optim.Adam(embedding.parameters(), lr=sizes["lr"], fused=True)
    every = (
        {"bpr": Batch(_MAIN, len(user), user, item, negative)}
        for user, item, negative in batches(problem)
    )

    def step() -> float:
        losses = take(next(every), epoch=1)
        optimizer.step()
        return float(losses.sum())

    return step


def pyg(problem: Problem) -> Step:
    """PyG's LightGCN as its example trains it, from the edges."""
    return _pyg(problem, csr=False)


def pyg_csr(problem: Problem) -> Step:
    """PyG's LightGCN on a CSR matrix that was normalised beforehand: the fastest way it has."""
    return _pyg(problem, csr=True)


def recbole(problem: Problem) -> Step:
    """RecBole's model, optimiser and step."""
    from recbole.model.general_recommender import LightGCN
    from scipy.sparse import coo_matrix

    logging.disable(logging.WARNING)
    sizes = problem.sizes
    row, column = problem.tensors["edge_index"].cpu().numpy()

    class Dataset:
        """What the model asks a data set for."""

        def num(self, name: str) -> int:
            return int(sizes["num_users"] if name == "user" else sizes["num_items"])

        def inter_matrix(self, form: str) -> Any:
            shape = (sizes["num_users"], sizes["num_items"])
            return coo_matrix(([1.0] * len(row), (row, column)), shape=shape)

    config = {
        "USER_ID_FIELD": "user",
        "ITEM_ID_FIELD": "item",
        "NEG_PREFIX": "neg_",
        "device": torch.device(problem.device),
        "embedding_size": sizes["dim"],
        "n_layers": sizes["layers"],
        "reg_weight": sizes["l2"],
        "require_pow": True,
    }
    model = LightGCN(config, Dataset()).to(problem.device).train()
    _start(model.user_embedding.weight, model.item_embedding.weight, problem)
    optimizer = torch.optim.Adam(model.parameters(), lr=sizes["lr"])
    every = batches(problem)

    def step() -> float:
        user, item, negative = next(every)
        optimizer.zero_grad()
        loss = model.calculate_loss({"user": user, "item": item, "neg_item": negative})
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def lightgcn_pytorch(problem: Problem) -> Step:
    """LightGCN-PyTorch's model and step, from the folder ``code`` of its repository."""
    sys.argv = sys.argv[:1]  # its settings are read from there
    import utils
    import world
    from model import LightGCN

    sizes = problem.sizes
    world.device = torch.device(problem.device)
    config = {**world.config, "lr": sizes["lr"], "decay": sizes["l2"]}
    config |= {"latent_dim_rec": sizes["dim"], "lightGCN_n_layers": sizes["layers"]}
    config |= {"dropout": 0, "pretrain": 0, "A_split": False}

    class Dataset:
        """What the model asks a data set for."""

        n_users, m_items = sizes["num_users"], sizes["num_items"]

        def getSparseGraph(self) -> Tensor:
            return normalised(problem).to_sparse_coo().coalesce()

    model = LightGCN(config, Dataset()).to(problem.device).train()
    _start(model.embedding_user.weight, model.embedding_item.weight, problem)
    trainer, every = utils.BPRLoss(model, config), batches(problem)
    return lambda: float(trainer.stageOne(*next(every)))


def _pyg(problem: Problem, csr: bool) -> Step:
    from torch_geometric.nn import LightGCN

    sizes, tensors = problem.sizes, problem.tensors
    users = sizes["num_users"]
    graph: Tensor
    if csr:
        graph, options = normalised(problem), {"normalize": False}
    else:
        edges = tensors["edge_index"] + torch.tensor([[0], [users]], device=problem.device)
        graph, options = torch.cat([edges, edges.flip(0)], dim=1), {}
    model = LightGCN(users + sizes["num_items"], sizes["dim"], sizes["layers"], **options)
    model = model.to(problem.device)
    with torch.no_grad():
        model.embedding.weight.copy_(torch.cat([tensors["user_x"], tensors["item_x"]]))
    optimizer = torch.optim.Adam(model.parameters(), lr=sizes["lr"])
    every = batches(problem)

    def step() -> float:
        user, item, negative = next(every)
        pairs = torch.stack([user.repeat(2), torch.cat([item, negative]) + users])
        optimizer.zero_grad()
        positive, other = model(graph, pairs).chunk(2)
        loss = model.recommendation_loss(
            positive, other, node_id=pairs.unique(), lambda_reg=sizes["l2"]
        )
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def _start(user: Tensor, item: Tensor, problem: Problem) -> None:
    with torch.no_grad():
        user.copy_(problem.tensors["user_x"])
        item.copy_(problem.tensors["item_x"])


ARMS = {
    "pyg_mtrec": pyg_mtrec,
    "PyG": pyg,
    "PyG, normalised CSR": pyg_csr,
    "RecBole": recbole,
    "LightGCN-PyTorch": lightgcn_pytorch,
}
