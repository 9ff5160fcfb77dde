"""The best possible predictions in a planted world with targets."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._planted_graphs import MAIN
from pyg_mtrec.datasets._planted_targets import TARGETS, TargetModel, Targets


def expected_targets(model: TargetModel, targets: Targets, data: HeteroData) -> dict[str, Tensor]:
    r"""Expectations of the targets of every row to be predicted, by raw ids and the hour alone."""
    store = data[MAIN]
    prefix = "edge_label_" if "edge_label_index" in store else ""
    names = store.categorical_names if "categorical_names" in store else []
    if f"{prefix}categorical" not in store or "hour" not in names:
        raise InputError(
            f"'target_oracle' needs the context feature 'hour' of every impression of {MAIN}"
            f" (found {list(names)}): keep '{prefix}categorical' and 'categorical_names'"
        )
    users, items = store[f"{prefix}index" if prefix else "edge_index"]
    hour = store[f"{prefix}categorical"][:, list(names).index("hour")]
    expected = model.expectations(
        targets,
        data["user"].raw_id[users].cpu().numpy(),
        data["item"].raw_id[items].cpu().numpy(),
        hour.cpu().numpy(),
    )
    rows = torch.from_numpy(expected).to(dtype=torch.float32).to(users.device)
    return dict(zip(TARGETS, rows, strict=True))
