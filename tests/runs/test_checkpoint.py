import errno
import io
import os
import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import Checkpoint


def make_state(size: int = 2000) -> dict[str, Any]:
    module = nn.Linear(size, 3)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    module(torch.ones(1, size)).sum().backward()
    optimizer.step()
    return {
        "epoch": 3,
        "best": float("-inf"),
        "name": "pmtrec",
        "nothing": None,
        "flag": True,
        "list": [1, (2.5, "x")],
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": torch.Generator().manual_seed(7).get_state(),
    }


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(left == right)


def test_round_trip_bit_for_bit(tmp_path: Path) -> None:
    checkpoint, state = Checkpoint(tmp_path / "checkpoint.pt"), make_state()
    assert checkpoint.load() is None
    checkpoint.save(state)
    found = checkpoint.load()
    assert found is not None
    assert equal(state, found)
    assert equal(torch.load(checkpoint.path, weights_only=True), found)
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_truncated_anywhere_is_one_line(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt")
    checkpoint.save(make_state())
    content = checkpoint.path.read_bytes()
    for size in [0, 1, 10, 100, *range(500, len(content), 2503), len(content) - 1]:
        checkpoint.path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"checkpoint.pt' is damaged \(truncated"):
            checkpoint.load()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt")
    checkpoint.save({"weight": torch.zeros(4096)})
    content = bytearray(checkpoint.path.read_bytes())
    content[len(content) // 2] ^= 1  # in the middle of the zeros
    checkpoint.path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged"):
        checkpoint.load()


def test_objects_do_not_load(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt")
    torch.save({"model": nn.Linear(2, 2)}, checkpoint.path)
    with pytest.raises(InputError, match="more than tensors and plain containers"):
        checkpoint.load()
    torch.save([1, 2], checkpoint.path)
    with pytest.raises(InputError, match="a list, not a dict"):
        checkpoint.load()


@pytest.mark.parametrize("value", [np.float64(1.0), np.zeros(2), nn.Linear(1, 1), {1}])
def test_objects_are_not_saved(tmp_path: Path, value: object) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt")
    with pytest.raises(TypeError, match=r"checkpoint.pt\['a'\]\[0\]"):
        checkpoint.save({"a": [value]})
    assert not checkpoint.path.exists()


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "checkpoint.pt")
    checkpoint.save({"epoch": 1})
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:  # the operating system refuses in the middle of the file
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(InputError, match=r"cannot write '.*checkpoint.pt'"):
            checkpoint.save({"epoch": 2, "weight": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert checkpoint.load() == {"epoch": 1}
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_no_space_in_the_middle_of_torch_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() + len(data) > 20_000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    checkpoint = Checkpoint(tmp_path / "checkpoint.pt")
    monkeypatch.setattr("builtins.open", lambda path, mode: Full(path, mode))
    with pytest.raises(InputError, match="No space left"):
        checkpoint.save({"weight": torch.ones(100_000)})
    assert os.listdir(tmp_path) == []
