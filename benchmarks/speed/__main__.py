"""Times the library and its peers, case by case.

    python -m benchmarks.speed [case ...] [--root DIR] [--device cuda] [--peers DIR ...] [--out DIR]

Every case is a module of this folder with options of its own (``python -m benchmarks.speed.CASE
--help``); here all of them run with what they share. Results go to ``DIR/CASE.json``, by default
beside the committed ones; ``python -m benchmarks.render`` makes the tables of docs/speed.rst.
"""

import argparse
import subprocess
import sys
from pathlib import Path

# Case to module, to which of the shared options it takes, and to options of its own.
CASES = {
    "lightgcn_epoch": ("lightgcn_epoch", ("root", "peers", "device", "threads"), ()),
    "rules": ("rules", ("root", "peers", "device", "threads"), ()),
    "ranking": ("ranking", ("root", "peers", "device", "threads"), ()),
    "ranking_epinions": (
        "ranking",
        ("root", "peers", "device", "threads"),
        ("--dataset", "epinions", "--dim", "32"),
    ),
    "sampling": ("sampling", ("root", "peers", "threads"), ()),
    "heads": ("heads", ("root",), ()),
    "bottoms": ("bottoms", (), ()),
    "uprth_epoch": ("uprth_epoch", ("root",), ()),
    "uprth_growth": ("uprth_growth", ("threads",), ()),
    "row_adam": ("row_adam", (), ()),
    "start": ("start", (), ()),
    "growth": ("growth", ("threads",), ()),
}


def main() -> None:
    """Runs the cases that were asked for, each in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    parser.add_argument("--root", help="folder of the data sets (default: random data)")
    parser.add_argument("--peers", nargs="*", default=[], help="folders with peers' packages")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results")
    args = parser.parse_args()
    unknown = [name for name in args.cases if name not in CASES]
    if unknown:
        parser.error(f"no case is called {', '.join(unknown)}: the cases are {', '.join(CASES)}")
    failed = []
    for name in args.cases or CASES:
        module, shared, own = CASES[name]
        options = [*own, "--out", str(args.out / f"{name}.json")]
        for option in shared:
            value = getattr(args, option)
            if value:
                words = value if isinstance(value, list) else [value]
                options += [f"--{option}", *map(str, words)]
        print(f"{name} ...", file=sys.stderr)
        command = [sys.executable, "-m", f"benchmarks.speed.{module}", *options]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
