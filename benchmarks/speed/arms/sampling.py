"""An epoch of batches with negatives, without a model."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.speed._problem import Problem

Step = Callable[[], float]
_MAIN = ("user", "interacts", "item")


def pyg_mtrec(problem: Problem) -> Step:
    """Ours: exact negatives without rejection, in global ids."""
    from torch_geometric.data import HeteroData

    from pyg_mtrec.loader import MultiTaskLoader
    from pyg_mtrec.tasks import BPR

    data = HeteroData()
    for name in ("user", "item"):
        data[name].num_nodes = problem.sizes[f"num_{name}s"]
    data[_MAIN].edge_index = data[_MAIN].seen_edge_index = problem.tensors["edge_index"]
    draws = torch.Generator().manual_seed(0)
    sampler = BPR().sampler(data, draws)
    loader = MultiTaskLoader({"bpr": sampler}, problem.sizes["batch_size"], draws)
    known = _keys(problem)

    def step() -> float:
        wrong = total = 0
        for batch in loader:
            found = batch["bpr"]
            if not total:  # of the first batch, so that it does not count
                wrong = _known(found.src_index, found.dst_neg_index.flatten(), known, problem)
            total += len(found.src_index)
        return wrong / problem.sizes["batch_size"]

    return step


def recbole(problem: Problem) -> Step:
    """RecBole's sampler, batch by batch of shuffled edges: exact by rejection."""
    from recbole.sampler import Sampler

    user, item = problem.tensors["edge_index"]
    item = item + 1  # its item 0 is padding
    feat = {"user": user, "item": item}
    dataset = SimpleNamespace(
        uid_field="user",
        iid_field="item",
        user_num=problem.sizes["num_users"],
        item_num=problem.sizes["num_items"] + 1,
        inter_feat=feat,
    )
    sampler = Sampler(["train"], [dataset], distribution="uniform").set_phase("train")
    known = _keys(problem)

    def step() -> float:
        order, wrong = torch.randperm(len(user)), -1
        for picked in order.split(problem.sizes["batch_size"]):
            users, items = user[picked], item[picked]
            negative = sampler.sample_by_user_ids(users.numpy(), items.numpy(), 1)
            if wrong < 0:
                wrong = _known(users, negative - 1, known, problem)
        return wrong / problem.sizes["batch_size"]

    return step


def pyg(problem: Problem) -> Step:
    """PyG's ``structured_negative_sampling`` of every batch: no known edge of the batch alone."""
    from torch_geometric.utils import structured_negative_sampling

    def draw(edges: Tensor) -> Tensor:
        number = problem.sizes["num_items"]
        return structured_negative_sampling(edges, number, contains_neg_self_loops=True)[2]

    return _drawn(problem, draw)


def pyg_example(problem: Problem) -> Step:
    """What PyG's LightGCN example does: any item, known or not."""
    number = problem.sizes["num_items"]
    return _drawn(problem, lambda edges: torch.randint(0, number, (edges.size(1),)))


def _drawn(problem: Problem, draw: Callable[[Tensor], Tensor]) -> Step:
    edge_index, known = problem.tensors["edge_index"], _keys(problem)
    loader = _index_loader(problem)

    def step() -> float:
        wrong = -1
        for index in loader:
            edges = edge_index[:, index]
            negative = draw(edges)
            if wrong < 0:  # of the first batch, so that it does not count
                wrong = _known(edges[0], negative, known, problem)
        return wrong / problem.sizes["batch_size"]

    return step


def _index_loader(problem: Problem) -> DataLoader[Tensor]:
    return DataLoader(
        torch.arange(problem.tensors["edge_index"].size(1)),  # type: ignore[arg-type]
        shuffle=True,
        batch_size=problem.sizes["batch_size"],
    )


def _keys(problem: Problem) -> np.ndarray:
    user, item = problem.tensors["edge_index"]
    return np.asarray((user * problem.sizes["num_items"] + item).sort().values)


def _known(user: Tensor, item: Tensor, known: np.ndarray, problem: Problem) -> int:
    """How many of these pairs are interactions."""
    keys = np.asarray(user * problem.sizes["num_items"] + item)
    place = np.searchsorted(known, keys).clip(max=len(known) - 1)
    return int((known[place] == keys).sum())


ARMS = {
    "pyg_mtrec": pyg_mtrec,
    "RecBole": recbole,
    "PyG, structured_negative_sampling": pyg,
    "PyG's example": pyg_example,
}
