import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings

settings.register_profile("pyg_mtrec", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("pyg_mtrec")
torch.set_num_threads(1)  # the same sums in the same order on every machine


@pytest.fixture
def generator() -> torch.Generator:
    """A fresh seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def real_root(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`real_root(name)`: a writable root whose `raw/` links to the real files of a data set.

    The root is shared by the whole run, so that a data set is processed once; `fresh=True` makes
    one of its own for a test that changes files. Skips without PYG_MTREC_DATA.
    """
    shared = tmp_path_factory.mktemp("data")

    def make(name: str, fresh: bool = False) -> Path:
        source = os.environ.get("PYG_MTREC_DATA")
        if not source:
            pytest.skip("PYG_MTREC_DATA is not set: no real data to test on")
        files = Path(source, name, "raw").resolve()
        if not files.is_dir():
            pytest.skip(f"no raw files of '{name}' under PYG_MTREC_DATA")
        root = (tmp_path_factory.mktemp("fresh") if fresh else shared) / name
        raw = root / "raw"
        if not raw.exists():
            raw.mkdir(parents=True)
            for file in files.iterdir():
                (raw / file.name).symlink_to(file)
        return root

    return make
