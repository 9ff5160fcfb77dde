"""Holds the library's pretraining, step by step, against the restatement on plain matrices."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from benchmarks.paper._uprth_authors import initial, pretraining, tables
from benchmarks.paper._uprth_reference import Integers, Problem, Reference
from pyg_mtrec.loader import Batch
from pyg_mtrec.tasks import HyperedgePrediction, Task

STEPS = 5
TOLERANCE = 1e-5
DTYPES = (torch.float32, torch.float64)


def compare(
    data: HeteroData,
    problem: Problem,
    dtype: torch.dtype,
    attention: bool = True,
    steps: int = STEPS,
    seed: int = 0,
    start: dict[str, Tensor] | None = None,
) -> dict[str, Any]:
    """Trains both from the same tables on the same negatives.

    Args:
        data: The training graph with its hypergraphs; ids may be permuted.
        problem: The same, as the restatement reads it.
        dtype: The type of the library's tables; the restatement's are float64.
        attention: Whether both fuse the tasks.
        steps: The number of steps.
        seed: Of tables and negatives.
        start: Other tables to start from, rows in the order of the raw ids.

    Returns:
        Both sides' terms of every step, and the largest relative difference of a term.
    """
    start = initial(data, seed) if start is None else start
    reference = Reference(problem, start["user"], start["item"], attention)
    stage = pretraining(data, tables(data, start, dtype), attention, seed)
    rows = []
    for _ in range(steps):
        batches = stage.batches()
        negatives = {
            name: _in_raw_ids(data, task, batches[name])
            for name, task in stage.tasks.items()
            if batches[name].dst_neg_index is not None
        }
        library, theirs = stage.step(batches), reference.step(negatives)
        if library.keys() != theirs.keys():
            raise ValueError(f"the terms are {list(library)} and {list(theirs)}")
        rows.append({name: [library[name], theirs[name]] for name in library})
    largest = {
        name: max(abs(row[name][0] - row[name][1]) / abs(row[name][1]) for row in rows)
        for name in rows[0]
    }
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "attention": attention,
        "seed": seed,
        "columns": ["library", "reference"],
        "steps": rows,
        "largest_relative_difference": largest,
        "tolerance": TOLERANCE,
        "equal": max(largest.values()) <= TOLERANCE,
    }


def _in_raw_ids(data: HeteroData, task: Task, batch: Batch) -> Integers:
    """Hyperedge, vertex and negative of every incidence [3, E], as the files call them."""
    assert isinstance(task, HyperedgePrediction) and batch.dst_neg_index is not None
    vertex_type, _, edge_type = task.edge_type
    vertices = data[vertex_type].raw_id
    head = data[edge_type].get("head")
    keys = data[edge_type].raw_id if head is None else vertices[head]
    found: Integers = np.stack(
        [
            keys[batch.src_index].numpy(),
            vertices[batch.dst_pos_index].numpy(),
            vertices[batch.dst_neg_index.view(-1)].numpy(),
        ]
    )
    return found
