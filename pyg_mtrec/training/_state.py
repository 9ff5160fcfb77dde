"""A trainer's state as tensors and plain containers, and back."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyg_mtrec.training.trainer import Trainer


def save_state(trainer: "Trainer") -> dict[str, Any]:
    r"""Returns all that the next epoch depends on."""
    return {
        "epoch": trainer.epoch,
        "global_step": trainer.global_step,
        "best_epoch": trainer.stopping.best_epoch,
        "best_value": trainer.stopping.best_value,
        "best_metrics": dict(trainer.best_metrics),
        "best": trainer._best,
        "modules": {name: module.state_dict() for name, module in trainer.modules.items()},
        "optimizer": trainer.optimizer.state_dict(),
        "loader": trainer.loader.state_dict(),
        "seconds": dict(trainer.seconds),
    }


def load_state(trainer: "Trainer", state: dict[str, Any]) -> None:
    r"""Puts a saved state back in place."""
    trainer.epoch = state["epoch"]
    trainer.global_step = state["global_step"]
    trainer.stopping.best_epoch = state["best_epoch"]
    trainer.stopping.best_value = state["best_value"]
    trainer.best_metrics = state["best_metrics"]
    trainer._best = state["best"]
    for name, module in trainer.modules.items():
        module.load_state_dict(state["modules"][name])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.loader.load_state_dict(state["loader"])
    trainer.seconds = state["seconds"]
