"""``pyg-mtrec doctor``: what this machine has."""

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from pyg_mtrec import __version__
from pyg_mtrec._errors import InputError
from pyg_mtrec.cli import _table

_CORE = (
    "torch",
    "torch_geometric",
    "torchjd",
    "torchmetrics",
    "numpy",
    "pandas",
    "scipy",
    "pooch",
    "tqdm",
    "matplotlib",
)
# Extra to the distributions that it brings, and what for
_EXTRAS = {
    "sparse": (("torch-sparse", "torch-scatter"), "operators as SparseTensor"),
    "cagrad": (("cvxpy", "clarabel"), "solver of CAGrad"),
    "faiss": (("faiss-cpu",), "approximate retrieval when serving"),
    "tensorboard": (("tensorboard",), "logs for TensorBoard"),
    "wandb": (("wandb",), "logs for Weights & Biases"),
    "search": (("optuna",), "search over settings"),
}


def run(arguments: argparse.Namespace) -> None:
    found = {"python": platform.python_version(), "pyg-mtrec": __version__}
    found |= {name: _version(name) or "MISSING" for name in _CORE}
    print(f"versions\n{_table.pairs(found)}")
    print(f"\nextras\n{_extras()}")
    missing = [name for name in _CORE if _version(name) is None]
    if missing:
        raise InputError(f"packages are missing: pip install {' '.join(missing)}")
    print(f"\ndevice\n{_table.pairs(_device())}")


def _extras() -> str:
    rows = {}
    for extra, (packages, purpose) in _EXTRAS.items():
        versions = [_version(package) for package in packages]
        if None in versions:
            state = f"missing: pip install 'pyg-mtrec[{extra}]'"
        else:
            state = ", ".join(f"{p} {v}" for p, v in zip(packages, versions, strict=True))
        rows[extra] = f"{state} ({purpose})"
    return _table.pairs(rows)


def _device() -> dict[str, str]:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "cpu": platform.processor() or platform.machine(),
        "threads": str(torch.get_num_threads()),
        "cuda": f"{torch.version.cuda}: {', '.join(gpus)}" if gpus else "no GPU found",
        "'auto' is": "cuda" if gpus else "cpu",
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
