"""Tables that one run has trained as the start of another."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._raw_ids import decode
from pyg_mtrec.nn import NodeEmbedding
from pyg_mtrec.runs import _tensors
from pyg_mtrec.training._data import MAIN, SplitData

_PARTS = ("weight", "x", "raw_id", "tables", "origin")
_PART_OF = {"tables": "weight", "representations": "x"}


def pretrained_state(
    embedding: NodeEmbedding, x_dict: Mapping[str, Tensor], data: SplitData
) -> dict[str, Any]:
    r"""Returns what a stage has trained, with raw ids and where it comes from, all plain.

    Args:
        embedding: The tables.
        x_dict: Node type to what the encoder makes of them.
        data: The split.
    """
    tables = getattr(data.train, "raw_id_tables", {})
    return {
        "weight": {name: w.detach().cpu() for name, w in embedding.weight_dict.items()},
        "x": {name: x_dict[name].detach().cpu() for name in embedding.weight_dict},
        "raw_id": {name: data.train[name].raw_id.cpu() for name in embedding.weight_dict},
        "tables": {name: tables[name] for name in embedding.weight_dict if name in tables},
        "origin": _origin(data),
    }


@torch.no_grad()
def load_pretrained(
    path: str, embedding: NodeEmbedding, data: SplitData, carry: str = "tables"
) -> dict[str, Any]:
    r"""Puts the rows of a saved state into tables; rows of nodes that it lacks stay as they are.

    Args:
        path: A file that :func:`pretrained_state` fills, ``pretrained.pt`` of a run.
        embedding: The tables.
        data: The split, whose raw ids name their rows: nodes may be in another order.
        carry: Whether the rows are those of ``"tables"`` or of ``"representations"``.

    Returns:
        The name of the data set that the tables were trained on, whether it was of the same
        files, and how many ``rows`` were found, by node type.

    Raises:
        InputError: If the file is missing, no such file, its tables have another width, none of
            their rows belongs to a node, or they were trained on edges that may be tested here.
    """
    if not Path(path).is_file():
        raise InputError(f"'{path}' is no file: '--pretrained' needs pretrained.pt of a run")
    state = _tensors.load(Path(path))
    if not all(isinstance(state.get(part), dict) for part in _PARTS):
        raise InputError(f"'{path}' holds no pretrained tables: pass pretrained.pt of a run")
    theirs, ours = state["origin"], _origin(data)
    same = all(theirs[key] == ours[key] for key in ("dataset", "sha256"))
    if same and theirs["training_edges"] != ours["training_edges"]:
        raise InputError(
            f"the tables of '{path}' were trained on other interactions of '{ours['dataset']}'"
            f" ({theirs['split']}; here {ours['split']}), which may be tested here: take the split"
            " of that run or pretrain again"
        )
    found: dict[str, int] = {}
    for node_type, weight in embedding.weight_dict.items():
        rows = state[_PART_OF[carry]].get(node_type)
        if rows is None:
            continue
        if rows.size(1) != weight.size(1):
            raise InputError(
                f"the {carry} of '{path}' are {rows.size(1)} wide and those of this run"
                f" {weight.size(1)}: pass '--dim {rows.size(1)}'"
            )
        place = _places(state, data.train, node_type)  # [N]
        known = place >= 0
        weight[known.to(weight.device)] = rows[place[known]].to(weight)
        found[node_type] = int(known.sum())
    if not any(found.values()):
        raise InputError(
            f"'{path}', trained on '{theirs['dataset']}', has no row for any of these nodes:"
            " rows are found by raw id"
        )
    return {"dataset": theirs["dataset"], "same_data": same, "rows": found}


def _places(state: dict[str, Any], data: HeteroData, node_type: str) -> Tensor:
    r"""Returns the row of every node in a saved table :math:`[N]`, -1 where it has none."""
    raw_id: Tensor = data[node_type].raw_id.cpu()
    saved = HeteroData()
    saved[node_type].raw_id = state["raw_id"][node_type]
    saved.raw_id_tables = state["tables"]
    if node_type in saved.raw_id_tables or node_type in getattr(data, "raw_id_tables", {}):
        # Strings are numbered by each data set on its own: only they themselves can be compared.
        names = decode(saved, node_type, torch.arange(saved[node_type].raw_id.numel()))
        row_of = {str(name): row for row, name in enumerate(names)}
        own = decode(data, node_type, torch.arange(raw_id.numel()))
        return torch.tensor([row_of.get(str(name), -1) for name in own], dtype=torch.long)
    known, order = saved[node_type].raw_id.sort()
    if known.numel() == 0:
        return torch.full_like(raw_id, -1)
    place = torch.searchsorted(known, raw_id).clamp(max=known.numel() - 1)
    return torch.where(known[place] == raw_id, order[place], -1)


def _origin(data: SplitData) -> dict[str, Any]:
    src, dst = data.train[MAIN].edge_index.cpu()
    pairs = torch.stack(
        [data.train["user"].raw_id.cpu()[src], data.train["item"].raw_id.cpu()[dst]]
    )
    pairs = pairs[:, pairs[1].argsort(stable=True)]
    pairs = pairs[:, pairs[0].argsort(stable=True)]  # whatever the order of edges and nodes
    return {
        "dataset": data.provenance["name"],
        "sha256": dict(data.provenance["sha256"]),
        "split": f"{data.strategy}, seed {data.test.split_report['seed']}",
        "training_edges": hashlib.sha256(pairs.contiguous().numpy().tobytes()).hexdigest(),
    }
