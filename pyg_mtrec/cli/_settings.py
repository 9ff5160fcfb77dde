"""Defaults < TOML < flags to checked settings, without torch."""

import math
import re
from collections.abc import Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from pyg_mtrec._errors import InputError
from pyg_mtrec.cli._choices import unknown
from pyg_mtrec.cli._fields import setting_fields
from pyg_mtrec.runs import _toml
from pyg_mtrec.training._stages import HYPERGRAPH_ENCODER, check_stages, has_two_stages
from pyg_mtrec.training.settings import Settings

METRICS = ("recall", "ndcg", "hit_ratio", "precision", "mrr", "map", "coverage")
# Setting to its smallest value, and whose argument it is
_AT_LEAST = {
    "alpha": (1, "PMTRec"),
    "dim": (1, None),
    "layers": (0, None),
    "epochs": (1, None),
    "pretrain_epochs": (0, None),
    "pretrain_patience": (1, None),
    "pretrain_min_delta": (0, None),
    "pretrain_batch_size": (1, None),
    "pretrain_weight_decay": (0, "Adam"),
    "patience": (1, None),
    "batch_size": (1, None),
    "weight_decay": (0, "Adam"),
    "valid_users": (1, None),
    "sequence_length": (1, None),
    "seed": (0, None),
    "threads": (1, None),
}
_POSITIVE = {"tau": "PMTRec", "lr": "Adam", "pretrain_lr": "Adam", "ease_l2": "EASE"}


def resolve(flags: Mapping[str, Any], config: str | None, resume: bool) -> Settings:
    r"""Returns the settings of a run, with ``out`` filled in.

    Args:
        flags: What the command line gave.
        config: A TOML file.
        resume: Whether the settings of the run directory take the place of the defaults.

    Raises:
        InputError: If a key, a choice, a type or a value is wrong.
    """
    fields = setting_fields()
    flags = {name: fields[name].convert(value, "the flags") for name, value in flags.items()}
    if flags.get("interactions") is not None and "dataset" in flags:
        raise InputError("'--dataset' and '--interactions' exclude each other: pass one of them")
    given = {**(_read(Path(config)) if config is not None else {}), **flags}
    settings = Settings(**given)
    out = settings.out or _default_out(settings, resume)
    before = Path(out, "config.toml")
    if resume and before.is_file():
        settings = Settings(**{**_read(before), **given})
    settings.out = out
    _check_stages(settings, flags)
    _check_numbers(settings)
    _check_files(settings)
    return settings


def _read(path: Path) -> dict[str, Any]:
    fields = setting_fields()
    found = {}
    for key, value in _toml.load(path).items():
        name = key.replace("-", "_")
        if name not in fields:
            raise unknown(f"setting in '{path}':", key, fields)
        found[name] = fields[name].convert(value, f"'{path}'")
    return found


def _default_out(settings: Settings, resume: bool) -> str:
    name = settings.dataset
    if settings.interactions is not None:
        name = Path(settings.interactions).stem
    parts = [settings.encoder, settings.finetune, settings.bottom, settings.head]
    base = "-".join([name, *(part for part in parts if part), settings.balancer])
    names = (Path("runs", base if i == 1 else f"{base}-{i}") for i in count(1))
    taken = list(takewhile(lambda path: Path(path, "config.toml").exists(), names))
    if resume and taken:
        return str(taken[-1])
    return str(Path("runs", f"{base}-{len(taken) + 1}" if taken else base))


def _check_stages(settings: Settings, flags: Mapping[str, Any]) -> None:
    # In a file they may be left over from a run that had two stages.
    idle = [flag for flag in flags if flag.startswith("pretrain_") or flag == "finetune_tasks"]
    if idle and not has_two_stages(settings):
        raise InputError(
            f"'--{idle[0].replace('_', '-')}' is of a run in two stages: pass '--finetune' with the"
            f" encoder of the second, take '--encoder {HYPERGRAPH_ENCODER}', or leave it out"
        )
    check_stages(settings)


def _check_numbers(settings: Settings) -> None:
    for name, field in setting_fields().items():
        for value in _values(settings, name):
            if field.kind is float and not math.isfinite(value):
                raise InputError(f"'{name}' needs to be finite (got {value})")
    for name, owner in _POSITIVE.items():
        for value in _values(settings, name):
            if not value > 0:
                raise InputError(f"'{name}' needs to be positive in '{owner}' (got {value})")
    if not settings.ease_l2:
        raise InputError("'ease_l2' needs at least one ridge (got none)")
    for name, (least, where) in _AT_LEAST.items():
        value = getattr(settings, name)
        if value is not None and value < least:
            inside = f" in '{where}'" if where else ""
            raise InputError(f"'{name}' needs to be at least {least}{inside} (got {value})")
    if settings.optimizer == "row-adam" and settings.encoder != "mf":
        raise InputError(
            f"'row-adam' needs steps that read few rows, but '{settings.encoder}' reads all of"
            " them: take '--optimizer adamw', which does the same, or '--encoder mf'"
        )
    if not settings.topk or min(settings.topk) < 1:
        raise InputError(f"'topk' needs cut-offs of at least 1 (got {settings.topk})")
    if settings.head is not None and "/" in settings.select_metric:
        return  # the targets, and so their metrics, are the data's
    metric, _, cut_off = settings.select_metric.partition("@")
    if metric not in METRICS:
        raise unknown("'select_metric'", settings.select_metric, [f"{name}@20" for name in METRICS])
    if not re.fullmatch(r"[1-9][0-9]*", cut_off):
        raise InputError(
            f"'select_metric' needs a cut-off, as in '{metric}@20' (got '{settings.select_metric}')"
        )


def _values(settings: Settings, name: str) -> list[Any]:
    value = getattr(settings, name)
    return value if isinstance(value, list) else [value]


def _check_files(settings: Settings) -> None:
    if settings.pretrained is not None and not Path(settings.pretrained).is_file():
        raise InputError(
            f"'{settings.pretrained}' is no file: '--pretrained' needs pretrained.pt of a run"
        )
    for name in ("interactions", "social", "item_groups", "user_features", "item_features"):
        path = getattr(settings, name)
        flag = "--" + name.replace("_", "-")
        if path is None:
            continue
        if settings.interactions is None:
            raise InputError(f"'{flag}' needs '--interactions FILE.csv' beside it")
        if not Path(path).is_file():
            raise InputError(f"'{path}' does not exist: '{flag}' needs a CSV file")
    if settings.interactions is None and settings.dataset != "planted":
        check_root(settings.dataset, settings.root)


def check_root(dataset: str, root: str | None) -> None:
    r"""Refuses a data set without an existing root folder."""
    folder = dataset.replace("-", "_")
    if root is None:
        raise InputError(
            f"data set '{dataset}' needs '--root DIR': a folder with raw files in DIR/{folder}/raw,"
            " or an empty one to download them into"
        )
    if not Path(root).is_dir():
        raise InputError(f"root '{root}' does not exist: pass an existing folder with '--root'")
