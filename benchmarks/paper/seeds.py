"""Runs a config with several seeds and keeps each results.json under benchmarks/results/.

    python -m benchmarks.paper.seeds CONFIG.toml --root DIR --seeds 0 1 2

Every seed is another split, other tables and other draws. A seed that is already there is not run
again; a killed one is resumed. ``python -m benchmarks.render`` then fills the tables.
"""

import argparse
import json
import tomllib
from pathlib import Path
from typing import Any

from pyg_mtrec.runs import RunDirectory
from pyg_mtrec.training import Settings, run_experiment

RESULTS = Path(__file__).parents[1] / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, help="TOML file of settings")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    args = parser.parse_args()

    config: dict[str, Any] = tomllib.loads(args.config.read_text())
    for seed in args.seeds:
        path = RESULTS / f"{args.config.stem}.seed{seed}.json"
        if path.exists():
            print(f"{path.name} is there already")
            continue
        run = RunDirectory(args.runs / f"{args.config.stem}-{seed}")
        settings = Settings(**config, root=args.root, seed=seed, threads=args.threads)
        results = run_experiment(settings, run, resume=run.path.exists(), progress=False)
        for name in ("root", "out"):  # where it ran is nobody's business
            results["settings"].pop(name)
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        for arm, metrics in results["comparison"].items():
            print(
                f"{seed} {arm:12} {metrics['recall@20']:.4f} {metrics['ndcg@20']:.4f}", flush=True
            )


if __name__ == "__main__":
    main()
