"""The planted worlds as graphs."""

from collections.abc import Sequence

import numpy as np
import torch
from torch_geometric.data import HeteroData

from pyg_mtrec.datasets._planted_model import Floats, Ints, PlantedModel, checksum
from pyg_mtrec.datasets._planted_sequences import (
    BEHAVIOURS,
    RELEVANCE,
    SequenceModel,
    SequenceTargets,
    probability,
)
from pyg_mtrec.datasets._planted_targets import TARGETS, TargetModel, Targets

MAIN = ("user", "interacts", "item")
RELATIONS = (
    MAIN,
    ("user", "trusts", "user"),
    ("item", "also_viewed", "item"),
    ("item", "also_bought", "item"),
)


def interactions(model: PlantedModel, num_interactions: int) -> HeteroData:
    r"""The world to rank in: interactions and three auxiliary relations."""
    edges = (
        model.interactions(num_interactions),
        model.trusts(num_interactions // 3),
        model.also_viewed(num_interactions // 6),
        model.also_bought(num_interactions // 2),
    )
    data = _nodes(model)
    for edge_type, edge_index in zip(RELATIONS, edges, strict=True):
        data[edge_type].edge_index = torch.from_numpy(edge_index)
    data.report = {
        "version": model.version,
        "seed": model.seed,
        "checksum": checksum((model.num_users, model.num_items), edges),
    } | {edge_type[1]: data[edge_type].num_edges for edge_type in RELATIONS}
    return data


def impressions(model: TargetModel, num_impressions: int, targets: Targets) -> HeteroData:
    r"""The world to predict in: impressions with targets and features."""
    world = model.world
    pairs, time, hour = model.impressions(num_impressions)
    expected = model.expectations(targets, pairs[0], pairs[1], hour)
    labels, noise = model.labels(expected), model.noise(num_impressions)
    users, items = model.user_features(), model.item_features()
    data = _nodes(world)
    data[MAIN].edge_index = torch.from_numpy(pairs)
    data[MAIN].time = torch.from_numpy(time)
    data[MAIN].target = torch.from_numpy(labels)
    data[MAIN].target_names = list(TARGETS)
    data[MAIN].target_kinds = list(TARGETS.values())
    _features(data, MAIN, (hour[:, None], noise), ["hour"], ["noise"])
    _features(data, "user", users, ["interest_1", "interest_2"], ["leaning_1", "leaning_2"])
    names = ["quality_1", "quality_2", "duration"]
    _features(data, "item", items, ["genre_1", "genre_2"], names)
    arrays = (pairs, time, labels, hour, noise, *users, *items)
    means = labels.astype(np.float64).mean(axis=0)
    data.report = {
        "version": world.version,
        "targets": targets,
        "target_version": model.version,
        "seed": world.seed,
        "checksum": checksum((world.num_users, world.num_items), arrays),
        MAIN[1]: num_impressions,
        "distinct_pairs": len(np.unique(pairs[0] * world.num_items + pairs[1])),
    } | {f"mean_{name}": round(float(mean), 4) for name, mean in zip(TARGETS, means, strict=True)}
    return data


def sequences(model: SequenceModel, num_impressions: int, targets: SequenceTargets) -> HeteroData:
    r"""The world of behaviours: timed events, and impressions whose targets depend on them."""
    world, relevance = model.world, RELEVANCE[targets]
    pairs, time = model.impressions(num_impressions)
    events = {name: model.events(name, num_impressions) for name in BEHAVIOURS}
    expected = [probability(model.traits, pairs, time, events[name]) for name in relevance.values()]
    labels = model.labels(np.stack(expected))
    data = _nodes(world)
    data[MAIN].edge_index = torch.from_numpy(pairs)
    data[MAIN].time = torch.from_numpy(time)
    data[MAIN].target = torch.from_numpy(labels)
    data[MAIN].target_names = list(relevance)
    data[MAIN].target_kinds = ["binary"] * len(relevance)
    for name, (edge_index, when) in events.items():
        data["user", name, "item"].edge_index = torch.from_numpy(edge_index)
        data["user", name, "item"].time = torch.from_numpy(when)
    arrays: list[Ints | Floats] = [pairs, time, labels]
    for edge_index, when in events.values():
        arrays += [edge_index, when]
    means = labels.astype(np.float64).mean(axis=0)
    data.report = {
        "version": world.version,
        "targets": targets,
        "sequence_version": model.version,
        "seed": world.seed,
        "checksum": checksum((world.num_users, world.num_items), arrays),
        MAIN[1]: num_impressions,
        "distinct_pairs": len(np.unique(pairs[0] * world.num_items + pairs[1])),
    }
    data.report |= {name: len(when) for name, (_, when) in events.items()}
    data.report |= {
        f"mean_{name}": round(float(mean), 4) for name, mean in zip(relevance, means, strict=True)
    }
    return data


def _nodes(model: PlantedModel) -> HeteroData:
    data = HeteroData()
    for node_type, size in (("user", model.num_users), ("item", model.num_items)):
        data[node_type].num_nodes = size
        data[node_type].raw_id = torch.arange(size)
    return data


def _features(
    data: HeteroData,
    store: str | tuple[str, str, str],
    columns: tuple[Ints, Floats],
    categorical: Sequence[str],
    numeric: Sequence[str],
) -> None:
    data[store].categorical, data[store].numeric = map(torch.from_numpy, columns)
    data[store].categorical_names, data[store].numeric_names = list(categorical), list(numeric)
