"""What a run keeps beside its numbers: checkpoints of arms, ids and hashes, TensorBoard logs."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import Checkpoint, RunDirectory
from pyg_mtrec.training._data import MAIN, SplitData
from pyg_mtrec.training._impressions import ImpressionData
from pyg_mtrec.training.settings import Settings


def outputs(run: RunDirectory, arm: str, own: bool, tensorboard: bool) -> dict[str, Any]:
    r"""Returns where an arm's trainer writes to: what is the run's own stays.

    Args:
        run: The run.
        arm: What the arm is called.
        own: Whether it is the run's own, or one that it is compared with.
        tensorboard: Whether TensorBoard is wanted, too.
    """
    if not own:
        return {"checkpoint": _checkpoint(run, arm)}
    loggers = [_tensorboard(run)] if tensorboard else []
    return {"checkpoint": run.checkpoint, "history": run.history, "loggers": loggers}


def outputs_of_first_stage(
    run: RunDirectory, arm: str, own: bool, tensorboard: bool
) -> dict[str, Any]:
    r"""Returns the same of the first of two stages."""
    if not own:
        return {"checkpoint": _checkpoint(run, f"{arm} first stage")}
    return {
        "checkpoint": run.pretrain_checkpoint,
        "history": run.pretrain_history,
        "loggers": [_tensorboard(run, "pretrain/")] if tensorboard else [],
    }


def remove_checkpoints(run: RunDirectory, arms: Iterable[str]) -> None:
    r"""Removes the checkpoints that a complete run needs no more."""
    for arm in arms:
        for name in (arm, f"{arm} first stage"):
            _checkpoint(run, name).path.unlink(missing_ok=True)
    run.pretrain_checkpoint.path.unlink(missing_ok=True)  # what it was for is in pretrained.pt


def input_hashes(settings: Settings, data: SplitData | ImpressionData) -> dict[str, Any]:
    r"""Returns SHA-256 of every file that the run reads."""
    hashes = dict(data.provenance["sha256"])
    if settings.pretrained is not None:
        with Path(settings.pretrained).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        hashes[Path(settings.pretrained).name] = digest
    return hashes


def check_same_inputs(run: RunDirectory, hashes: dict[str, Any], resume: bool) -> None:
    r"""Refuses to go on with a run whose files have changed since."""
    if not (resume and (run.path / "ids.pt").exists()):
        return
    before = run.load_tensors("ids")["sha256"]
    for name, found in hashes.items():
        if before.get(name) != found:
            raise InputError(
                f"'{name}' is not the file that the run in '{run.path}' was started with (SHA-256"
                " differs): restore it, or start anew in another folder with '--out'"
            )


def save_ids(run: RunDirectory, data: SplitData | ImpressionData, hashes: dict[str, Any]) -> None:
    r"""Keeps what ``recommend`` and a resume need."""
    ids = {name: data.train[name].raw_id for name in ("user", "item")}
    tables = getattr(data.train, "raw_id_tables", {})
    run.save_tensors("ids", {"raw_id": ids, "tables": tables, "sha256": hashes})
    run.save_tensors("seen", {"edge_index": data.test[MAIN].seen_edge_index})


def _checkpoint(run: RunDirectory, arm: str) -> Checkpoint:
    return Checkpoint(run.path / f"arm-{arm.replace(' ', '-')}.pt")


def _tensorboard(run: RunDirectory, prefix: str = "") -> Callable[[dict[str, float]], None]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError(
            "'--tensorboard' needs an extra: pip install 'pyg-mtrec[tensorboard]'"
        ) from error
    writer = SummaryWriter(str(run.path / "tensorboard"))

    def log(row: dict[str, float]) -> None:
        for key, value in row.items():
            writer.add_scalar(prefix + key, value, int(row["epoch"]))
        writer.flush()

    return log
