"""What a run says of itself: provenance for results.json, lines for the terminal."""

import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch_geometric
from torch_geometric.data import HeteroData

import pyg_mtrec
from pyg_mtrec.training._data import MAIN, SplitData
from pyg_mtrec.training._stages import HYPERGRAPH_ENCODER, finetuning, has_two_stages
from pyg_mtrec.training._tuned import is_embedded_default
from pyg_mtrec.training.settings import Settings


class Clock:
    r"""Wall seconds per phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[phase] = round(time.perf_counter() - began, 3)


def versions() -> dict[str, Any]:
    r"""Returns the versions that numbers may depend on."""
    return {
        "pyg_mtrec": pyg_mtrec.__version__,
        "git": _revision(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "python": platform.python_version(),
    }


def _revision() -> str | None:
    # Only if this very file is tracked: an environment may lie inside somebody else's repository.
    tracked = _git("ls-files", "--error-unmatch", Path(__file__).name)
    return None if tracked is None else _git("rev-parse", "HEAD")


def _git(*words: str) -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), *words]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def num_labels(data: HeteroData) -> int:
    r"""Returns how many interactions a split predicts."""
    return int(data[MAIN].edge_label_index.size(1))


def describe(settings: Settings, data: SplitData, device: torch.device) -> list[str]:
    r"""Returns the lines that open a run."""
    report = data.provenance["report"]
    dropped = report.get("duplicates_dropped", report.get("interacts_duplicates_dropped", 0))
    users, items = data.train["user"].num_nodes, data.train["item"].num_nodes
    own = is_embedded_default(settings) and settings.comparison != "off"
    return [
        f"{data.provenance['name']}: {users:,} users, {items:,} items,"
        f" {data.train[MAIN].num_edges:,} training interactions"
        + (f" ({dropped:,} duplicates dropped)" if dropped else ""),
        f"split: {data.strategy}, seed {settings.seed};"
        f" {num_labels(data.val):,} to validate on, {num_labels(data.test):,} to test on"
        + (
            "; the epoch is SELECTED ON TEST, as the protocol asks" if data.val is data.test else ""
        ),
        *_stages(settings, data, device),
        *(["each arm trains with what won its own grid, on validation"] if own else []),
    ]


def describe_tables(settings: Settings, data: SplitData, loaded: dict[str, Any]) -> list[str]:
    r"""Returns the line on the tables that a run was given, if it was."""
    if not loaded:
        return []
    rows = ", ".join(
        f"{found:,} of {data.train[name].num_nodes:,} {name}s"
        for name, found in loaded["rows"].items()
    )
    other = "" if loaded["same_data"] else ", which is OTHER data: rows are found by raw id"
    return [f"tables of '{settings.pretrained}' ({loaded['dataset']}{other}): {rows}"]


def _stages(settings: Settings, data: SplitData, device: torch.device) -> list[str]:
    rule = settings.balancer
    if rule == "pmtrec":
        rule = f"pmtrec (alpha {settings.alpha:g}, tau {settings.tau:g}) at the {settings.at}"
    first = f"{settings.encoder}, d = {settings.dim}, tasks: {', '.join(data.tasks)}; {rule}"
    if not has_two_stages(settings):
        return [f"{first}; on {device}"]
    lines = [f"stage 1, pretraining: {first}; {settings.pretrain_epochs} epochs at most"]
    if settings.pretrain_epochs == 0:
        lines = ["stage 1, pretraining: left out"]
    last = finetuning(settings)
    name = "uprth without attention" if last.encoder == HYPERGRAPH_ENCODER else last.encoder
    summed = ", summed" if len(last.tasks) > 1 else ""
    lines.append(
        f"stage 2, finetuning: {name}, d = {last.dim}, tasks: {', '.join(last.tasks)}{summed};"
        f" {last.epochs} epochs at most; on {device}"
    )
    return lines
