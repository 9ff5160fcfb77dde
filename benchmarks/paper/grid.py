"""Tries settings and ranks them on validation; the test set is never read.

    python -m benchmarks.paper.grid --config BASE.toml --root DIR --out FILE.json \
        lr=0.002,0.005 weight_decay=1e-6,1e-5,1e-4

Every combination is one line of the JSON file; combinations that are already there are not run
again, so a killed search goes on where it stopped.
"""

import argparse
import itertools
import json
import os
import time
import tomllib
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from pyg_mtrec.training import Settings
from pyg_mtrec.training._arm import Arm
from pyg_mtrec.training._data import load_data
from pyg_mtrec.training.experiment import evaluator, resolve_device


def _parse(text: str) -> tuple[str, list[Any]]:
    name, _, values = text.partition("=")
    kinds = {field.name: field.type for field in fields(Settings)}
    cast = {int: int, float: float}.get(kinds[name], str)  # type: ignore[arg-type]
    return name, [cast(value) for value in values.split(",")]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {"trials": []}


def _write(path: Path, content: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="TOML file of the settings that are not searched")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of all trials")
    parser.add_argument("--threads", type=int)
    parser.add_argument("grid", nargs="+", metavar="NAME=VALUE,VALUE…")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)

    base: dict[str, Any] = {}
    if args.config:
        base = tomllib.loads(Path(args.config).read_text())
    grid = dict(_parse(text) for text in args.grid)
    settings = Settings(**{**base, "root": args.root})
    device = resolve_device(settings.device)
    data, sample, seed = None, None, None
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        content = _read(args.out)
        if any(trial["chosen"] == chosen for trial in content["trials"]):
            continue
        trial = Settings(**{**base, **chosen, "root": args.root})
        if data is None or seed != trial.seed:
            data, seed = load_data(trial), trial.seed
            sample = evaluator(trial, data, "val", trial.valid_users)
        assert sample is not None
        began = time.perf_counter()
        arm = Arm(trial.balancer, trial, data.tasks, trial.balancer, data, device)
        trainer = arm.trainer(sample, progress=False)
        best = trainer.fit()
        found = {
            "chosen": chosen,
            "valid": best,
            "epoch": trainer.stopping.best_epoch,
            "epochs": trainer.epoch,
            "seconds": round(time.perf_counter() - began, 1),
        }
        content = _read(args.out)
        content["settings"] = {k: v for k, v in asdict(settings).items() if k != "root"}
        content["trials"].append(found)
        content["trials"].sort(key=lambda trial: -trial["valid"][settings.select_metric])
        _write(args.out, content)
        print(f"{chosen} {settings.select_metric} {best[settings.select_metric]:.4f}", flush=True)


if __name__ == "__main__":
    main()
