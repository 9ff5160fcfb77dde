"""The best possible predictions in a planted world with behaviours."""

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._planted_graphs import MAIN
from pyg_mtrec.datasets._planted_model import Ints
from pyg_mtrec.datasets._planted_sequences import SequenceModel, probability


def expected_by_behaviour(
    model: SequenceModel, relevance: dict[str, str], data: HeteroData
) -> dict[str, Tensor]:
    r"""Probabilities of the targets of every row to be predicted, by the events of ``data``.

    Args:
        model: The latents.
        relevance: The behaviour that each target reads.
        data: A form of the world's graph.
    """
    store = data[MAIN]
    prefix = "edge_label_" if "edge_label_index" in store else ""
    pairs = store[f"{prefix}index" if prefix else "edge_index"]
    time = _times(data, MAIN, f"{prefix}time")
    trait = model.traits[_array(data["item"].raw_id)]
    out = {}
    for target, behaviour in relevance.items():
        edge_type = ("user", behaviour, "item")
        _refuse_dropped(data, edge_type)
        when = _times(data, edge_type, "time")
        events = _array(data[edge_type].edge_index), when
        found = torch.from_numpy(probability(trait, _array(pairs), time, events))
        out[target] = found.to(device=pairs.device, dtype=torch.float32)
    return out


def _array(ids: Tensor) -> Ints:
    out: Ints = ids.cpu().numpy()
    return out


def _times(data: HeteroData, edge_type: EdgeType, name: str) -> Ints:
    if edge_type not in data.edge_types or name not in data[edge_type]:
        raise InputError(
            f"'target_oracle' needs {name!r} of {edge_type} (found"
            f" {list(data[edge_type].keys()) if edge_type in data.edge_types else 'no relation'}):"
            " what counts is what happened before an impression"
        )
    return _array(data[edge_type][name])


def _refuse_dropped(data: HeteroData, edge_type: EdgeType) -> None:
    report = data.split_report if "split_report" in data else {}
    dropped = report.get("behaviours_dropped", {}).get(" ".join(edge_type), 0)
    if dropped:
        raise InputError(
            f"'target_oracle' needs all events of {edge_type} ({dropped} were dropped): split with"
            " SplitImpressions(behaviours='keep')"
        )
