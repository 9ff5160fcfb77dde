import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyg_mtrec._errors import InputError
from pyg_mtrec.runs._atomic import cannot_write, write_atomic

Value = float | int | str | None


class History:
    r"""What every epoch measured, one row of a CSV file per epoch.

    A row is appended with one write, so a kill can leave at most an unfinished last line; that
    line is never read, and :meth:`truncate` removes it together with the rows past a checkpoint.

    Args:
        path: The file, usually ``RUN_DIR/history.csv``.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> history = History(f"{folder.name}/history.csv")
        >>> for epoch in (1, 2, 3):
        ...     history.append({"epoch": epoch, "loss/bpr": 0.5 / epoch})
        >>> history.truncate(2)
        >>> history.rows()
        [{'epoch': 1, 'loss/bpr': 0.5}, {'epoch': 2, 'loss/bpr': 0.25}]
        >>> folder.cleanup()
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.path}')"

    def append(self, row: Mapping[str, Value]) -> None:
        r"""Adds one epoch.

        Args:
            row: Column to value; a column that is new is added to the whole table, ``None`` is
                an empty cell. Floats are written so that they read back bit for bit.

        Raises:
            InputError: If the disk is full or not writable; the rows before are kept.
        """
        text = self._text()
        lines = _parse_lines(text)
        columns = lines[0] if lines else []
        if not text.endswith("\n") or not set(columns) >= row.keys():
            self._rewrite([*self.rows(), dict(row)])
            return
        line = _csv_lines([[row.get(column) for column in columns]])
        size = os.path.getsize(self.path)
        try:
            with open(self.path, "ab", buffering=0) as file:
                file.write(line)
                os.fsync(file.fileno())
        except OSError as error:
            os.truncate(self.path, size)
            raise cannot_write(self.path, error) from error

    def truncate(self, epoch: int) -> None:
        r"""Drops every row past an epoch, and an unfinished last line.

        Args:
            epoch: The last epoch to keep; ``-1`` drops everything.
        """
        if self.path.exists():
            self._rewrite([row for row in self.rows() if _epoch(row) <= epoch])

    def rows(self) -> list[dict[str, Value]]:
        r"""Returns the finished rows, numbers as numbers and empty cells as ``None``."""
        lines = _parse_lines(self._text())
        if not lines:
            return []
        columns = lines[0]
        return [
            {column: _parse(cell) for column, cell in zip(columns, line, strict=False)}
            for line in lines[1:]
        ]

    def _text(self) -> str:
        if not self.path.exists():
            return ""
        try:
            return self.path.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise InputError(f"'{self.path}' is no text file: delete it") from error

    def _rewrite(self, rows: list[dict[str, Value]]) -> None:
        columns = list(dict.fromkeys(column for row in rows for column in row))
        cells = [[row.get(column) for column in columns] for row in rows]
        content = _csv_lines([columns]) + _csv_lines(cells) if columns else b""
        write_atomic(self.path, lambda file: file.write(content))


def _csv_lines(rows: Sequence[Sequence[Value]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _parse_lines(text: str) -> list[list[str]]:
    finished = text[: text.rfind("\n") + 1]  # what follows was cut off by a kill
    return list(csv.reader(io.StringIO(finished, newline="")))


def _epoch(row: Mapping[str, Value]) -> float:
    epoch = row.get("epoch")
    return epoch if isinstance(epoch, (int, float)) else float("inf")


def _parse(cell: str) -> Value:
    if cell == "":
        return None
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
