"""A target that comes later: what was learned for the others is kept, and little is added."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from benchmarks.paper._dtrn_cells import Cell
from benchmarks.paper._dtrn_runs import Run, build, load, test_of
from benchmarks.paper._htlnet_cells import Params, Study
from benchmarks.paper._search import read_json, write_json
from pyg_mtrec.nn import DTRN, SharedBottom
from pyg_mtrec.training import Settings
from pyg_mtrec.training._impressions import ImpressionData
from pyg_mtrec.training._prediction_run import evaluator
from pyg_mtrec.training._predictor_arm import PredictorArm
from pyg_mtrec.training.early_stopping import EarlyStopping

# "frozen": learned for the other targets, then a tower is added and, by DTRN, an embedding and a
# refinement, and nothing else is trained. "alone": this target by itself, from the start.
VARIANTS = ("bare-frozen", "plain-frozen", "dtrn-frozen", "bare-alone", "dtrn-alone")


def learn(
    study: Study, cell: Cell, path: Path, *, seed: int, params: Params, held: str, variant: str
) -> str:
    """Learns one target in one way, reads its test labels once, and writes what came out."""
    found = read_json(path)
    if found is None:
        settings = cell.settings(study, params, seed)
        data = load(settings)
        alone = replace(data, targets={held: data.targets[held]}, core=held)
        if variant.endswith("alone"):
            run = Run(settings, alone)
            arm, epochs = run.arm, run.trainer.epoch
            number = sum(p.numel() for p in arm.model.parameters())
        else:
            others = {name: kind for name, kind in data.targets.items() if name != held}
            run = Run(settings, replace(data, targets=others, core=list(others)[-1]))
            arm = with_target(run.arm, settings, data, held)
            number = sum(p.numel() for p in arm.model.parameters() if p.requires_grad)
            epochs = fit(arm, held)
        predicted = {held: arm.predict(data.test)[held]}
        said = {"variant": variant, "held": held, "seed": seed, "epochs": epochs}
        found = {**said, "learned": number}
        found |= test_of(alone, predicted, path.with_suffix(".rows.pt"))
        write_json(path, found)
    loss = found["test"][f"{held}/log_loss"]
    return f"log loss {loss:.4f}, {found['learned']:,} numbers learned for it"


def with_target(
    trained: PredictorArm, settings: Settings, data: ImpressionData, held: str
) -> PredictorArm:
    """The trained model with one more target, whose own parts alone want gradients."""
    targets = {**trained.data.targets, held: data.targets[held]}
    arm = build(settings, replace(trained.data, targets=targets, core=held))
    old, new = trained.model, arm.model
    new.embedding, new.fields = copy.deepcopy(old.embedding), copy.deepcopy(old.fields)
    head, before = cast("SharedBottom", new.head), cast("SharedBottom", old.head)
    head.trunk.load_state_dict(before.trunk.state_dict())
    for tower, known in zip(head.towers, before.towers, strict=False):
        tower.load_state_dict(known.state_dict())
    new.requires_grad_(False)
    head.towers[-1].requires_grad_()
    if old.bottom is not None:
        new.bottom = cast("DTRN", old.bottom).add_target(held)
    return arm


def fit(arm: PredictorArm, held: str) -> int:
    """Learns what wants gradients from the labels of one target; returns the number of epochs."""
    settings, model, data = arm.settings, arm.model, arm.data
    judge = evaluator(replace(data, targets={held: data.targets[held]}, core=held), "val")
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.Adam(
        learned.values(), lr=settings.lr, weight_decay=settings.weight_decay
    )
    stopping, best = EarlyStopping(settings.patience), dict[str, Tensor]()
    column = data.columns.index(held)
    epoch = 0
    while epoch < settings.epochs and not stopping.should_stop(epoch):
        epoch += 1
        model.train()
        for batch in arm.loader:
            optimizer.zero_grad()
            logit = model(batch, arm.adj_dict)[held]
            arm.tasks[held](logit, batch.label[:, column]).backward()
            optimizer.step()
        found = judge({held: arm.predict(data.val)[held]}).metrics[f"{held}/log_loss"]
        if stopping.update(epoch, -found):
            best = {name: p.detach().clone() for name, p in learned.items()}
    with torch.no_grad():
        for name, p in learned.items():
            p.copy_(best[name])
    return epoch
