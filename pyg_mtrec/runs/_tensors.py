"""Tensors and plain containers on disk, checked when they are read."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs._atomic import write_atomic

_PLAIN = (bool, int, float, str, bytes, type(None))


def save(path: Path, state: dict[str, Any]) -> None:
    _check_plain(state, path.name)
    write_atomic(path, lambda file: torch.save(state, file))


def load(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load itself does not look at the checksums
        if damaged is not None:
            raise InputError(_broken(path, f"wrong checksum of '{damaged}'"))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"'{path}' is missing: run 'pyg-mtrec train' first") from error
    except pickle.UnpicklingError as error:
        reason = "more than tensors and plain containers"
        raise InputError(_broken(path, reason)) from error
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as error:
        size = os.path.getsize(path) if path.is_file() else 0
        raise InputError(_broken(path, f"truncated or no such file, {size:,} bytes")) from error
    if not isinstance(state, dict):
        raise InputError(_broken(path, f"a {type(state).__name__}, not a dict"))
    return state


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, (dict, list, tuple)):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            _check_plain(item, f"{where}[{key!r}]")
    # exact types: a NumPy float is a float too, but does not load with weights_only=True
    elif not (isinstance(value, torch.Tensor) or type(value) in _PLAIN):
        raise TypeError(f"'{where}' is a {type(value).__name__}: save tensors and plain values")


def _broken(path: Path, reason: str) -> str:
    return (
        f"'{path}' is damaged ({reason}): restore it from a copy, or delete the run and start anew"
    )
