"""How alike what different targets read is: linear CKA, and a map of two dimensions."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from benchmarks.paper._dtrn_cells import Cell
from benchmarks.paper._dtrn_runs import trained
from benchmarks.paper._dtrn_tsne import tsne
from benchmarks.paper._htlnet_cells import Params, Study
from benchmarks.paper._search import read_json, write_json
from pyg_mtrec.loader import ImpressionLoader
from pyg_mtrec.nn import PLE
from pyg_mtrec.training._predictor_arm import PredictorArm

BOTTOM, STREAMS, BOTH = Cell("shared-bottom", "dtrn"), Cell("ple", "bare"), Cell("ple", "dtrn")
CELLS = (BOTTOM, STREAMS, BOTH)
ROWS, POINTS = 2000, 150  # test impressions that are compared, and of each target drawn
Found = dict[str, list[Tensor]]  # representation to what every target reads [B, D]


def similarity(
    study: Study,
    work: Path,
    path: Path,
    params: Mapping[Cell, Params | None],
    seed: int,
    draw: bool,
) -> str:
    """Writes the similarities of a seed's models.

    Args:
        study: The log.
        work: Where the runs lie.
        path: The file.
        params: What the searches of ``CELLS`` found.
        seed: Whose models.
        draw: Whether to make a map as well.
    """
    found = read_json(path)
    if found is None:
        arms = {}
        for cell in CELLS:
            own = params[cell]
            if own is None or not (work / str(cell) / f"seed{seed}.model.pt").exists():
                return f"not run, there is no model of {cell}"
            arms[cell] = trained(study, cell, work / str(cell), own, seed)
        targets = list(arms[BOTTOM].data.targets)
        read = {
            **bottom_outputs(arms[BOTTOM]),
            "ple": tower_inputs(arms[STREAMS]),
            "ple on dtrn": tower_inputs(arms[BOTH]),
        }
        found = {
            "targets": targets,
            "rows": read["ple"][0].size(0),
            "between": {name: between(of, targets) for name, of in read.items()},
            "dtrn and ple": {
                target: cka(a, b)
                for target, a, b in zip(targets, read["dtrn"], read["ple"], strict=True)
            },
            "points": {name: components(of) for name, of in read.items()} if draw else None,
        }
        write_json(path, found)
    means = {name: sum(of.values()) / len(of) for name, of in found["between"].items()}
    return ", ".join(f"{name} {value:.3f}" for name, value in means.items())


def cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of rows [n, D] and [n, E]: 1 for equal up to rotation."""
    x, y = (side.double() - side.double().mean(0) for side in (x, y))
    cross = (x.t() @ y).square().sum()
    norms = (x.t() @ x).norm() * (y.t() @ y).norm()
    return float(cross / norms) if norms > 0 else 0.0


def between(read: list[Tensor], targets: list[str]) -> dict[str, float]:
    """The similarity of every pair of targets."""
    pairs = itertools.combinations(zip(targets, read, strict=True), 2)
    return {f"{s}, {t}": cka(x, y) for (s, x), (t, y) in pairs}


def components(read: list[Tensor]) -> list[list[list[float]]]:
    """Where t-SNE puts some of the rows of all targets together, target by target."""
    points = tsne(torch.cat([rows[:POINTS] for rows in read]))
    return [part.tolist() for part in points.split([len(rows[:POINTS]) for rows in read])]


@torch.no_grad()
def bottom_outputs(arm: PredictorArm) -> Found:
    """What the bottom gives to every target, and the part of it that are interests."""
    bottom = arm.model.bottom
    assert bottom is not None
    seen: list[Tensor] = []
    hook = bottom.register_forward_hook(lambda module, inputs, output: seen.append(output))
    _forward(arm)
    hook.remove()
    outputs = list(seen[0].unbind(0))
    first = bottom.num_fields * bottom.dim
    return {"dtrn": outputs, "interests": [output[:, first:] for output in outputs]}


@torch.no_grad()
def tower_inputs(arm: PredictorArm) -> list[Tensor]:
    """What PLE's gates give to every target's tower."""
    head = cast("PLE", arm.model.head)
    seen: list[Tensor] = []

    def keep(module: Any, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0])

    hooks = [tower.register_forward_pre_hook(keep) for tower in head.towers]
    _forward(arm)
    for hook in hooks:
        hook.remove()
    return seen


def _forward(arm: PredictorArm) -> None:
    loader = ImpressionLoader(arm.data.test, shuffle=False, sequences=arm.sequences)
    step = max(1, loader.num_impressions // ROWS)  # spread over the whole of the test part
    rows = torch.arange(0, loader.num_impressions, step)[:ROWS]
    arm.model.predict_from(arm.model.represent(arm.adj_dict), loader._rows(rows))
