"""What every target loses without a behaviour: its sequences go to other impressions."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as log_loss

from benchmarks.paper._dtrn_cells import Cell
from benchmarks.paper._dtrn_runs import trained
from benchmarks.paper._htlnet_cells import Params, Study
from benchmarks.paper._search import read_json, write_json
from pyg_mtrec.loader import ImpressionLoader, Impressions
from pyg_mtrec.training._predictor_arm import PredictorArm

SHUFFLES = 5


def inspect(study: Study, cell: Cell, folder: Path, *, seed: int, params: Params) -> str:
    """Writes by how much test losses grow, target by behaviour, beside what was planted.

    Args:
        study: The worlds.
        cell: What was trained.
        folder: Where its run lies.
        seed: Whose.
        params: What its search found.
    """
    path = folder / "relevance" / f"seed{seed}.json"
    found = read_json(path)
    if found is None:
        if not (folder / f"seed{seed}.json").exists():
            return "not run, its model is not there"
        arm = trained(study, cell, folder, params, seed)
        planted = _planted(arm)
        found = {"increase": increases(arm), "planted": planted}
        found |= agreement(found["increase"], planted)
        write_json(path, found)
    return f"correlation with what was planted {found['pearson']:.3f}"


def increases(arm: PredictorArm) -> dict[str, dict[str, float]]:
    """Target to behaviour to the increase of the test log loss, mean over several shuffles."""
    loader = ImpressionLoader(arm.data.test, shuffle=False, sequences=arm.sequences)
    batch = loader.whole()
    assert batch.sequences is not None
    draws = torch.Generator().manual_seed(0)
    label = partial(arm.data.label, "test")
    base = _losses(arm, batch, label)
    found: dict[str, dict[str, float]] = {target: {} for target in arm.data.targets}
    for name, items in batch.sequences.items():
        total = dict.fromkeys(found, 0.0)
        for _ in range(SHUFFLES):
            order = torch.randperm(items.size(0), generator=draws)
            shuffled = {**batch.sequences, name: items[order]}
            losses = _losses(arm, dataclasses.replace(batch, sequences=shuffled), label)
            for target, loss in losses.items():
                total[target] += (loss - base[target]) / SHUFFLES
        for target, value in total.items():
            found[target][name] = value
    return found


def agreement(
    found: dict[str, dict[str, float]], planted: dict[str, dict[str, float]]
) -> dict[str, float]:
    """Correlation of increases with what was planted, over all pairs of target and behaviour.

    Also the share of the increases that falls on planted pairs, negative ones being none.
    """
    pairs = [(target, name) for target, of in planted.items() for name in of]
    x, y = (
        torch.tensor([of[target][name] for target, name in pairs], dtype=torch.double)
        for of in (found, planted)
    )
    ranks = torch.stack([_ranks(x), _ranks(y)])
    positive = x.clamp(min=0)
    return {
        "pearson": float(torch.corrcoef(torch.stack([x, y]))[0, 1].nan_to_num()),
        "spearman": float(torch.corrcoef(ranks)[0, 1].nan_to_num()),
        "on_planted": float((positive * y).sum() / positive.sum().clamp(min=1e-12)),
    }


def _ranks(values: Tensor) -> Tensor:
    """Ranks, equal values sharing theirs."""
    smaller = (values[None] < values[:, None]).sum(1)
    equal = (values[None] == values[:, None]).sum(1)
    return (smaller + (equal - 1) / 2).double()


def _planted(arm: PredictorArm) -> dict[str, dict[str, float]]:
    """1 where a target reads a behaviour, 0 elsewhere."""
    relevance: dict[str, str] = arm.data.oracle.__self__.relevance
    return {
        target: {name: float(name == wanted) for name in arm.data.behaviours}
        for target, wanted in relevance.items()
    }


@torch.no_grad()
def _losses(arm: PredictorArm, batch: Impressions, label: Any) -> dict[str, float]:
    predictions = arm.model.predict_from(arm.model.represent(arm.adj_dict), batch)
    return {
        target: float(log_loss(logit.double(), label(target).double()))
        for target, logit in predictions.items()
    }
