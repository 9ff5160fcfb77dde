"""MMoE and PLE of other libraries and of this one, of the same sizes."""

import importlib.metadata
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pyg_mtrec.nn import PLE, MMoE

TARGETS = {"click": "binary", "long_view": "binary", "watch_time": "continuous"}
EXPERT, TOWER, EXPERTS, OWN, SHARED, LEVELS, DROPOUT = (128, 64), (64,), 4, 2, 2, 2, 0.1
PACKAGES = {"DeepCTR-Torch": "deepctr-torch", "torch-rechub": "torch-rechub"}
HEADS = ("mmoe", "ple")
Loss = Callable[..., Tensor]


class Pass:
    """Forward and backward of a model on an input that needs a gradient, as one of tables does."""

    def __init__(self, model: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> None:
        self.model, self.forward = model.train(), forward
        self.x = x.clone().requires_grad_()
        self.leaves = [self.x, *(p for p in model.parameters() if p.requires_grad)]

    def __call__(self) -> None:
        torch.autograd.grad(self.forward(self.x).sum(), self.leaves, allow_unused=True)


class Columns:
    """A batch of impressions as other libraries read it: one matrix, or one tensor a column."""

    def __init__(self, sizes: dict[str, int], numeric: list[str], x: Tensor, y: Tensor) -> None:
        self.sizes, self.numeric, self.x, self.y = sizes, numeric, x, y
        names = [*sizes, *numeric]
        self.by_name = {
            name: x[:, column].long() if name in sizes else x[:, column]
            for column, name in enumerate(names)
        }


def head_alone(library: str, name: str, x: Tensor) -> Pass:
    """A library's head on an input that is already a matrix."""
    if library == "pyg_mtrec":
        head = own_head(name, x.size(1))
        return Pass(head, lambda x: torch.stack(list(head(x).values())), x)
    if library == "DeepCTR-Torch":
        from deepctr_torch.inputs import DenseFeat

        model = _deepctr(name, [DenseFeat("x", x.size(1))])
        return Pass(model, model, x)
    from torch_rechub.basic.features import DenseFeature

    model = _rechub(name, [DenseFeature("x", x.size(1))])
    return Pass(model, lambda x: model({"x": x}), x)


def whole_step(
    library: str, name: str, columns: Columns, dim: int, lr: float
) -> Callable[[], None]:
    """A step as a library's own training loop takes it, on a batch that is there."""
    step = _deepctr_step if library == "DeepCTR-Torch" else _rechub_step
    return step(name, columns, dim, lr)


def version(library: str) -> str | None:
    """A peer's version."""
    return importlib.metadata.version(PACKAGES[library]) if library in PACKAGES else None


def own_head(name: str, width: int) -> MMoE | PLE:
    """Ours."""
    sizes: dict[str, Any] = {"hidden": EXPERT, "tower": TOWER, "dropout": DROPOUT}
    if name == "mmoe":
        return MMoE(width, TARGETS, num_experts=EXPERTS, **sizes)
    return PLE(width, TARGETS, OWN, SHARED, LEVELS, **sizes)


def _deepctr(name: str, columns: list[Any]) -> Any:
    """DeepCTR-Torch's, with linear gates."""
    from deepctr_torch.models import MMOE
    from deepctr_torch.models import PLE as PeerPLE

    sizes: dict[str, Any] = {
        "expert_dnn_hidden_units": EXPERT,
        "gate_dnn_hidden_units": (),
        "tower_dnn_hidden_units": TOWER,
        "dnn_dropout": DROPOUT,
        "task_types": ["binary" if k == "binary" else "regression" for k in TARGETS.values()],
        "task_names": list(TARGETS),
    }
    if name == "mmoe":
        return MMOE(columns, num_experts=EXPERTS, **sizes)
    numbers = {"shared_expert_num": SHARED, "specific_expert_num": OWN, "num_levels": LEVELS}
    return PeerPLE(columns, **numbers, **sizes)


def _deepctr_step(name: str, columns: Columns, dim: int, lr: float) -> Callable[[], None]:
    from deepctr_torch.inputs import DenseFeat, SparseFeat

    sparse = [SparseFeat(key, size, embedding_dim=dim) for key, size in columns.sizes.items()]
    model = _deepctr(name, [*sparse, *(DenseFeat(key, 1) for key in columns.numeric)]).train()
    losses = ["binary_crossentropy" if k == "binary" else "mse" for k in TARGETS.values()]
    model.compile(torch.optim.Adam(model.parameters(), lr=lr), losses)

    def step() -> None:
        predicted = model(columns.x)
        model.optim.zero_grad()
        pairs = enumerate(model.loss_func)
        loss = sum(f(predicted[:, i], columns.y[:, i], reduction="sum") for i, f in pairs)
        (loss + model.get_regularization_loss() + model.aux_loss).backward()
        model.optim.step()

    return step


def _rechub(name: str, features: list[Any]) -> Any:
    """torch-rechub's, whose layers have batch normalisation throughout."""
    from torch_rechub.models.multi_task import MMOE
    from torch_rechub.models.multi_task import PLE as PeerPLE

    kinds = ["classification" if k == "binary" else "regression" for k in TARGETS.values()]
    expert = {"dims": list(EXPERT), "dropout": DROPOUT}
    towers = [{"dims": list(TOWER), "dropout": DROPOUT} for _ in TARGETS]
    if name == "mmoe":
        return MMOE(features, kinds, EXPERTS, expert, towers)
    return PeerPLE(features, kinds, LEVELS, OWN, SHARED, expert, towers)


def _rechub_step(name: str, columns: Columns, dim: int, lr: float) -> Callable[[], None]:
    from torch_rechub.basic.features import DenseFeature, SparseFeature

    sparse = [SparseFeature(key, size, embed_dim=dim) for key, size in columns.sizes.items()]
    model = _rechub(name, [*sparse, *(DenseFeature(key, 1) for key in columns.numeric)]).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    losses: list[Loss] = [
        nn.functional.binary_cross_entropy if kind == "binary" else nn.functional.mse_loss
        for kind in TARGETS.values()
    ]

    def step() -> None:
        predicted = model(columns.by_name)
        found = [f(predicted[:, i], columns.y[:, i]) for i, f in enumerate(losses)]
        model.zero_grad()
        (sum(found) / len(found)).backward()
        optimizer.step()
        [loss.item() for loss in found]  # as their loop reports them

    return step
