"""What holds of every transform: inputs stay, outputs survive what users do with graphs."""

import copy
import io
from typing import Any

import pytest
import torch
from bank import MAIN, graphs
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.data.storage import BaseStorage, EdgeStorage, NodeStorage
from torch_geometric.transforms import BaseTransform, Compose

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import (
    AddTaskHypergraphs,
    ColdStartSplit,
    KCore,
    NormalizedAdjacency,
    PermuteIds,
    SplitInteractions,
)

STORAGES = [BaseStorage, EdgeStorage, NodeStorage]
TRANSFORMS = [
    KCore(1),
    PermuteIds(0),
    SplitInteractions(),
    SplitInteractions("per-user", message_edges="train+val"),
    NormalizedAdjacency(),
    NormalizedAdjacency(normalization="row"),
    AddTaskHypergraphs(),
    ColdStartSplit(few_users=0.2, zero_users=0, cold_items=0, num_support=1),
]
# There nobody can be cold: one interaction each, or one user alone.
NOBODY_COLD = ("one_item", "one_user", "single_edge")


def same(left: Any, right: Any) -> bool:
    """Equality of whatever a graph may hold."""
    if isinstance(left, Tensor):
        if left.layout == torch.sparse_csr:
            return all(
                torch.equal(getattr(left, part)(), getattr(right, part)())
                for part in ("crow_indices", "col_indices", "values")
            )
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def reloaded(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def apply(transform: BaseTransform, data: HeteroData, name: str) -> list[HeteroData]:
    """All graphs that a transform returns."""
    if isinstance(transform, ColdStartSplit) and name in NOBODY_COLD:
        with pytest.raises(InputError):
            transform(data)
        return []
    out = transform(data)
    if isinstance(out, tuple) and isinstance(out[-1], dict):
        return [*out[:-1], *out[-1].values()]
    return list(out) if isinstance(out, tuple) else [out]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("name", graphs())
def test_input_stays_as_it_was(name: str, transform: BaseTransform) -> None:
    data, before = graphs()[name], graphs()[name]
    tensors = {id(v): v._version for s in data.stores for v in s.values() if isinstance(v, Tensor)}
    apply(transform, data, name)
    assert same(data.to_dict(), before.to_dict())
    assert all(
        tensors[id(v)] == v._version for s in data.stores for v in s.values() if id(v) in tensors
    )


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("name", graphs())
def test_output_survives(name: str, transform: BaseTransform) -> None:
    for data in apply(transform, graphs()[name], name):
        want = data.to_dict()
        assert same(copy.copy(data).to_dict(), want)
        if "adj_t" not in data[MAIN]:  # torch has no deep copy of CSR tensors, but clones them
            assert same(copy.deepcopy(data).to_dict(), want)
        assert same(data.clone().to_dict(), want)
        assert same(reloaded(want), want)
        assert same(HeteroData.from_dict(reloaded(want)).to_dict(), want)
        # PyG's own classes are not on torch's list; nothing else of the graph needs to be.
        with torch.serialization.safe_globals([HeteroData, *STORAGES]):
            assert same(reloaded(data).to_dict(), want)
        assert same(data.to("cpu").to_dict(), want)
        on_meta = copy.copy(data).to("meta")
        tensors = [v for s in on_meta.stores for v in s.values() if isinstance(v, Tensor)]
        assert tensors
        assert all(tensor.device.type == "meta" for tensor in tensors)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
@pytest.mark.parametrize("name", graphs())
def test_twice_gives_the_same(name: str, transform: BaseTransform) -> None:
    first, second = (apply(transform, graphs()[name], name) for _ in range(2))
    assert all(same(a.to_dict(), b.to_dict()) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", graphs())
def test_compose(name: str) -> None:
    steps = [KCore(1), PermuteIds(3), SplitInteractions(seed=1), NormalizedAdjacency()]
    train, val, test = Compose(steps)(graphs()[name])
    by_hand = steps[2](steps[1](steps[0](graphs()[name])))
    for part, want in zip((train, val, test), map(steps[3], by_hand), strict=True):
        assert same(part.to_dict(), want.to_dict())
    assert same(train[MAIN].adj_t, test[MAIN].adj_t)


@pytest.mark.parametrize("name", graphs())
def test_hypergraphs_of_a_split_compose(name: str) -> None:
    steps = [SplitInteractions(seed=2), AddTaskHypergraphs(), NormalizedAdjacency()]
    for part, split in zip(Compose(steps)(graphs()[name]), steps[0](graphs()[name]), strict=True):
        assert same(part.to_dict(), steps[2](steps[1](split)).to_dict())


@pytest.mark.parametrize("transform", TRANSFORMS, ids=repr)
def test_repr_says_what_it_does(transform: BaseTransform) -> None:
    assert type(transform).__name__ in repr(transform)
    assert "=" in repr(transform)
