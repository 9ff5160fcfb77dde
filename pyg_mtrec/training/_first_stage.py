"""The first of two stages: trained by its own loss, and what came of it."""

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from pyg_mtrec.runs._labels import arm_label, is_ln2
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._tuned import ARM_SETTINGS

if TYPE_CHECKING:
    from pyg_mtrec.gradients import GradientCollector

_LOST = 0.01  # a table that kept less of its norm has gone to zero
_SAME = 0.1  # representations that kept less of their spread tell few nodes apart
_LEARNED = 0.99  # of what a guess costs


def pretrain(arm: Arm, balancer: str, resume: bool, **kwargs: Any) -> dict[str, Any]:
    r"""Trains an arm of a first stage, and returns what a result has to say of it.

    Args:
        arm: The arm, with its first tables.
        balancer: What its rule is called.
        resume: Continue from the checkpoint.
        kwargs: The trainer's checkpoint, history and the like.
    """
    before = _sizes(arm)
    trainer = arm.pretrainer(**kwargs)
    best = trainer.fit(resume)
    after, guesses = _sizes(arm), _guesses(arm)
    settings = {name: getattr(arm.settings, name) for name in ARM_SETTINGS}
    return {
        "encoder": arm.settings.encoder,
        "tasks": list(arm.tasks),
        "balancer": balancer,
        "settings": {**settings, "batch_size": arm.settings.pretrain_batch_size},
        "epoch": trainer.stopping.best_epoch,
        "epochs": trainer.epoch,
        "loss": best["loss"],
        "losses": {task: best[f"loss/{task}"] for task in arm.tasks},
        "guess": guesses,
        "kept": {
            what: {name: after[what][name] / max(size, 1e-30) for name, size in sizes.items()}
            for what, sizes in before.items()
        },
        "seconds": trainer.seconds,
    }


def describe_pretraining(arm: str, stage: dict[str, Any]) -> list[str]:
    r"""Returns the lines that say how a first stage ended."""
    seconds = sum(stage["seconds"].values())
    width = max(map(len, stage["losses"]))
    lines = [
        f"{arm_label(arm)}: lowest loss {_number(stage['loss'])} in epoch {stage['epoch']} of"
        f" {stage['epochs']} ({seconds:.1f} s)"
    ]
    for task, loss in stage["losses"].items():
        guess, text = stage["guess"][task], f"  {task:<{width}}  {_number(loss)}"
        if guess is not None:
            text += f"  a guess costs {guess:.4f}{' = ln 2' if is_ln2(guess) else ''}"
            text += ": next to nothing learned" if loss > _LEARNED * guess else ""
        lines.append(text)
    for name, share in stage["kept"]["norm"].items():
        spread = stage["kept"]["spread"][name]
        if min(share / _LOST, spread / _SAME) < 1:
            lines.append(
                f"  WARNING: pretraining left {share:.1%} of the {name} table's norm and"
                f" {spread:.1%} of what tells {name}s apart: add tasks that resist, or stop earlier"
            )
    return lines


def _number(loss: float) -> str:
    return f"{loss:.4f}" if abs(loss) >= 1e-3 else f"{loss:.1e}"


@torch.no_grad()
def _sizes(arm: Arm) -> dict[str, dict[str, float]]:
    r"""Returns norms of the tables, and of the representations around their mean."""
    arm.encoder.eval()  # dropout draws nothing
    tables = arm.embedding()
    x_dict = arm.encoder(tables, arm.adj_dict).x_dict
    return {
        "norm": {name: _norm(x) for name, x in tables.items()},
        "spread": {name: _norm(x_dict[name] - x_dict[name].mean(dim=0)) for name in tables},
    }


def _norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x, dtype=torch.double))


def _guesses(arm: Arm) -> dict[str, float | None]:
    r"""Returns every task's loss where all rows are equal, if zero is not what it strives for."""
    kept = {name: weight.detach().clone() for name, weight in arm.embedding.weight_dict.items()}
    with torch.no_grad():
        for weight in arm.embedding.weight_dict.values():
            weight.zero_()
    collector = cast("GradientCollector", arm.step.collector)
    losses, _ = collector.collect_weighted(next(iter(arm.loader)), arm.adj_dict, torch.ones_like)
    with torch.no_grad():
        for name, weight in arm.embedding.weight_dict.items():
            weight.copy_(kept[name])
    found = zip(arm.tasks, losses.tolist(), strict=True)
    return {task: loss if loss > 1e-6 else None for task, loss in found}
