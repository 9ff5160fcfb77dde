import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs._atomic import remove_leftovers, write_atomic


def test_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, lambda file: file.write(b"old"))
    write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a"]


def test_the_content_is_on_the_disk_before_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("replace"), replace(a, b)))
    write_atomic(tmp_path / "a", lambda file: file.write(b"new"))
    assert order[:2] == ["fsync", "replace"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_refusing_disk_is_one_line_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def refuse(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        if where == "write":
            refuse()

    if where != "write":
        monkeypatch.setattr(os, where, refuse)
    with pytest.raises(InputError, match=f"cannot write '.*a' .{os.strerror(code)}"):
        write_atomic(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_an_interrupt_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, write)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_other_errors_pass(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError, match="a fault of ours"):
        write_atomic(tmp_path / "a", write)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        write_atomic(tmp_path / "none" / "a", lambda file: file.write(b""))


def test_leftovers_of_a_kill_go(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint.pt.123.tmp").write_bytes(b"half")
    (tmp_path / "history.csv").write_bytes(b"kept")
    (tmp_path / ".gitignore").write_bytes(b"kept")
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".gitignore", "history.csv"]
