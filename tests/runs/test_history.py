import errno
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs import History


def fill(path: Path, epochs: int) -> History:
    history = History(path / "history.csv")
    for epoch in range(1, epochs + 1):
        history.append({"epoch": epoch, "loss/bpr": 1 / epoch, "valid/recall@20": epoch / 7})
    return history


def test_rows_read_back_exactly(tmp_path: Path) -> None:
    history = fill(tmp_path, 3)
    assert history.rows() == [
        {"epoch": epoch, "loss/bpr": 1 / epoch, "valid/recall@20": epoch / 7} for epoch in (1, 2, 3)
    ]
    lines = history.path.read_text().splitlines()
    assert lines[0] == "epoch,loss/bpr,valid/recall@20"
    assert len(lines) == 4


def test_without_a_file() -> None:
    history = History("none/history.csv")
    assert history.rows() == []
    history.truncate(3)
    assert not history.path.exists()


@pytest.mark.parametrize("epoch", [-1, 0, 1, 3, 9])
def test_truncate_keeps_up_to_the_epoch(tmp_path: Path, epoch: int) -> None:
    history = fill(tmp_path, 4)
    history.truncate(epoch)
    assert [row["epoch"] for row in history.rows()] == [e for e in (1, 2, 3, 4) if e <= epoch]
    history.append({"epoch": 9, "loss/bpr": 0.5, "valid/recall@20": 0.25})
    assert history.rows()[-1] == {"epoch": 9, "loss/bpr": 0.5, "valid/recall@20": 0.25}


def test_a_kill_at_any_byte_of_a_row(tmp_path: Path) -> None:
    history = fill(tmp_path, 3)
    content = history.path.read_bytes()
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    for size in range(start, len(content)):
        history.path.write_bytes(content[:size])
        assert [row["epoch"] for row in history.rows()] == [1, 2]
        history.append({"epoch": 3, "loss/bpr": 1 / 3, "valid/recall@20": 3 / 7})
        assert history.path.read_bytes() == content
        history.path.write_bytes(content[:size])
        history.truncate(2)
        assert history.path.read_bytes() == content[:start]


def test_a_new_column_and_a_missing_value(tmp_path: Path) -> None:
    history = History(tmp_path / "history.csv")
    history.append({"epoch": 1, "a": None})
    history.append({"epoch": 2, "b": 0.5})
    history.append({"epoch": 3, "a": 1.0})
    assert history.rows() == [
        {"epoch": 1, "a": None, "b": None},
        {"epoch": 2, "a": None, "b": 0.5},
        {"epoch": 3, "a": 1.0, "b": None},
    ]


def test_a_full_disk_keeps_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = fill(tmp_path, 2)
    content = history.path.read_bytes()

    def refuse(handle: int) -> None:  # after the bytes have gone out
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InputError, match="No space left"):
        history.append({"epoch": 3, "loss/bpr": 0.1, "valid/recall@20": 0.1})
    assert history.path.read_bytes() == content


def test_no_text(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(b"\xff\xfe\x00\n")
    with pytest.raises(InputError, match="no text file"):
        History(path).rows()


cells = st.one_of(
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False),
    st.none(),
    st.text("abc ,\"';-", min_size=1).filter(str.strip),
)


@given(st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), min_size=1, max_size=5))
def test_any_row_round_trips(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    history = History(tmp_path_factory.mktemp("history") / "history.csv")
    for row in rows:
        history.append(row)
    found = history.rows()
    assert found == rows
    for row, expected in zip(found, rows, strict=True):  # 1 == 1.0, but they are written apart
        assert {key: type(row[key]) for key in row} == {key: type(expected[key]) for key in row}
